# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's own clients as processes that are watched, the limit of the line, the line that says how far it is, and verify."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import aria2
from ansible_collections.gpufleet.llm.tests.bench import download_kills
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import contents

pytest.importorskip("huggingface_hub")

BIG = "model.safetensors"
FILES = {"config.json": b"{}", "folder/notes.txt": b"hello", BIG: random.Random(1).randbytes(2_000_000)}


@pytest.fixture(scope="session")
def hf_transfer_python(tmp_path_factory):
    """An environment as the role tools makes it. Its packages come from the index that pip asks."""
    folder = tmp_path_factory.mktemp("hf-transfer")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    defaults = Path(__file__).resolve().parents[5] / "roles" / "tools" / "defaults" / "main.yml"
    wanted = yaml.safe_load(defaults.read_text())["tools_hf_transfer_packages"]
    python = str(folder / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, *wanted], check=True)
    return python


@pytest.mark.slow
def test_hf_transfer_in_its_own_environment(hub, run, hf_transfer_python):
    files = {**FILES, BIG: bytes(range(256)) * 4096 * 60}  # below 50 MiB the client does not use it
    hub.add("org/tiny", files)
    result = run(endpoint=hub.url, transport="hf_transfer", hf_transfer_python=hf_transfer_python)
    assert contents(result["path"]) == files
    assert run.said == ["fetching 3 files, %d bytes of org/tiny on %s" % (sum(map(len, files.values())), hub.url)]
    # Its mark: a file in ranges of 10 MiB.
    asked = [one for one in hub.requests if one.method == "GET" and one.path.endswith(BIG)]
    assert [one.range for one in asked if one.range == "bytes=10485760-20971519"]
    assert sorted(os.listdir(os.path.dirname(result["path"]))) == [".lock", result["revision"], "main"]


def test_without_its_environment_the_role_is_named(hub, run):
    hub.add("org/tiny", FILES)
    message = "transport=hf_transfer needs /nowhere, which is not there: set tools_hf_transfer=true for the role gpufleet.llm.tools"
    with pytest.raises(GpufleetError, match=message):
        run(endpoint=hub.url, transport="hf_transfer")


def test_a_client_that_goes_silent_is_ended_and_http_goes_on(hub, run, tmp_path):
    hub.add("org/tiny", FILES)
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 1000\n")
    silent.chmod(0o755)
    began = time.monotonic()
    assert contents(run(endpoint=hub.url, transport="hf_transfer", hf_transfer_python=str(silent), timeout=1)["path"]) == FILES
    assert time.monotonic() - began < 10
    assert "hf_transfer brought nothing for 1 s and was ended" in run.said and BIG + " comes by plain HTTP" in run.said


def test_a_token_is_on_no_command_line_and_in_no_environment(hub, run, tmp_path):
    hub.add("org/tiny", FILES)
    spy, seen = tmp_path / "python", tmp_path / "seen"
    spy.write_text("#!/bin/sh\n{ env; echo \"$@\"; } > %s\ncat > /dev/null\n" % seen)
    spy.chmod(0o755)
    run(endpoint=hub.url, transport="hf_transfer", hf_transfer_python=str(spy), token="hf_very_secret")
    assert "HF_HUB_ENABLE_HF_TRANSFER=1" in seen.read_text() and "hf_very_secret" not in seen.read_text()


@pytest.mark.parametrize("transport", ["http", "aria2"])
def test_the_line_has_a_limit(hub, run, monkeypatch, transport):
    monkeypatch.setattr(aria2, "LARGE", 1_000_000)
    hub.add("org/tiny", FILES)
    began = time.monotonic()
    run(endpoint=hub.url, transport=transport, limit_rate="1M")
    assert 1.2 < time.monotonic() - began < 8


@pytest.mark.parametrize(
    "value, transport, message",
    [
        ("fast", "auto", "limit_rate=fast: give bytes a second as a number, with K, M or G for 1024 times more"),
        ("0", "auto", "limit_rate=0: give bytes a second"),
        ("1M", "xet", "limit_rate=1M: transport=xet knows no limit. Use auto, aria2 or http"),
    ],
)
def test_limits_that_cannot_be(run, value, transport, message):
    with pytest.raises(GpufleetError, match=re.escape(message)):
        run(limit_rate=value, transport=transport)


@pytest.mark.parametrize("transport", ["http", "aria2", "xet"])
def test_how_far_it_is(hub, run, tmp_path, monkeypatch, transport):
    monkeypatch.setattr(aria2, "LARGE", 1_000_000)
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("slow", path=BIG, rate=0.7e6, times=-1))
    path = tmp_path / "progress"
    path.write_text("of an earlier run\n")
    run(endpoint=hub.url, transport=transport, progress_file=str(path))
    lines = path.read_text().splitlines()
    shape = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ fetching org/tiny on \S+: (\S+) (\S+) of 1.9 MiB \((\d+) %\)(, \S+ \S+/s, \d+ s left)?")
    told = [match for match in map(shape.fullmatch, lines) if match]
    # The others keep so little in memory until it ends.
    assert len(told) >= 2 and (1 if transport == "http" else 0) <= int(told[-1].group(3)) <= 100
    assert lines[-1].endswith("org/tiny on %s is complete" % hub.url)
    assert oct(path.stat().st_mode)[-3:] == "644"


def test_a_progress_file_that_cannot_be(run):
    with pytest.raises(GpufleetError, match="progress_file=/nowhere/at/all cannot be written"):
        run(progress_file="/nowhere/at/all")


def test_every_file_is_read_again(hub, run, no_hashing):
    hub.add("org/tiny", FILES)
    path = Path(run(endpoint=hub.url)["path"]) / BIG
    before = path.stat()
    with open(path, "r+b") as content:  # a disk that changes its mind: same size, same date
        content.seek(1000)
        content.write(b"\0\0\0\0")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    hub.requests.clear()
    assert run(endpoint=hub.url)["changed"] is False
    with pytest.raises(GpufleetError, match=r"/[0-9a-f]{40}: 1 files are not what the source states: %s. Set repair=true" % BIG) as wrong:
        run(endpoint=hub.url, verify="full", repair=False)
    assert wrong.value.details == {"files": [BIG]}
    assert run(endpoint=hub.url, verify="full", check_mode=True)["downloaded_files"] == 1
    result = run(endpoint=hub.url, verify="full")
    assert (result["changed"], result["downloaded_files"], contents(result["path"])) == (True, 1, FILES)
    assert [one.path.rpartition("/")[2] for one in hub.requests if "/resolve/" in one.path] == [BIG]
    record = Path(result["path"], "gpufleet.json").read_bytes()
    assert run(endpoint=hub.url, verify="full")["changed"] is False
    assert Path(result["path"], "gpufleet.json").read_bytes() == record
    no_hashing()
    assert run(endpoint=hub.url)["changed"] is False


def test_a_copy_with_one_flipped_byte_is_named(hub, run, tmp_path):
    """As a model that came by rsync: another inode, and whoever reads it again has no hub."""
    hub.add("org/tiny", FILES)
    first = run(endpoint=hub.url)
    copy = tmp_path / "copy"
    shutil.copytree(run.store, copy, symlinks=True)
    with open(os.path.join(str(copy), os.path.relpath(first["path"], run.store), BIG), "r+b") as content:
        content.seek(1_000_000)
        content.write(b"\0\0\0\0")
    with pytest.raises(GpufleetError, match="1 files are not what the source states: %s" % BIG):
        run(store=str(copy), offline=True, repair=False)


def test_files_that_are_called_as_notes_are(hub, run):
    """voice.onnx and voice.onnx.json are two files of one model."""
    files = {"voice.onnx": random.Random(3).randbytes(3_000_000), "voice.onnx.json": random.Random(4).randbytes(2_000_000)}
    hub.add("org/tiny", files)
    hub.faults.append(Fault("slow", path="*", rate=4e6, times=-1))
    assert contents(run(endpoint=hub.url, transport="http", include=["*"])["path"]) == files


def test_connections_are_used_again(hub, run):
    files = {"part-%02d.json" % number: b"%d" % number * 2000 for number in range(40)}
    hub.add("org/tiny", files)
    made, accept = [], type(hub._servers[0]).process_request
    type(hub._servers[0]).process_request = lambda self, *words: made.append(1) or accept(self, *words)
    try:
        assert contents(run(endpoint=hub.url, transport="http", max_workers=4)["path"]) == files
    finally:
        type(hub._servers[0]).process_request = accept
    assert len(made) <= 4


def test_one_that_cannot_be_had_ends_the_others(hub, run):
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("slow", path=BIG, rate=3e4, times=-1))  # a minute
    hub.faults.append(Fault("status", path="config.json", status=404, code="EntryNotFound", times=-1))
    began = time.monotonic()
    with pytest.raises(GpufleetError, match="lists config.json and does not serve it"):
        run(endpoint=hub.url, transport="http")
    assert time.monotonic() - began < 40


def test_a_client_ends_with_who_asked(hub, tmp_path):
    """Killed as hard as can be: its child would go on for hours, and nobody would see it."""
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("slow", path=BIG, rate=1e5, times=-1))
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        process = download_kills.start(tmp_path / "store", hub.url, "xet", log, source="org/tiny")
        end = time.monotonic() + 30
        while not hub.begun and time.monotonic() < end:
            time.sleep(0.05)
        group = os.getpgid(process.pid)
        process.kill()
        process.wait()
        end = time.monotonic() + 10
        while subprocess.run(["pgrep", "-g", str(group)], check=False, capture_output=True).returncode == 0:
            assert time.monotonic() < end, "it goes on"
            time.sleep(0.1)


@pytest.mark.parametrize("implicit", [False, True])
def test_the_clients_own_token_is_not_shown_on_an_open_line(hub, run, monkeypatch, implicit):
    hub.add("org/tiny", FILES)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_user")
    run(endpoint=hub.url, token="hf_given" if not implicit else None)
    assert {one.authorization for one in hub.requests} == {not implicit}
