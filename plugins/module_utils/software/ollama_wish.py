# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one call of ollama_release wants, and what it did."""

from __future__ import annotations

import os
import re
import typing as t
import urllib.parse
from dataclasses import dataclass, field

from ..errors import GpufleetError
from . import ollama_archives, sums
from .ollama_archives import Version
from .releases import Place


@dataclass(frozen=True)
class Wish:
    """What shall be there, and where it comes from."""

    version: Version
    architecture: str
    addons: t.Tuple[str, ...]
    libraries: t.Optional[t.List[str]]  # None: all
    url: str
    archives: t.Tuple[str, ...]
    sha256: t.Tuple[str, ...]
    unverified: bool
    offline: bool
    download_dir: t.Optional[str]
    access: t.Dict[str, t.Any]
    lock_timeout_s: int

    def folder(self, place: Place) -> str:
        """Where what is fetched for this version lies."""
        return os.path.join(self.download_dir or os.path.join(place.path, ".download"), "ollama-%s" % self.version)

    def wants(self, name: str, is_directory: bool) -> bool:
        library = ollama_archives.library_of(name, is_directory)
        return library is None or self.libraries is None or library in self.libraries


@dataclass
class Work:
    """One run: what it did, or would do."""

    place: Place
    check_mode: bool
    reason: t.Optional[str] = None
    actions: t.List[str] = field(default_factory=list)
    files: t.Dict[str, t.Optional[str]] = field(default_factory=dict)
    bytes_downloaded: int = 0

    def say(self, text: str) -> None:
        self.actions.append(text)


def from_params(params: t.Mapping[str, t.Any]) -> Wish:
    for option in ("timeout", "stall_timeout", "retries", "lock_timeout"):
        least = 1 if option in ("timeout", "stall_timeout") else 0
        if params[option] < least:
            raise GpufleetError("%s=%d: give %d or more" % (option, params[option], least))
    arch = ollama_archives.architecture(params["architecture"])
    addons, archives = params["addons"], params["archive"] or []
    ollama_archives.check_addons(addons, arch)
    for option, paths in (("archive", archives), ("download_dir", [params["download_dir"] or "/"])):
        for path in paths:
            if not os.path.isabs(path):
                raise GpufleetError("%s=%s: give an absolute path" % (option, path))
    if archives and len(archives) != 1 + len(addons):
        raise GpufleetError(
            "archive names %d files, and %d are needed: the base archive, then one for each of addons in its order (%s)"
            % (len(archives), 1 + len(addons), ", ".join(addons) or "none")
        )
    names = [os.path.basename(path) for path in archives]
    if len(set(names)) != len(names):
        raise GpufleetError("archive names two files that are called the same: their sums are told apart by the name")
    digests = sums.given(params["sha256"] or [])
    if digests and len(digests) != 1 + len(addons):
        raise GpufleetError(
            "sha256 has %d sums, and %d are needed: the base archive's, then one for each of addons in its order"
            % (len(digests), 1 + len(addons))
        )
    if params["password"] and not params["username"]:
        raise GpufleetError("password is set and username is not: set both or none")
    return Wish(
        version=Version.parse(params["version"]),
        architecture=arch,
        addons=tuple(addons),
        libraries=ollama_archives.libraries_of(params["libraries"]),
        url=_url(params["url"]),
        archives=tuple(archives),
        sha256=digests,
        unverified=params["unverified"],
        offline=params["offline"],
        download_dir=params["download_dir"],
        access={
            "proxy": params["proxy"],
            "ca_path": params["ca_path"],
            "username": params["username"],
            "password": params["password"],
            "timeout_s": params["timeout"],
            "stall_timeout_s": params["stall_timeout"],
            "retries": params["retries"],
        },
        lock_timeout_s=params["lock_timeout"],
    )


def _url(url: str) -> str:
    """Without a slash at its end."""
    try:
        parts = urllib.parse.urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or bool(parts.query or parts.fragment)
        wrong = wrong or parts.port == 0 or bool(re.search(r"[\s\x00-\x1f]", url))
        secret = parts.username is not None or parts.password is not None
    except ValueError:
        wrong, secret = True, False
    if secret:
        raise GpufleetError("url must not hold a user name or a password: set username and password")
    if wrong:
        raise GpufleetError("url=%s: give http:// or https://, a host and a path, as https://mirror.example/ollama" % url)
    return url.rstrip("/")
