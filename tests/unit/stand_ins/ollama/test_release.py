# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packed releases: laid out as Ollama's, and running."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import tarfile
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama import release
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.program import gguf_file
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.server import OllamaServer
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.support import call, create

zstandard = pytest.importorskip("zstandard")
pytestmark = pytest.mark.stand_in


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release.build(tmp_path_factory.mktemp("mirror"))


def opened(path: Path) -> tarfile.TarFile:
    if path.suffix == ".tgz":
        return tarfile.open(path)
    with open(path, "rb") as stream, zstandard.ZstdDecompressor().stream_reader(stream) as reader:
        return tarfile.open(fileobj=io.BytesIO(reader.read()))


def installed(mirror: Path, version: str, folder: Path) -> Path:
    """bin/ollama of that release, unpacked."""
    path = next((mirror / ("v" + version)).glob("ollama-linux-amd64.t*"))
    with opened(path) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    program = folder / "bin" / "ollama"
    if not os.access("/usr/bin/python3", os.X_OK):  # the hosts of the scenarios have it
        program.write_bytes(program.read_bytes().replace(b"/usr/bin/python3", sys.executable.encode(), 1))
    return program


def test_layout(mirror):
    assert sorted(path.name for path in mirror.iterdir()) == sorted("v" + version for version in release.VERSIONS)
    new, old = mirror / "v0.33.1", mirror / "v0.13.5"
    assert {path.name for path in new.iterdir()} == {
        "ollama-linux-amd64.tar.zst", "ollama-linux-arm64.tar.zst", "ollama-linux-amd64-rocm.tar.zst",
        "ollama-linux-amd64-mlx.tar.zst", "ollama-linux-arm64-jetpack5.tar.zst", "ollama-linux-arm64-jetpack6.tar.zst",
        "install.sh", "sha256sum.txt",
    }  # fmt: skip
    assert {path.suffix for path in old.glob("ollama-*")} == {".tgz"}


@pytest.mark.parametrize("version", release.VERSIONS)
def test_sums(mirror, version):
    folder = mirror / ("v" + version)
    lines = (folder / "sha256sum.txt").read_text().splitlines()
    named = {}
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]{64})  \./(\S+)", line)
        assert match is not None
        named[match.group(2)] = match.group(1)
    files = {path.name: path for path in folder.iterdir() if path.name != "sha256sum.txt"}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == named
    assert list(named) != sorted(named), "in no order"


@pytest.mark.parametrize(
    "file, there, absent",
    [
        ("v0.33.1/ollama-linux-amd64.tar.zst", ["bin/ollama", "lib/ollama/llama-server", "lib/ollama/vulkan"], []),
        ("v0.33.1/ollama-linux-arm64.tar.zst", ["bin/ollama", "lib/ollama/cuda_v13"], ["lib/ollama/vulkan"]),
        ("v0.33.1/ollama-linux-amd64-rocm.tar.zst", ["lib/ollama/rocm_v7_2/libggml-hip.so"], ["bin"]),
        ("v0.33.1/ollama-linux-arm64-jetpack6.tar.zst", ["lib/ollama/cuda_jetpack6"], ["bin/ollama"]),
        ("v0.13.5/ollama-linux-amd64.tgz", ["bin/ollama"], ["lib/ollama/llama-server"]),
    ],
)
def test_archives(mirror, file, there, absent):
    with opened(mirror / file) as archive:
        members = {member.name: member for member in archive}
    assert set(there) <= set(members) and not set(absent) & set(members)
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert not any(name.startswith(("/", ".")) for name in members)


def test_same_files_every_time(mirror, tmp_path):
    again = release.build(tmp_path, ["0.33.1"])
    for path in (again / "v0.33.1").iterdir():
        assert path.read_bytes() == (mirror / "v0.33.1" / path.name).read_bytes()


@pytest.mark.slow
def test_a_release_runs(mirror, tmp_path):
    program = installed(mirror, "0.33.2", tmp_path / "0.33.2")
    link = tmp_path / "ollama"
    link.symlink_to(program)
    with OllamaServer(tmp_path / "home", program=link, env={"PATH": "/nowhere"}) as one:
        assert call(one.url, "GET", "/api/version").json == {"version": "0.33.2"}
        assert one.cli("-v").stdout == "ollama version is 0.33.2\n"
        create(one.url, "m", {"m.gguf": gguf_file.tiny()[0].pack()})
        assert call(one.url, "POST", "/api/generate", {"model": "m"}).json["done_reason"] == "load"
        assert one.process is not None
        runner = [pid for thread in Path("/proc/%d/task" % one.process.pid).iterdir()
                  for pid in map(int, (thread / "children").read_text().split())]  # fmt: skip
        assert len(runner) == 1
        assert b"lib/ollama/llama-server" in Path("/proc/%d/cmdline" % runner[0]).read_bytes()
        assert one.stop() == 0
        assert not Path("/proc/%d" % runner[0]).exists(), "its children go with it"
        (program.parent.parent / "lib" / "ollama" / "llama-server").unlink()
        one.start()
        answer = call(one.url, "POST", "/api/generate", {"model": "m"})
        assert answer.status == 500 and answer.error.startswith("llama-server binary not found (checked: ")


@pytest.mark.slow
def test_gpus_need_their_libraries(mirror, tmp_path):
    program = installed(mirror, "0.33.1", tmp_path / "0.33.1")
    env = {"OLLAMA_STANDIN_GPUS": str(48 * 2**30), "OLLAMA_LLM_LIBRARY": "cuda_v12"}
    with OllamaServer(tmp_path / "a", program=program, env=env) as one:
        assert "libdirs=ollama,cuda_v12" in one.log()
    env["OLLAMA_LLM_LIBRARY"] = "cuda_v11"
    with OllamaServer(tmp_path / "b", program=program, env=env) as one:
        assert "library=cpu" in one.log()


@pytest.mark.slow
def test_broken_releases(mirror, tmp_path):
    crashing = OllamaServer(tmp_path / "a", program=installed(mirror, "0.33.8", tmp_path / "0.33.8"))
    crashing.start(wait=False)
    assert crashing.process is not None and crashing.process.wait(10) == 2
    assert "panic: runtime error" in crashing.log()
    with OllamaServer(tmp_path / "b", program=installed(mirror, "0.33.9", tmp_path / "0.33.9")) as one:
        assert call(one.url, "GET", "/api/version").json == {"version": "0.33.9"}
        create(one.url, "m", {"m.gguf": gguf_file.tiny()[0].pack()})
        answer = call(one.url, "POST", "/api/generate", {"model": "m", "prompt": "x"})
        assert (answer.status, answer.error) == (500, "llama-server process has terminated: exit status 1")
