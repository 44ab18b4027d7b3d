# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packs the stand-in as releases of Ollama, laid out as on GitHub.

    build(directory, versions=("0.33.1",))  ->  directory/v0.33.1/{ollama-linux-amd64.tar.zst, ..., sha256sum.txt}
    python release.py DIRECTORY [VERSION ...]

bin/ollama is one file that /usr/bin/python3 runs. Some versions are broken on purpose: see BROKEN. What is packed
twice is the same file, byte for byte. Needs the package zstandard.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tarfile
import typing as t
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSIONS = ("0.33.1", "0.33.2", "0.33.8", "0.33.9", "0.13.5")
BROKEN = {
    "0.33.8": {"OLLAMA_STANDIN_CRASH": "runtime error: invalid memory address or nil pointer dereference"},
    "0.33.9": {"OLLAMA_STANDIN_GENERATE_ERROR": "llama-server process has terminated: exit status 1"},
}
PACKAGE = "ollama_stand_in"
# Nothing of the caller's Python, and an absolute path: it runs whatever PATH is.
INTERPRETER = b"#!/usr/bin/python3 -IS\n"
MOMENT = (2026, 1, 1, 0, 0, 0)
EPOCH = 1767225600  # the same moment
FACTS = """\
VERSION = %r
MODES = %r
"""
LLAMA_SERVER = b"""\
#!/usr/bin/python3 -IS
import signal
signal.pause()
"""
LLAMA_QUANTIZE = b"#!/bin/sh\nexit 0\n"
LIBRARY = b"\x7fELF stand-in: %s\n"

Tree = t.Dict[str, t.Tuple[int, bytes]]


def program(version: str) -> bytes:
    """bin/ollama of this version."""
    out = io.BytesIO(INTERPRETER)
    out.seek(0, io.SEEK_END)
    files = {PACKAGE + "/" + path.name: path.read_text(encoding="utf-8") for path in (HERE / "program").glob("*.py")}
    files[PACKAGE + "/release_facts.py"] = FACTS % (version, BROKEN.get(version, {}))
    files["__main__.py"] = "from %s.cli import main\n\nmain()\n" % PACKAGE
    with zipfile.ZipFile(out, "a") as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, MOMENT), files[name])
    return out.getvalue()


def libraries(folder: str, *names: str) -> Tree:
    return {"lib/ollama/%s/%s" % (folder, name): (0o755, LIBRARY % name.encode()) for name in names}


def contents(version: str) -> t.Dict[str, Tree]:
    """The archives of a version: stem -> what is in it."""
    new = _numbers(version) >= (0, 30)
    base: Tree = {"bin/ollama": (0o755, program(version))}
    for name in ("libggml-base.so", "libggml-cpu-haswell.so", "libggml-cpu-skylakex.so", "libllama.so"):
        base["lib/ollama/" + name] = (0o755, LIBRARY % name.encode())
    if new:
        base["lib/ollama/llama-server"] = (0o755, LLAMA_SERVER)
        base["lib/ollama/llama-quantize"] = (0o755, LLAMA_QUANTIZE)
    base.update(libraries("cuda_v12", "libggml-cuda.so", "libcudart.so.12"))
    base.update(libraries("cuda_v13", "libggml-cuda.so", "libcudart.so.13"))
    vulkan = libraries("vulkan", "libggml-vulkan.so")
    found = {
        "ollama-linux-amd64": dict(base, **vulkan),
        "ollama-linux-arm64": base,
        "ollama-linux-amd64-rocm": libraries("rocm_v7_2", "libggml-hip.so", "librocblas.so.5"),
        "ollama-linux-arm64-jetpack5": libraries("cuda_jetpack5", "libggml-cuda.so"),
        "ollama-linux-arm64-jetpack6": libraries("cuda_jetpack6", "libggml-cuda.so"),
    }
    if new:
        found["ollama-linux-amd64-mlx"] = libraries("mlx_cuda_v13", "libmlx.so")
    return found


def tar(tree: Tree) -> bytes:
    """Relative names, every directory before what is in it, all of it root's."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        folders = sorted({str(folder) for name in tree for folder in Path(name).parents if str(folder) != "."})
        for folder in folders:
            archive.addfile(_entry(folder, 0o755, tarfile.DIRTYPE))
        for name in sorted(tree):
            mode, content = tree[name]
            entry = _entry(name, mode, tarfile.REGTYPE)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def pack(version: str, tree: Tree) -> t.Tuple[str, bytes]:
    """The end of the file's name, and its content: releases before 0.14 are .tgz."""
    if _numbers(version) < (0, 14):
        import gzip

        return ".tgz", gzip.compress(tar(tree), mtime=0)
    import zstandard

    return ".tar.zst", zstandard.ZstdCompressor(level=3, write_content_size=False).compress(tar(tree))


def build(directory: t.Union[str, Path], versions: t.Iterable[str] = VERSIONS) -> Path:
    """Write v<version>/ with all files of each version; ``directory`` is then a mirror's base."""
    for version in versions:
        folder = Path(directory) / ("v" + version)
        folder.mkdir(parents=True, exist_ok=True)
        sums = {"install.sh": _write(folder / "install.sh", b"#!/bin/sh\nexit 1\n")}
        for stem, tree in contents(version).items():
            ending, content = pack(version, tree)
            sums[stem + ending] = _write(folder / (stem + ending), content)
        # As find and sha256sum leave them: with ./ and in no order.
        names = sorted(sums, key=lambda name: hashlib.sha256(name.encode()).digest())
        text = "".join("%s  ./%s\n" % (sums[name], name) for name in names)
        _write(folder / "sha256sum.txt", text.encode())
    return Path(directory)


def _write(path: Path, content: bytes) -> str:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)
    return hashlib.sha256(content).hexdigest()


def _entry(name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.mtime = mode, kind, EPOCH
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _numbers(version: str) -> t.Tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split("."))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("versions", nargs="*", default=list(VERSIONS))
    given = parser.parse_args()
    build(given.directory, given.versions)


if __name__ == "__main__":
    main()
