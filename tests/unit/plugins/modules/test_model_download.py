# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_download as a process of its own: alone, killed, and two at a time."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.version import VERSION
from ansible_collections.gpufleet.llm.plugins.modules import model_download
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault

pytest.importorskip("huggingface_hub")

SHARDS = {"model-%05d-of-00006.safetensors" % (n + 1): bytes([n]) * 1_000_000 for n in range(6)}
FILES = {"config.json": b"{}", **SHARDS}


class Process:
    """The module, started as a program."""

    def __init__(self, tmp_path: Path, url: str, **params: t.Any) -> None:
        arguments = {"source": "org/tiny", "store": str(tmp_path / "store"), "endpoint": url, **params}
        environment = {**os.environ, "HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(model_download.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.process.stdin.write(json.dumps(arguments))
        self.process.stdin.close()
        self.process.stdin = None

    def result(self) -> t.Dict[str, t.Any]:
        out, err = self.process.communicate(timeout=60)
        assert out, err
        return json.loads(out)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def wait_for(condition: t.Callable[[], t.Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def contents(folder: str) -> t.Dict[str, bytes]:
    return {name: Path(folder, name).read_bytes() for name in os.listdir(folder) if name != "gpufleet.json"}


def test_alone_with_json_on_standard_input(hub, tmp_path):
    hub.add("org/tiny", FILES)
    result = Process(tmp_path, hub.url).result()
    assert result["changed"] is True
    assert contents(result["path"]) == FILES
    hub.requests.clear()
    assert Process(tmp_path, hub.url).result()["changed"] is False
    assert hub.requests == []


def test_error_is_a_message(hub, tmp_path):
    result = Process(tmp_path, hub.url, token="hf_very_secret").result()
    assert result["failed"] is True
    assert result["msg"].startswith("There is no org/tiny on %s" % hub.url)
    assert "hf_very_secret" not in json.dumps(result)


def test_killed_and_continued(hub, tmp_path):
    commit = hub.add("org/tiny", FILES)
    slow = Fault("slow", path="*.safetensors", rate=2e6, times=-1)
    hub.faults.append(slow)
    files = tmp_path / "store" / "huggingface" / "org" / "tiny" / (".%s.part" % commit) / "files"
    first = Process(tmp_path, hub.url, max_workers=2)
    wait_for(lambda: files.is_dir() and len(list(files.glob("*.safetensors"))) >= 2)
    first.kill()
    kept = {path.name for path in files.iterdir()}
    assert set(SHARDS) - kept, "killed too late to test anything"

    hub.faults.clear()
    hub.requests.clear()
    result = Process(tmp_path, hub.url).result()
    assert contents(result["path"]) == FILES
    fetched = {one.path.rpartition("/")[2] for one in hub.requests if "/resolve/" in one.path}
    assert fetched == set(FILES) - kept
    assert sorted(os.listdir(os.path.dirname(result["path"]))) == [".lock", commit, "main"]


@pytest.mark.slow
def test_killed_at_any_moment(hub, tmp_path):
    commit = hub.add("org/tiny", FILES)
    hub.faults.append(Fault("slow", path="*.safetensors", rate=4e6, times=-1))
    home = tmp_path / "store" / "huggingface" / "org" / "tiny"
    for pause_s in (0.3, 0.9, 1.2, 1.5, 1.8):
        process = Process(tmp_path, hub.url, max_workers=1)
        time.sleep(pause_s)
        process.kill()
        if (home / commit).exists():  # what has its name is whole
            assert contents(str(home / commit)) == FILES
    hub.faults.clear()
    result = Process(tmp_path, hub.url).result()
    assert contents(result["path"]) == FILES
    assert Process(tmp_path, hub.url).result()["changed"] is False
    # One file at a time: what was on its way at each kill came twice, and nothing else.
    sent = sum(one.sent_bytes for one in hub.requests if "/resolve/" in one.path)
    assert sent <= sum(map(len, FILES.values())) + 5 * 2**20


def test_two_at_once_fetch_once(hub, tmp_path):
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("slow", path="*.safetensors", rate=1e6, times=-1))
    processes = [Process(tmp_path, hub.url) for _number in range(2)]
    results = sorted((one.result() for one in processes), key=lambda one: one["changed"])
    assert [one["changed"] for one in results] == [False, True]
    assert results[0]["path"] == results[1]["path"]
    assert results[0]["waited_s"] > 0
    assert contents(results[0]["path"]) == FILES
    for name in FILES:
        assert hub.count("GET", "*/" + name) == 1


def test_waiting_has_an_end(hub, tmp_path):
    hub.add("org/tiny", FILES)
    home = tmp_path / "store" / "huggingface" / "org" / "tiny"
    home.mkdir(parents=True)
    with open(home / ".lock", "w", encoding="utf-8") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = Process(tmp_path, hub.url, lock_timeout=1).result()
    assert result["failed"] is True
    assert result["msg"].startswith("Waited 1 s for process 4711, which works on %s." % home)
    assert "set lock_timeout higher" in result["msg"]
    assert not (home / "main").exists()


def test_documented_options_are_the_accepted_ones():
    yaml = pytest.importorskip("yaml")
    documented = yaml.safe_load(model_download.DOCUMENTATION)["options"]
    assert set(documented) == set(model_download.ARGUMENT_SPEC)
    for name, option in documented.items():
        assert option.get("default") == model_download.ARGUMENT_SPEC[name].get("default"), name


def test_recorded_version_is_the_collections():
    yaml = pytest.importorskip("yaml")
    galaxy = Path(model_download.__file__).resolve().parents[2] / "galaxy.yml"
    assert yaml.safe_load(galaxy.read_text())["version"] == VERSION
