# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a host names something: in files, and in what its processes have open, mapped, mounted or were started with.

What is looked for are commits: whoever uses a revision of a model goes through a directory of that name, so it stands in the
path that the kernel shows of a file, of a mapping and of a mount, also of a mount in a container. Paths are resolved beside
that, for links; those of a process as it sees them, from where it works and in its container.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import stat
import typing as t

_DIGITS = re.compile(rb"[0-9a-f]{40,}")
_PATH = re.compile(rb"/[^\s\"'`,;:=<>(){}\[\]|&\\\0]+")
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")  # gigabytes that name nothing
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/proc/", "/sys/", "/dev/")  # no link there leads to a model
_ENDED = (errno.ENOENT, errno.ESRCH, errno.EINVAL)  # what the kernel says of a process that is gone, or has no memory any more
_MOST = 1 << 20  # bytes that are read of a file; what starts services is shorter
# What a unit or a supervisor starts or reads, and what a script goes on with.
_STARTS = re.compile(
    rb"^[ \t]*(?:(?:Exec[A-Z][A-Za-z]*|EnvironmentFile|command)[ \t]*=|(?:\.|source|exec)[ \t])(.*(?:\\\n.*)*)", re.MULTILINE
)
# The site's mirror serves by links to revisions, from where this file of it lies that an nginx includes.
_MIRROR = re.compile(rb"(/[^\s;\"']+)/site\.conf\b")
_SPECIFIER = re.compile(r"%[A-Za-z]")  # of systemd; whatever it stands for


class Traces:
    """What was found. ``blind`` counts what could not be looked at. ``homes`` are the directories of models, in ``below``."""

    def __init__(self, commits: t.AbstractSet[str], below: str, homes: t.Iterable[str] = ()) -> None:
        self._commits = {one.encode() for one in commits}
        self._below = os.path.realpath(below)
        self._homes = set(homes)
        self._kinds = {one.partition("/")[0] for one in self._homes}
        self._names = {part for one in self._homes for part in one.split("/")}
        self._host = _Tree("")
        self._resolved: t.Dict[bytes, t.List[str]] = {}
        self._read: t.Set[str] = set()
        self._folders: t.Dict[t.Tuple[int, int], str] = {}
        self.commits: t.Dict[str, t.List[str]] = {}  # where each is named
        self.paths: t.Dict[str, t.List[str]] = {}  # the same of paths in the directory, of links in it and where they lead
        self.blind: t.List[str] = []

    def text(self, content: bytes, where: str, paths: bool = True) -> None:
        for commit in self._commits.intersection(_DIGITS.findall(content)):
            self._add(self.commits, commit.decode(), where)
        for path in set(_PATH.findall(content)) if paths else ():
            self._name(path, where)

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
                    for name in folders:
                        self._entry(os.path.join(folder, name))

    def links(self, path: str) -> None:
        """Links to a revision that lie in the directory itself, beside those of the models."""
        for folder, folders, names in os.walk(path):
            if os.path.relpath(folder, path) in self._homes:
                folders[:] = []
                continue
            for name in folders + names:
                place = os.path.join(folder, name)
                if os.path.islink(place):
                    self.text(os.fsencode(os.path.realpath(place)), "the link %s" % place, paths=False)

    def processes(self, proc: str = "/proc") -> None:
        mine, spaces = _ancestors(proc), set()
        if proc == "/proc" and os.geteuid() != 0:
            self.blind.append("what other users run")  # it may even be hidden that they run something
        here = _space(os.path.join(proc, str(os.getpid())))
        for name in os.listdir(proc):
            if not name.isdigit():
                continue
            folder, where = os.path.join(proc, name), "process %s" % name
            with contextlib.suppress(OSError):
                where += " (%s)" % _content(os.path.join(folder, "comm")).decode(errors="replace").strip()
            space = _space(folder)
            if int(name) not in mine:  # those name what this very run was told
                self._look(where, " was started with it", _words, folder, paths=True)
                self._look(where, " has it in its environment", _variables, folder, paths=True)
                self._in_its_terms(folder, where, _Tree(os.path.join(folder, "root")) if space != here else self._host)
            self._look(where, " works in it", _link, os.path.join(folder, "cwd"))
            self._look(where, " has it open", _opened, os.path.join(folder, "fd"))
            self._look(where, " has it mapped", _content, os.path.join(folder, "maps"))
            mounts = os.path.join(folder, "mountinfo")
            if space not in spaces and self._look(where, " has it mounted", _content, mounts) and space[0]:
                spaces.add(space)  # of all the processes in a container, one is enough
                if space != here:
                    self._mounts(mounts, where, _Tree(os.path.join(folder, "root")))

    def _in_its_terms(self, folder: str, where: str, tree: _Tree) -> None:
        """Paths from where it works, and those of its container."""
        try:
            working = os.fsdecode(_link(os.path.join(folder, "cwd")))
            words, variables = _content(os.path.join(folder, "cmdline")), _variables(folder)
        except OSError:
            return  # it was said already
        if not working.startswith("/"):
            return  # it has ended
        self._seen(tree, working, where + " works in it")
        for word in {part for one in words.split(b"\0") for part in (one, one.partition(b"=")[2])}:
            if word and not word.startswith((b"/", b"-")) and len(word) < 4096:
                self._seen(tree, os.path.join(working, os.fsdecode(word)), where + " was started with it")
        if tree is not self._host:
            for content, how in ((words, " was started with it"), (variables, " has it in its environment")):
                for path in set(_PATH.findall(content)):
                    self._seen(tree, os.fsdecode(path), where + how)

    def _mounts(self, path: str, where: str, tree: _Tree) -> None:
        """Directories of the store that a container has mounted, above the models."""
        with contextlib.suppress(OSError):
            for line in _content(path).splitlines():
                root, point = (os.fsdecode(one).replace("\\040", " ") for one in line.split()[3:5])
                if os.path.basename(root) in self._names:  # no other is asked for: one that hangs would hang this
                    self._seen(tree, point, where + " has it mounted")

    def _seen(self, tree: _Tree, path: str, where: str) -> None:
        """A path as a process sees it."""
        place, links = tree.follow(path)
        found = [self._mapped(tree, place)]
        found += [os.path.join(self._mapped(tree, os.path.dirname(one)), os.path.basename(one)) for one in links]
        for one in found:
            if one.startswith(self._below + "/"):
                self._add(self.paths, one, where)

    def _mapped(self, tree: _Tree, path: str) -> str:
        """What it is on the host when it is in the store; what is the same directory has the same inode."""
        if tree is self._host:
            return path
        if not self._folders:
            for folder, _folders, _names in os.walk(self._below):
                with contextlib.suppress(OSError):
                    found = os.stat(folder)
                    self._folders[found.st_dev, found.st_ino] = folder
        rest = ""
        while path not in ("", "/"):
            known = self._folders.get(tree.inode(path))
            if known:
                return known + rest
            path, _slash, name = path.rpartition("/")
            rest = "/%s%s" % (name, rest)
        return ""

    def _look(self, where: str, how: str, read: t.Callable[[str], bytes], path: str, paths: bool = False) -> bool:
        try:
            self.text(read(path), where + how, paths)
            return True
        except OSError as error:
            if error.errno not in _ENDED and where not in self.blind:
                self.blind.append(where)
            return False

    def _entry(self, path: str) -> None:
        """What its name says, such as the instance of a unit, and where it leads."""
        for commit in self._commits.intersection(_DIGITS.findall(os.fsencode(os.path.basename(path)))):
            self._add(self.commits, commit.decode(), path)
        if os.path.islink(path):
            with contextlib.suppress(FileNotFoundError):
                self.text(os.fsencode(os.path.basename(os.readlink(path))), path, paths=False)
            self._name(os.fsencode(os.path.abspath(path)), path)

    def _file(self, path: str) -> None:
        self._entry(path)
        if path.endswith(_WEIGHTS) or path in self._read:
            return
        self._read.add(path)
        try:
            if not os.path.isfile(path):
                return
            content = _text(path)
        except FileNotFoundError:
            return
        except OSError:
            self.blind.append(path)
            return
        self.text(content, path)
        for mirror in set(_MIRROR.findall(content)) if b"/site.conf" in content else ():
            self.files([os.path.join(glob.escape(os.fsdecode(mirror)), "versions/*/files")])
        started = [content] if "/cron" in path else _STARTS.findall(content)
        for found in {one for line in started for one in _PATH.findall(line)}:
            name = _SPECIFIER.sub("*", os.fsdecode(found))
            if not name.startswith(_SYSTEM) or name.startswith("/usr/local/"):
                for one in glob.glob(name):
                    if os.path.isfile(one) and not os.path.realpath(one).startswith(self._below + "/"):
                        self._file(one)

    def _name(self, path: bytes, where: str) -> None:
        for one in self._resolve(path):
            self._add(self.paths, one, where)

    def _resolve(self, path: bytes) -> t.List[str]:
        """What it names in the directory: where it leads, and the links on the way."""
        if path not in self._resolved:
            name = os.fsdecode(path).rstrip(".")
            found: t.List[str] = []
            if not name.startswith(_SYSTEM):
                place, links = self._host.follow(name)
                if not place.startswith(self._below + "/"):
                    place, links = self._host.follow(self._as_mounted(name))
                found = [one for one in (place, *links) if one.startswith(self._below + "/")]
            self._resolved[path] = found
        return self._resolved[path]

    def _as_mounted(self, name: str) -> str:
        """A path of a model in a container that does not run, where the store has another name: what follows that is the same."""
        for kind in self._kinds:
            _before, _kind, rest = name.partition("/%s/" % kind)
            model = "/".join([kind, *rest.split("/")[:2]])
            if model in self._homes and not os.path.lexists(name):
                return "%s/%s/%s" % (self._below, kind, rest)
        return "/"

    @staticmethod
    def _add(found: t.Dict[str, t.List[str]], key: str, where: str) -> None:
        places = found.setdefault(key, [])
        if where not in places:
            places.append(where)


class _Tree:
    """All paths as one sees them whose root this is."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._targets: t.Dict[str, t.Optional[str]] = {}

    def follow(self, path: str) -> t.Tuple[str, t.List[str]]:
        """Where it leads, and every link on the way with the links above it resolved."""
        place, links = "", []  # type: str, t.List[str]
        parts = path.split("/")[::-1]
        while parts:
            part = parts.pop()
            if part == "..":
                place = place.rpartition("/")[0]
            if part in ("", ".", ".."):
                continue
            target = self._target("%s/%s" % (place, part)) if len(links) < 40 else None
            if target is None:
                place = "%s/%s" % (place, part)
                continue
            links.append("%s/%s" % (place, part))
            place = "" if target.startswith("/") else place
            parts += target.split("/")[::-1]
        return place or "/", links

    def inode(self, path: str) -> t.Tuple[int, int]:
        with contextlib.suppress(OSError, ValueError):
            found = os.lstat(self._root + path)
            if stat.S_ISDIR(found.st_mode):
                return found.st_dev, found.st_ino
        return 0, 0

    def _target(self, path: str) -> t.Optional[str]:
        if path not in self._targets:
            try:
                self._targets[path] = os.readlink(self._root + path)
            except (OSError, ValueError):
                self._targets[path] = None
        return self._targets[path]


def _ancestors(proc: str) -> t.Set[int]:
    """This process, and those that started it."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = int(_content(os.path.join(proc, str(pid), "stat")).rpartition(b")")[2].split()[1])
        except OSError:
            break
    return found


def _words(folder: str) -> bytes:
    return _content(os.path.join(folder, "cmdline")).replace(b"\0", b"\n")


def _variables(folder: str) -> bytes:
    content = _content(os.path.join(folder, "environ")).split(b"\0")
    return b"\n".join(one for one in content if not one.startswith(b"OLDPWD="))  # where a shell was once


def _opened(handles: str) -> bytes:
    return b"\n".join(_link(os.path.join(handles, one)) for one in os.listdir(handles))


def _space(folder: str) -> t.Tuple[bytes, bytes]:
    """What decides which paths a process sees: its mounts, and its root among them."""
    try:
        return _link(os.path.join(folder, "ns/mnt")), _link(os.path.join(folder, "root"))
    except OSError:
        return b"", b""


def _content(path: str) -> bytes:
    with open(path, "rb") as content:
        return content.read()


def _text(path: str) -> bytes:
    """Nothing of a program or another file that is no text."""
    with open(path, "rb") as content:
        start = content.read(4096)
        return b"" if b"\0" in start else start + content.read(_MOST - len(start))


def _link(path: str) -> bytes:
    try:
        return os.readlink(os.fsencode(path))
    except FileNotFoundError:  # a handle that was closed, a kernel thread
        return b""
