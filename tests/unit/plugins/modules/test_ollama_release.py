# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ollama_release against a mirror on loopback, with archives that have the real layout and next to no bytes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import archive, ollama_archives
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import web as http_file
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import zstd
from ansible_collections.gpufleet.llm.plugins.modules import ollama_release
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama import release as release_stand_in
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.software import zstd_ways
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.software.mirror import (
    BASE,
    LINKS,
    PROGRAM,
    Fault,
    Mirror,
    member,
    release,
    sha256,
    sums,
    zst,
)

NAME, ROCM = "ollama-linux-amd64.tar.zst", "ollama-linux-amd64-rocm.tar.zst"
ROCM_FILES = {"lib/ollama/rocm_v7_2/librocblas.so.5": b"rocm"}
OLD_FILES = {"bin/ollama": PROGRAM, "lib/ollama/cuda_v12/libcublas.so.12": b"twelve"}
FILES = {NAME: zst(release(BASE, LINKS)), ROCM: zst(release(ROCM_FILES, {}))}
OLD = {"ollama-linux-amd64.tgz": gzip.compress(release(OLD_FILES, {}), mtime=0)}
WHOLE = sorted(list(BASE) + list(LINKS))


@pytest.fixture
def mirror():
    with Mirror() as running:
        for version in ("0.31.0", "0.32.15", "0.33.0-rc2"):
            running.add(version, FILES)
        running.add("0.13.5", OLD)
        yield running


class Host:
    """Runs the module in this process, on a path of its own."""

    def __init__(self, mirror, directory):
        self.mirror, self.path = mirror, directory / "opt" / "ollama"
        self.defaults = {"version": "0.32.15", "url": mirror.url, "path": str(self.path), "lock_timeout": 1}

    def __call__(self, check_mode=False, **options):
        params = {name: spec.get("default") for name, spec in ollama_release.ARGUMENTS.items()}
        params.update(self.defaults, **options)
        return ollama_release.ollama_release.answer(params, check_mode)

    def fails(self, message, **options):
        with pytest.raises(GpufleetError) as failure:
            self(**options)
        assert message in str(failure.value)
        return str(failure.value)

    def files(self, version="0.32.15"):
        root = self.path / version
        names = (os.path.relpath(os.path.join(top, name), root) for top, _dirs, names in os.walk(root) for name in names)
        return sorted(name for name in names if name != ".gpufleet-release.json")

    def names(self):
        return sorted(os.listdir(self.path)) if self.path.exists() else []

    def record(self, version="0.32.15"):
        return json.loads((self.path / version / ".gpufleet-release.json").read_text())


@pytest.fixture
def host(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(ollama_archives.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(http_file.ssl.SSLContext, "load_default_certs", lambda _self, _purpose: None)  # slow, not needed
    monkeypatch.setattr(http_file.Web.__init__, "__defaults__", (lambda _seconds: None,))
    zstd_ways.use("library", tmp_path, monkeypatch)
    return Host(mirror, tmp_path)


# --- present --------------------------------------------------------------------------------------


def test_new_again_another_again(host, mirror):
    foretold = host(check_mode=True)
    assert foretold["changed"] and not host.path.exists() and mirror.requests == []
    assert foretold["actions"][0] == "fetch %s/v0.32.15/%s" % (mirror.url, NAME)
    assert foretold["diff"]["after"] == "versions: 0.32.15\ncurrent: none\n"

    done = host()
    assert done["changed"] and done["reason"] == "0.32.15 is not installed"
    assert done["actions"] == foretold["actions"] and done["diff"] == foretold["diff"]
    assert done["files"] == {NAME: sha256(FILES[NAME])} and set(foretold["files"]) == {NAME}
    assert done["path"] == str(host.path / "0.32.15") and host.files() == WHOLE
    assert done["bytes_downloaded"] == len(FILES[NAME]) + len(sums(FILES))
    assert host.names() == [".lock", "0.32.15"]

    mirror.requests.clear()
    again = host()
    assert not again["changed"] and again["actions"] == [] and again["reason"] is None
    assert mirror.requests == [] and again["files"] == done["files"]
    assert not host(check_mode=True)["changed"]

    other = host(version="v0.33.0-rc2")
    assert other["changed"] and other["version"] == "0.33.0-rc2" and other["versions"] == ["0.32.15", "0.33.0-rc2"]
    assert not host()["changed"]


def test_record(host):
    host(addons=["rocm"], libraries=["cuda_v13"])
    record = host.record()
    assert record["version"] == "0.32.15" and record["addons"] == ["rocm"] and record["libraries"] == ["cuda_v13"]
    assert record["left_out"] == ["cuda_v12", "vulkan"] and record["unverified"] == []
    assert record["files"] == {name: sha256(FILES[name]) for name in (NAME, ROCM)}
    assert sorted(record["paths"]) == host.files()
    assert stat.S_IMODE((host.path / "0.32.15").stat().st_mode) == 0o755


def test_a_release_of_the_days_of_tgz(host):
    assert host(version="0.13.5")["changed"] and host.files("0.13.5") == sorted(OLD_FILES)
    assert not host(version="0.13.5")["changed"]


def test_the_list_of_sums_knows_how_a_candidate_was_packed(host, mirror):
    mirror.add("0.14.0-rc0", OLD)
    assert host(version="0.14.0-rc0")["files"] == {"ollama-linux-amd64.tgz": sha256(OLD["ollama-linux-amd64.tgz"])}
    assert not host(version="0.14.0-rc0", sha256=[sha256(OLD["ollama-linux-amd64.tgz"])])["changed"]


@pytest.mark.parametrize(
    "libraries, left",
    [
        (["all"], ["cuda_v12", "cuda_v13", "vulkan"]),
        ([], ["cuda_v12", "cuda_v13", "vulkan"]),
        (["cuda_v13"], ["cuda_v13"]),
        (["none"], []),
    ],
)
def test_libraries(host, libraries, left):
    host(libraries=libraries)
    assert sorted(entry.name for entry in (host.path / "0.32.15/lib/ollama").iterdir() if entry.is_dir()) == left
    assert not host(libraries=libraries)["changed"]


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"libraries": ["cuda_v13"]}, "libraries=cuda_v13 is asked for, and 0.32.15 has all"),
        ({"addons": ["rocm"]}, "addons=rocm is asked for, and 0.32.15 has none"),
        ({"sha256": ["a" * 64]}, "an archive with sha256 %s is asked for, and" % ("a" * 64)),
    ],
)
def test_other_wishes_for_the_same_version(host, options, reason):
    host()
    assert host(check_mode=True, **options)["reason"].startswith(reason)
    if "sha256" in options:
        host.fails("arrived wrong (sha256 expected %s" % ("a" * 64), **options)
        assert not host()["changed"], "what was there before must stay"
    else:
        assert host(**options)["reason"].startswith(reason) and not host(**options)["changed"]
    assert host.names() == [".lock", "0.32.15"]


@pytest.mark.parametrize("harm", ["missing", "shorter", "directory instead", "whole library", "no record", "torn record"])
def test_damage_is_found_and_repaired(host, harm):
    host()
    root = host.path / "0.32.15"
    program = root / "bin/ollama"
    if harm == "missing":
        program.unlink()
    elif harm == "shorter":
        program.write_bytes(b"")
    elif harm == "directory instead":
        program.unlink()
        program.mkdir()
    elif harm == "whole library":
        shutil.rmtree(root / "lib/ollama/cuda_v12")
    elif harm == "no record":
        (root / ".gpufleet-release.json").unlink()
    else:
        (root / ".gpufleet-release.json").write_text('{"schema')
    reason = host(check_mode=True)["reason"]
    assert "record is gone" in reason if "record" in harm else "missing or changed" in reason
    assert host()["changed"] and host.files() == WHOLE and not host()["changed"]
    assert host.names() == [".lock", "0.32.15"]


def test_what_killed_runs_left(host, mirror):
    host()
    (host.path / ".0.32.15.abcdefgh").mkdir()
    (host.path / ".0.31.0.12345678/0.31.0/bin").mkdir(parents=True)
    (host.path / ".download/ollama-0.32.15").mkdir(parents=True)
    (host.path / ".somebody.elses_it").mkdir()
    mirror.requests.clear()
    assert len(host(check_mode=True)["actions"]) == 3
    done = host()
    assert done["changed"] and done["reason"] == "a run that was killed left something behind" and mirror.requests == []
    assert host.names() == [".download", ".lock", ".somebody.elses_it", "0.32.15"]
    assert not host()["changed"]


def test_a_download_is_continued_by_the_next_run(host, mirror):
    path = "/v0.32.15/" + NAME
    mirror.faults[path] = [Fault(cut=100)]
    host.fails("Given up after 1 attempts", retries=0)
    assert host.names() == [".download", ".lock"]
    mirror.requests.clear()
    done = host(check_mode=True)
    assert done["actions"][0].startswith("fetch")
    assert host()["bytes_downloaded"] == len(FILES[NAME]) - 100 + len(sums(FILES))
    assert mirror.asked(NAME) == ["bytes=100-"] and host.names() == [".lock", "0.32.15"]


def test_downloads_elsewhere(host, mirror, tmp_path):
    downloads = tmp_path / "downloads"
    mirror.faults["/v0.32.15/" + NAME] = [Fault(cut=100)]
    options = {"download_dir": str(downloads)}
    host.fails("Given up", retries=0, **options)
    (downloads / "somebody elses").mkdir()
    assert (downloads / "ollama-0.32.15" / (NAME + ".part")).stat().st_size == 100
    assert stat.S_IMODE((downloads / "ollama-0.32.15").stat().st_mode) == 0o700
    assert host(**options)["changed"] and not host(**options)["changed"]
    assert sorted(os.listdir(downloads)) == [".ollama.lock", "somebody elses"]


def test_github_sends_files_to_another_host(host, mirror):
    with Mirror() as storage:
        storage.files["/v0.32.15/%s?signature=secret" % NAME] = FILES[NAME]
        mirror.redirect = storage.url
        assert host()["changed"] and len(storage.requests) == 1


def test_two_runs_do_not_meet(host):
    with ollama_release.ollama_release.Place(str(host.path)).locked(1):
        host.fails("has been working on %s for lock_timeout=0 s" % host.path, lock_timeout=0)
    assert host()["changed"]


def test_another_run_did_it_meanwhile(host, monkeypatch):
    host()
    answers = iter(["0.32.15 is not installed", None])
    monkeypatch.setattr(ollama_release.ollama_release, "_difference", lambda _wish, _place: next(answers))
    assert not host()["changed"]


# --- archives on the host -------------------------------------------------------------------------


@pytest.fixture
def carried(tmp_path):
    """Files as somebody carried them here, without the list of sums."""
    folder = tmp_path / "carried"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


def test_archives_on_the_host(host, carried, mirror):
    (carried / "sha256sum.txt").write_bytes(sums(FILES))
    options = {"archive": [str(carried / NAME), str(carried / ROCM)], "addons": ["rocm"]}
    done = host(**options)
    assert done["changed"] and host.files() == sorted(WHOLE + list(ROCM_FILES)) and done["bytes_downloaded"] == 0
    assert done["actions"][:2] == ["unpack " + NAME, "unpack " + ROCM]
    shutil.rmtree(carried)
    assert not host(**options)["changed"] and mirror.requests == []
    assert not host(addons=["rocm"])["changed"], "where it came from is no part of the wish"


def test_the_sum_is_given(host, carried):
    options = {"archive": [str(carried / NAME)]}
    host.fails("there is no sha256sum.txt beside it. Set sha256, or unverified=true", **options)
    host.fails("sha256 expected %s, got %s" % ("0" * 64, sha256(FILES[NAME])), sha256=["0" * 64], **options)
    assert host(sha256=[sha256(FILES[NAME]).upper()], **options)["changed"]
    assert not host(sha256=[sha256(FILES[NAME])], **options)["changed"]


def test_unverified(host, carried, mirror):
    options = {"archive": [str(carried / NAME)], "unverified": True}
    assert host(**options)["files"] == {NAME: sha256(FILES[NAME])} and host.record()["unverified"] == [NAME]
    (carried / "sha256sum.txt").write_bytes(sums({NAME: b"another"}))
    host.fails("is not the file it should be", version="0.31.0", **options)
    del mirror.files["/v0.31.0/sha256sum.txt"]
    host.fails("sha256sum.txt: HTTP 404", version="0.31.0")
    assert host(version="0.31.0", unverified=True)["changed"]


# --- what is refused ------------------------------------------------------------------------------

BAD_INPUT = [
    ({"version": "latest"}, "version=latest is not a version of Ollama: give three numbers such as 0.32.15"),
    ({"version": "../../etc"}, "version=../../etc is not a version of Ollama"),
    ({"path": "/"}, "path=/: give an absolute path below a directory of its own"),
    ({"path": "opt/ollama"}, "path=opt/ollama: give an absolute path"),
    ({"path": "/etc/passwd"}, "path=/etc/passwd exists and is not a directory"),
    ({"path": "/sys/nowhere"}, "/sys/nowhere: "),
    ({"url": "ftp://mirror/x"}, "url=ftp://mirror/x: give http:// or https://"),
    ({"url": "file:///srv"}, "url=file:///srv: give http:// or https://"),
    ({"url": "http://mirror:port/x"}, "url=http://mirror:port/x: give http://"),
    ({"url": "http://mirror/x?y=1"}, "give http:// or https://"),
    ({"url": "http://me:secret@mirror/x"}, "url must not hold a user name or a password"),
    ({"password": "x"}, "password is set and username is not"),
    ({"proxy": "socks5://proxy:1080"}, "proxy=socks5://proxy:1080: give http://HOST:PORT"),
    ({"ca_path": "/nowhere.pem"}, "ca_path=/nowhere.pem cannot be used"),
    ({"timeout": 0}, "timeout=0: give 1 or more"),
    ({"stall_timeout": -1}, "stall_timeout=-1: give 1 or more"),
    ({"retries": -1}, "retries=-1: give 0 or more"),
    ({"addons": ["jetpack6"]}, "addons=jetpack6 exists for arm64 only, and this is amd64"),
    ({"addons": ["rocm"], "architecture": "arm64"}, "addons=rocm exists for amd64 only, and this is arm64"),
    ({"addons": ["rocm", "rocm"]}, "addons=rocm, rocm names one twice"),
    ({"libraries": ["../x"]}, "libraries=../x is not the name of a directory such as cuda_v13"),
    ({"libraries": ["all", "vulkan"]}, "libraries=all, vulkan: give all alone"),
    ({"libraries": ["none", "vulkan"]}, "libraries=none, vulkan: give none alone"),
    ({"libraries": ["cuda_v14"]}, "has cuda_v12, cuda_v13, vulkan"),
    ({"sha256": ["abc"]}, "sha256=abc is not a sum: give 64 hexadecimal digits"),
    ({"sha256": ["a" * 64], "addons": ["rocm"]}, "sha256 has 1 sums, and 2 are needed"),
    ({"archive": ["ollama.tar.zst"]}, "archive=ollama.tar.zst: give an absolute path"),
    ({"archive": ["/a/x"], "addons": ["rocm"]}, "archive names 1 files, and 2 are needed: the base archive, then"),
    ({"archive": ["/a/x", "/b/x"], "addons": ["rocm"]}, "archive names two files that are called the same"),
    ({"archive": ["/nowhere/x"]}, "archive=/nowhere/x cannot be read: No such file or directory"),
    ({"archive": ["/etc"]}, "archive=/etc cannot be read: Is a directory"),
    ({"download_dir": "x"}, "download_dir=x: give an absolute path"),
    ({"version": "0.30.9"}, "/v0.30.9/sha256sum.txt: HTTP 404 Not Found. Check version and url"),
    ({"addons": ["mlx"]}, "has no sum for ollama-linux-amd64-mlx.tar.zst. Check version, addons and url; it has: ollama-linux"),
    ({"architecture": "arm64"}, "has no sum for ollama-linux-arm64.tar.zst"),
    ({"url": "https://github.com/ollama/x", "offline": True}, "offline=true: 0.32.15 is not installed, and url="),
    ({"state": "current"}, "version=0.32.15 cannot become current: it is not installed. Run state=present first"),
    ({"state": "absent", "keep": -1}, "keep=-1: give 0 or more"),
    ({"state": "absent", "versions": ["current"]}, "versions=current is not a version"),
    ({"state": "absent", "keep": 0, "used": ["bin/ollama"]}, "used=bin/ollama is not a version"),
]


@pytest.mark.parametrize("options, message", BAD_INPUT)
def test_bad_input(host, options, message):
    assert "secret" not in host.fails(message, **options)
    assert not [name for name in host.names() if name not in (".lock", ".download")]


def _without(*names):
    return {name: content for name, content in BASE.items() if name not in names}


ARM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44)
BAD_ARCHIVES = {
    "an add-on instead": (zst(release(ROCM_FILES, {})), "has no program bin/ollama, so it is not the archive of Ollama 0.32.15"),
    "no llama-server": (zst(release(_without("lib/ollama/llama-server"), {})), "has no program lib/ollama/llama-server"),
    "a link instead of it": (
        zst(release(_without("bin/ollama"), {"bin/ollama": "nowhere"})), "has no program bin/ollama"
    ),
    "not executable": (
        zst(release(_without("bin/ollama"), {}, member("bin/ollama", mode=0o644))), "has no program bin/ollama"
    ),
    "another machine": (zst(release(dict(BASE, **{"bin/ollama": ARM}), LINKS)), "holds a program for arm64, and this is amd64"),
    "a path outside": (zst(release(BASE, LINKS, member("../../x"))), "holds the path '../../x', which leads out of it"),
    "a link outside": (zst(release(BASE, {"lib/ollama/x": "../../.."})), "holds the link lib/ollama/x to ../../.., which leads out"),
    "a device": (zst(release(BASE, LINKS, member("dev", tarfile.BLKTYPE))), "holds dev, which is neither a file"),
    "our own record": (zst(release(BASE, LINKS, member(".gpufleet-release.json"))), "is the record of an installation"),
    "torn": (FILES[NAME][:-20], "is damaged: zstd: it ends in the middle"),
    "a page": (b"<html>Please log in</html>", "is compressed with neither zstd nor gzip: it begins with b'<htm'"),
    "empty": (b"", "it begins with b''"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ARCHIVES)
@pytest.mark.parametrize("way", ["fetched", "carried"])
def test_bad_archives(host, mirror, tmp_path, case, way):
    """Bad although their sum is right; nothing of them stays."""
    data, message = BAD_ARCHIVES[case]
    host(version="0.31.0")
    mirror.add("0.32.15", {NAME: data})
    (tmp_path / NAME).write_bytes(data)
    source = {"archive": [str(tmp_path / NAME)], "sha256": [sha256(data)]} if way == "carried" else {}
    host.fails(message, **source)
    assert [name for name in host.names() if name not in (".download", ".lock")] == ["0.31.0"]
    assert not os.path.exists(host.path / ".download/ollama-0.32.15")
    assert not host(version="0.31.0")["changed"]


def test_no_zstd_is_said_before_anything_is_fetched(host, mirror, monkeypatch):
    monkeypatch.setattr(zstd, "library", lambda: None)
    host.fails("install the package zstd")
    assert mirror.requests == [] and host(version="0.13.5")["changed"]


def test_no_room_to_fetch(host, mirror, monkeypatch):
    size = len(FILES[NAME])
    monkeypatch.setattr(archive, "free_of", lambda _path: (1, 4 * size - 1))
    assert "to fetch and unpack Ollama 0.32.15 %d bytes" % (4 * size) in host.fails("has %d free: 1 short" % (4 * size - 1))
    monkeypatch.setattr(archive, "free_of", lambda _path: (1, 4 * size))
    assert host()["changed"]


def test_no_room_for_the_second_archive(host, monkeypatch):
    free = 4 * len(FILES[NAME])
    monkeypatch.setattr(archive, "free_of", lambda _path: (1, free))
    host.fails("%d free: %d short" % (free, 3 * len(FILES[NAME]) + 4 * len(FILES[ROCM]) - free), addons=["rocm"])


def test_no_room_to_unpack(host, mirror, carried, monkeypatch):
    """An estimate alone refuses nothing that would fit."""
    unpacked = sum(len(data) for name, data in BASE.items() if "cuda_v12" not in name and "vulkan" not in name)
    big = zst(release(dict(BASE, **{"lib/ollama/cuda_v12/big": os.urandom(20_000)}), LINKS))
    (carried / NAME).write_bytes(big)
    options = {"archive": [str(carried / NAME)], "sha256": [sha256(big)], "libraries": ["cuda_v13"]}
    monkeypatch.setattr(archive, "free_of", lambda _path: (1, unpacked - 1))
    host.fails("to unpack Ollama 0.32.15 %d bytes" % unpacked, **options)
    assert host.names() == [".lock"]
    monkeypatch.setattr(archive, "free_of", lambda _path: (1, unpacked))
    assert host(**options)["changed"]


def test_the_disk_is_full_after_all(host, monkeypatch):
    def full(*_words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.shutil, "copyfileobj", full)
    host.fails("%s: No space left on device" % host.path)
    assert host.names() == [".download", ".lock"]


# --- current and absent ---------------------------------------------------------------------------


def test_current(host):
    assert host(state="current", check_mode=True)["current"] == "0.32.15", "in check mode it may only be about to come"
    host()
    host(version="0.31.0")
    first = host(state="current", version="0.31.0")
    assert first["changed"] and first["current"] == "0.31.0" and os.readlink(host.path / "current") == "0.31.0"
    foretold = host(state="current", check_mode=True)
    assert foretold["diff"]["before"].endswith("current: 0.31.0\n") and foretold["diff"]["after"].endswith("current: 0.32.15\n")
    assert foretold["changed"] and os.readlink(host.path / "current") == "0.31.0"
    assert host(state="current")["reason"] == "%s/current is 0.31.0" % host.path and not host(state="current")["changed"]
    assert os.readlink(host.path / "current") == "0.32.15"
    (host.path / "0.31.0/bin/ollama").unlink()
    host.fails("cannot become current: bin/ollama in it is missing or changed", state="current", version="0.31.0")


def test_current_and_the_command(host, tmp_path):
    host()
    command = tmp_path / "bin" / "ollama"
    command.parent.mkdir()
    command.write_text("the vendor's")
    foretold = host(state="current", command=str(command), check_mode=True)
    assert command.read_text() == "the vendor's"
    done = host(state="current", command=str(command))
    assert done["actions"] == foretold["actions"]
    assert done["reason"] == "%s/current is not there, %s is a file" % (host.path, command)
    assert os.readlink(command) == str(host.path / "current/bin/ollama") and command.is_file()
    assert not host(state="current", command=str(command))["changed"]
    command.unlink()
    assert host(state="current", command=str(command))["actions"] == ["link %s to %s/current/bin/ollama" % (command, host.path)]
    host.fails("is a directory: give the name of a link in it", state="current", command=str(command.parent))
    assert os.listdir(command.parent) == ["ollama"]


def test_current_is_in_the_way(host):
    host()
    (host.path / "current").mkdir()
    host.fails("current is in the way: it should be a link", state="current")


@pytest.fixture
def three(host):
    for version in ("0.31.0", "0.32.15", "0.33.0-rc2"):
        host(version=version)
    host(state="current")
    return host


@pytest.mark.parametrize(
    "options, left",
    [
        ({"keep": 9}, ["0.31.0", "0.32.15", "0.33.0-rc2"]),
        ({"keep": 1}, ["0.32.15", "0.33.0-rc2"]),
        ({"keep": 0}, ["0.32.15"]),
        ({"keep": 0, "used": ["0.31.0"]}, ["0.31.0", "0.32.15"]),
        ({"keep": 1, "used": ["v0.33.0-rc2", "0.1.0"]}, ["0.31.0", "0.32.15", "0.33.0-rc2"]),
        ({"keep": 0, "used": ["{path}/0.31.0/bin/ollama", "/usr/local/bin/ollama"]}, ["0.31.0", "0.32.15"]),
        ({"keep": 0, "used": ["{path}/../../link"]}, ["0.31.0", "0.32.15"]),
        ({"versions": ["0.31.0", "0.30.0"]}, ["0.32.15", "0.33.0-rc2"]),
        ({"versions": ["0.31.0"], "keep": 1}, ["0.32.15", "0.33.0-rc2"]),
    ],
)
def test_absent(three, tmp_path, options, left):
    (tmp_path / "link").symlink_to(three.path / "0.31.0/bin/ollama")
    options = dict(options, used=[text.format(path=three.path) for text in options.get("used", [])])
    foretold = three(state="absent", check_mode=True, **options)
    assert foretold["versions"] == left and len(three.names()) == 5
    done = three(state="absent", **options)
    assert done["versions"] == left and done["changed"] == (len(left) < 3) and done["diff"] == foretold["diff"]
    assert three.names() == sorted([".lock", "current"] + left)
    assert not three(state="absent", **options)["changed"]


def test_what_is_in_use_is_not_removed(three):
    three.fails("versions=0.32.15 is in use: current points to it", state="absent", versions=["0.32.15"])
    options = {"state": "absent", "versions": ["0.31.0"], "used": [str(three.path / "0.31.0")]}
    three.fails("versions=0.31.0 is in use: used names", **options)


def test_absent_where_nothing_is(host):
    assert not host(state="absent", keep=0)["changed"] and not host.path.exists()


def test_a_removal_that_was_killed_is_finished(three):
    (three.path / ".0.31.0.abcdefgh").mkdir()
    (three.path / "0.31.0").rename(three.path / ".0.31.0.abcdefgh/0.31.0")
    assert three(state="absent", keep=5)["actions"] == ["remove %s" % (three.path / ".0.31.0.abcdefgh")]
    assert three.names() == [".lock", "0.32.15", "0.33.0-rc2", "current"]


# --- as a program ---------------------------------------------------------------------------------


def test_alone_and_without_secrets(host, mirror):
    arguments = dict(host.defaults, username="me", password="hunter2", proxy="http://you:hunter3@127.0.0.1:9", retries=0)
    process = subprocess.run(
        [sys.executable, ollama_release.__file__], input=json.dumps(arguments), capture_output=True, text=True, check=False,
        env={"PATH": "/nowhere"},
    )  # fmt: skip
    result = json.loads(process.stdout)
    assert "Given up after 1 attempts" in result["msg"]
    assert "hunter" not in process.stdout


@pytest.mark.slow
def test_as_ansible_packs_it(host, mirror, tmp_path):
    """With the part that is loaded only to fetch, and the archives that the scenarios install."""
    built = release_stand_in.build(tmp_path / "built", ["0.33.1", "0.13.5"])
    mirror.files = {"/%s" % path.relative_to(built): path.read_bytes() for path in built.glob("*/*")}
    environment = dict(
        os.environ,
        ANSIBLE_LOCAL_TEMP=str(tmp_path / "local"),
        ANSIBLE_REMOTE_TEMP=str(tmp_path / "remote"),
        ANSIBLE_STDOUT_CALLBACK="ansible.builtin.minimal",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_COLLECTIONS_PATH=str(Path(ollama_release.__file__).parents[5]),
    )
    for version in ("0.33.1", "0.13.5"):
        arguments = dict(host.defaults, version=version, libraries=["cuda_v13"], architecture="amd64")
        done = subprocess.run(
            [sys.executable, "-m", "ansible.cli.adhoc", "localhost", "-c", "local", "-m", "gpufleet.llm.ollama_release"]
            + ["-e", "ansible_python_interpreter=" + sys.executable, "-a", json.dumps(arguments)],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "CHANGED" in done.stdout, done.stdout + done.stderr
        assert "lib/ollama/cuda_v13/libggml-cuda.so" in host.files(version)
        assert not [name for name in host.files(version) if "cuda_v12" in name or "vulkan" in name]
        assert os.access(host.path / version / "bin/ollama", os.X_OK)


def test_a_second_run_takes_milliseconds(host, mirror):
    many = {"lib/ollama/cuda_v13/lib%d.so" % number: b"x" for number in range(500)}
    mirror.add("0.32.15", {NAME: zst(release(dict(BASE, **many), LINKS))})
    host()
    times = []
    for _round in range(3):
        before = time.process_time()
        assert not host()["changed"]
        times.append(time.process_time() - before)
    assert min(times) < 0.1
