# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ollama publishes for Linux: versions, the names of the archives, and what an unpacked one must have."""

from __future__ import annotations

import os
import platform
import re
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from .compressed import BadArchive

SUMS = "sha256sum.txt"
ADDONS = {"rocm": "amd64", "mlx": "amd64", "jetpack5": "arm64", "jetpack6": "arm64"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ELF_MACHINES = {62: "amd64", 183: "arm64"}
_NUMBER = r"(0|[1-9][0-9]*)"
_VERSION = re.compile(r"v?%s\.%s\.%s(?:-rc%s)?" % (_NUMBER, _NUMBER, _NUMBER, _NUMBER))
_LIBRARY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
ALL, NONE = "all", "none"


@dataclass(frozen=True, order=True)
class Version:
    """Ordered as released: 0.33.0-rc2 comes before 0.33.0."""

    numbers: t.Tuple[int, int, int]
    final: bool
    candidate: int

    @classmethod
    def parse(cls, text: str, option: str = "version") -> Version:
        version = cls.of(text)
        if version is None:
            raise GpufleetError(
                "%s=%s is not a version of Ollama: give three numbers such as 0.32.15, or 0.33.0-rc2" % (option, text)
            )
        return version

    @classmethod
    def of(cls, text: str) -> t.Optional[Version]:
        match = _VERSION.fullmatch(text)
        if not match:
            return None
        major, minor, patch = (int(group) for group in match.groups()[:3])
        candidate = match.group(4)
        return cls((major, minor, patch), candidate is None, int(candidate or 0))

    def __str__(self) -> str:
        return "%d.%d.%d" % self.numbers + ("" if self.final else "-rc%d" % self.candidate)


def architecture(wanted: str) -> str:
    """``amd64`` or ``arm64``: as asked for, or this host's."""
    if wanted != "auto":
        return wanted
    machine = platform.machine()
    if machine not in _MACHINES:
        raise GpufleetError(
            "this host is %s, and Ollama publishes archives for x86_64 (amd64) and aarch64 (arm64) only" % machine
        )
    return _MACHINES[machine]


def check_addons(addons: t.Sequence[str], arch: str) -> None:
    for addon in addons:
        if ADDONS[addon] != arch:
            raise GpufleetError(
                "addons=%s exists for %s only, and this is %s: leave it out" % (addon, ADDONS[addon], arch)
            )
    if len(set(addons)) != len(addons):
        raise GpufleetError("addons=%s names one twice" % ", ".join(addons))


def libraries_of(libraries: t.Sequence[str]) -> t.Optional[t.List[str]]:
    """The option ``libraries``: names, sorted; None for all of them."""
    for name in libraries:
        if not _LIBRARY.fullmatch(name):
            raise GpufleetError("libraries=%s is not the name of a directory such as cuda_v13" % name)
    for word in (ALL, NONE):
        if word in libraries and len(libraries) > 1:
            raise GpufleetError("libraries=%s: give %s alone, or names of directories" % (", ".join(libraries), word))
    if not libraries or ALL in libraries:
        return None
    return sorted(set(libraries) - {NONE})


def file_names(version: Version, arch: str, addon: t.Optional[str] = None) -> t.List[str]:
    """Names that the archive may have, the likely one first: the suffix changed with 0.14.0."""
    stem = "ollama-linux-%s%s" % (arch, "-" + addon if addon else "")
    suffixes = [".tar.zst", ".tgz"]
    return [stem + suffix for suffix in (suffixes if version.numbers >= (0, 14, 0) else reversed(suffixes))]


def library_of(name: str, is_directory: bool) -> t.Optional[str]:
    """The directory below lib/ollama that an entry of an archive belongs to."""
    parts = name.split("/")
    if parts[:2] == ["lib", "ollama"] and (len(parts) > 3 or len(parts) == 3 and is_directory):
        return parts[2]
    return None


def check_tree(directory: str, version: Version, arch: str, source: str) -> None:
    """Refuse an unpacked archive that is something else than Ollama's base archive for this machine."""
    needed = ["bin/ollama"]
    if version >= Version((0, 30, 0), True, 0):
        needed.append("lib/ollama/llama-server")  # it serves every model since then
    for name in needed:
        path = os.path.join(directory, name)
        if not os.path.isfile(path) or not os.access(path, os.X_OK):
            raise BadArchive(
                "%s has no program %s, so it is not the archive of Ollama %s" % (source, name, version), file=name
            )
    found = _elf_machine(os.path.join(directory, "bin/ollama"))
    if found is not None and found != arch:
        raise BadArchive("%s holds a program for %s, and this is %s" % (source, found, arch))


def _elf_machine(path: str) -> t.Optional[str]:
    with open(path, "rb") as program:
        header = program.read(20)
    if header[:4] != b"\x7fELF" or len(header) < 20:
        return None
    machine = int.from_bytes(header[18:20], "big" if header[5] == 2 else "little")
    return _ELF_MACHINES.get(machine, "another machine (ELF number %d)" % machine)
