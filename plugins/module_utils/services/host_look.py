# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on a host of the things a service consists of: files, accounts, listeners, SELinux. Reads, changes nothing."""

from __future__ import annotations

import contextlib
import glob
import grp
import os
import pwd
import re
import stat
import typing as t

UNIT_DIRECTORY = "/etc/systemd/system"
MAX_TEXT = 256 * 1024


def file(path: str) -> t.Dict[str, t.Any]:
    """type (absent, file, directory, link, other), mode, owner, group; a file's text, a link's target, mtime and inode."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"type": "absent"}
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    answer: t.Dict[str, t.Any] = {
        "type": kinds.get(stat.S_IFMT(found.st_mode), "other"),
        "mode": "%04o" % stat.S_IMODE(found.st_mode),
        "owner": _user_name(found.st_uid),
        "group": _group_name(found.st_gid),
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "inode": found.st_ino,
    }
    if answer["type"] == "link":
        answer["target"] = os.readlink(path)
    elif answer["type"] == "file" and found.st_size <= MAX_TEXT:
        with open(path, encoding="utf-8", errors="replace") as stream:
            answer["text"] = stream.read()
    return answer


def user(name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """uid, home and groups of an account, or None."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return {
        "uid": found.pw_uid,
        "home": found.pw_dir,
        "groups": sorted({_group_name(number) for number in _groups_of(found)}),
    }


def blocked(path: str, account: t.Optional[str]) -> t.Optional[str]:
    """The first directory above ``path`` that the account may not pass through, or None. No account: any other one."""
    uid, gids = -1, set()
    try:
        found = pwd.getpwnam(account) if account else None
    except KeyError:
        found = None
    if found is not None:
        uid, gids = found.pw_uid, _groups_of(found)
    parents = []
    while path not in ("/", ""):
        path = os.path.dirname(path)
        parents.append(path)
    for parent in reversed(parents):
        try:
            entry = os.stat(parent)
        except OSError:
            return None
        mode = entry.st_mode
        passes = mode & 0o100 if entry.st_uid == uid else mode & 0o010 if entry.st_gid in gids else mode & 0o001
        if not passes:
            return parent
    return None


def missing(path: str) -> t.List[str]:
    """The directories above ``path`` that are not there, the highest first."""
    found: t.List[str] = []
    path = os.path.dirname(path)
    while path not in ("/", "") and not os.path.lexists(path):
        found.insert(0, path)
        path = os.path.dirname(path)
    return found


def marked_units(prefix: str, mark: str, root: str = UNIT_DIRECTORY) -> t.Dict[str, str]:
    """What follows ``mark`` by unit, of the units with that prefix that were written here, or changed by a drop-in."""
    found = {}
    line = re.compile("^%s(.+)$" % re.escape(mark), re.M)
    stem = os.path.join(root, prefix)
    for path in sorted(glob.glob(stem + "*.service") + glob.glob(stem + "*.service.d/*.conf")):
        match = line.search(file(path).get("text", ""))
        if match:
            unit = os.path.basename(path if path.endswith(".service") else os.path.dirname(path)[:-2])
            found[unit] = match.group(1).strip()
    return found


def groups(names: t.Iterable[str]) -> t.List[str]:
    """Those of the names that are groups on this host."""
    found = []
    for name in names:
        with contextlib.suppress(KeyError):
            grp.getgrnam(name)  # not getgrall(): a directory service may know more than it lists
            found.append(name)
    return found


def listeners(root: str = "/") -> t.List[int]:
    """TCP ports that something listens on, on any address. Source: proc(5), /proc/net/tcp."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            with open(os.path.join(root, "proc/net", name), encoding="ascii") as stream:
                lines = stream.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == "0A":  # LISTEN
                found.add(int(words[1].rpartition(":")[2], 16))
    return sorted(found)


def selinux(root: str = "/") -> bool:
    """Whether SELinux labels files here, enforcing or not."""
    return os.path.exists(os.path.join(root, "sys/fs/selinux/enforce"))


def _groups_of(account: pwd.struct_passwd) -> t.Set[int]:
    return set(os.getgrouplist(account.pw_name, account.pw_gid))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
