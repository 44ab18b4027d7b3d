# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a host names something: in files, and in what its processes have open, mapped, mounted or were started with.

What is looked for are commits: whoever uses a revision of a model goes through a directory of that name, so it stands in the
path that the kernel shows of a file, of a mapping and of a mount, also of a mount in a container. Paths are resolved beside
that, for links.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import typing as t

_COMMIT = re.compile(rb"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f])")
_PATH = re.compile(rb"/[^\s\"'`,;:=<>(){}\[\]|&\\\0]+")
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")  # gigabytes that name nothing
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/proc/", "/sys/", "/dev/")  # no link there leads to a model
_ENDED = (errno.ENOENT, errno.ESRCH, errno.EINVAL)  # what the kernel says of a process that is gone, or has no memory any more


class Traces:
    """What was found. ``blind`` counts what could not be looked at."""

    def __init__(self, commits: t.AbstractSet[str], below: str) -> None:
        self._commits = {one.encode() for one in commits}
        self._below = os.path.realpath(below)
        self._resolved: t.Dict[bytes, str] = {}
        self.commits: t.Dict[str, t.List[str]] = {}  # where each is named
        self.paths: t.Dict[str, t.List[str]] = {}  # the same of paths in the directory, all links resolved
        self.blind: t.List[str] = []

    def text(self, content: bytes, where: str, paths: bool = True) -> None:
        for commit in self._commits.intersection(_COMMIT.findall(content)):
            self._add(self.commits, commit.decode(), where)
        for path in set(_PATH.findall(content)) if paths else ():
            found = self._resolve(path)
            if found:
                self._add(self.paths, found, where)

    def files(self, patterns: t.Iterable[str]) -> None:
        """Every file that a pattern matches, and all below the directories that one matches."""
        for pattern in patterns:
            for path in sorted(glob.glob(pattern)):
                if not os.path.isdir(path):
                    self._file(path)
                for folder, folders, names in os.walk(path):
                    folders[:] = [one for one in folders if os.path.realpath(os.path.join(folder, one)) != self._below]
                    for name in names:
                        self._file(os.path.join(folder, name))

    def processes(self, proc: str = "/proc") -> None:
        mine, spaces = _ancestors(proc), set()
        if proc == "/proc" and os.geteuid() != 0:
            self.blind.append("what other users run")  # it may even be hidden that they run something
        for name in os.listdir(proc):
            if not name.isdigit():
                continue
            folder, where = os.path.join(proc, name), "process %s" % name
            with contextlib.suppress(OSError):
                where += " (%s)" % _read(os.path.join(folder, "comm")).decode(errors="replace").strip()
            if int(name) not in mine:  # those name what this very run was told
                self._look(where, " was started with it", _words, folder, paths=True)
                self._look(where, " has it in its environment", _variables, folder, paths=True)
            self._look(where, " works in it", _link, os.path.join(folder, "cwd"))
            self._look(where, " has it open", _opened, os.path.join(folder, "fd"))
            self._look(where, " has it mapped", _read, os.path.join(folder, "maps"))
            space = b""
            with contextlib.suppress(OSError):
                space = _link(os.path.join(folder, "ns/mnt"))
            if space not in spaces and self._look(where, " has it mounted", _read, os.path.join(folder, "mountinfo")) and space:
                spaces.add(space)  # of all the processes in a container, one is enough

    def _look(self, where: str, how: str, read: t.Callable[[str], bytes], path: str, paths: bool = False) -> bool:
        try:
            self.text(read(path), where + how, paths)
            return True
        except OSError as error:
            if error.errno not in _ENDED and where not in self.blind:
                self.blind.append(where)
            return False

    def _file(self, path: str) -> None:
        if path.endswith(_WEIGHTS):
            return
        try:
            if os.path.isfile(path):
                self.text(_read(path), path)
        except FileNotFoundError:
            pass
        except PermissionError:
            self.blind.append(path)

    def _resolve(self, path: bytes) -> str:
        """The path with its links resolved when it is in the directory, else nothing."""
        if path not in self._resolved:
            name = os.fsdecode(path)
            found = "" if name.startswith(_SYSTEM) else os.path.realpath(name.rstrip("."))
            self._resolved[path] = found if found.startswith(self._below + "/") else ""
        return self._resolved[path]

    @staticmethod
    def _add(found: t.Dict[str, t.List[str]], key: str, where: str) -> None:
        places = found.setdefault(key, [])
        if where not in places:
            places.append(where)


def _ancestors(proc: str) -> t.Set[int]:
    """This process, and those that started it."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = int(_read(os.path.join(proc, str(pid), "stat")).rpartition(b")")[2].split()[1])
        except OSError:
            break
    return found


def _words(folder: str) -> bytes:
    return _read(os.path.join(folder, "cmdline")).replace(b"\0", b"\n")


def _variables(folder: str) -> bytes:
    content = _read(os.path.join(folder, "environ")).split(b"\0")
    return b"\n".join(one for one in content if not one.startswith(b"OLDPWD="))  # where a shell was once


def _opened(handles: str) -> bytes:
    return b"\n".join(_link(os.path.join(handles, one)) for one in os.listdir(handles))


def _read(path: str) -> bytes:
    with open(path, "rb") as content:
        return content.read()


def _link(path: str) -> bytes:
    try:
        return os.readlink(os.fsencode(path))
    except FileNotFoundError:  # a handle that was closed, a kernel thread
        return b""
