# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what the hosts of a scenario have of the stand-in: releases to install, a registry, files to make models from.

    python bed.py DIRECTORY

    mirror/v<version>/...     releases, see release.py
    stand_in/registry.py      to be run on the hosts
    gguf/tiny.gguf            a model in one file, and in three: gguf/split/tiny-0000N-of-00003.gguf

OLLAMA_TEST_ARCHIVE names a real release's ollama-linux-<architecture>.tar.zst, and OLLAMA_TEST_VERSION its version: the
mirror then has that in place of a stand-in. OLLAMA_TEST_GGUF names a model that it can load, which becomes tiny.gguf.
Files that are there already are left alone, for servers may be at them.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import typing as t
from pathlib import Path

import release
from program import gguf_file

HERE = Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def build(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release.build(directory / "mirror")
        tiny = gguf_file.tiny(seed=40)[0].pack()
        real = os.environ.get("OLLAMA_TEST_ARCHIVE")
        if real:
            missing = [name for name in ("OLLAMA_TEST_VERSION", "OLLAMA_TEST_GGUF") if not os.environ.get(name)]
            if missing:
                raise SystemExit("OLLAMA_TEST_ARCHIVE is set: set %s too" % " and ".join(missing))
            _mirror(Path(real), os.environ["OLLAMA_TEST_VERSION"], directory / "mirror")
            tiny = Path(os.environ["OLLAMA_TEST_GGUF"]).read_bytes()
        for path in [HERE / "registry.py", *(HERE / "program").glob("*.py")]:
            _write(directory / "stand_in" / path.relative_to(HERE), path.read_bytes())
        _write(directory / "gguf" / "tiny.gguf", tiny)
        parts = gguf_file.tiny(seed=41, split=3)
        for number, part in enumerate(parts, 1):
            _write(directory / "gguf" / "split" / ("tiny-%05d-of-%05d.gguf" % (number, len(parts))), part.pack())


def _mirror(archive: Path, version: str, mirror: Path) -> None:
    name = "ollama-linux-%s.tar.zst" % ARCHITECTURES[platform.machine()]
    folder = mirror / ("v" + version)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(archive, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    shutil.copyfile(archive, folder / (name + ".new"))
    (folder / (name + ".new")).replace(folder / name)
    _write(folder / "sha256sum.txt", ("%s  ./%s\n" % (digest.hexdigest(), name)).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == content:
        return
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)


def main(words: t.Optional[t.Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    build(parser.parse_args(words).directory)


if __name__ == "__main__":
    main()
