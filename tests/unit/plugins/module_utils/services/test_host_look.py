# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import grp
import os
import pwd
import socket
import types

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.services import host_look


@pytest.fixture
def people(monkeypatch):
    """ollama is 990 with group 990, and in ai (991)."""
    groups = {"ollama": 990, "ai": 991, "staff": 50}
    users = {"ollama": types.SimpleNamespace(pw_name="ollama", pw_uid=990, pw_gid=990, pw_dir="/var/lib/ollama")}
    names = {number: types.SimpleNamespace(gr_name=name) for name, number in groups.items()}
    monkeypatch.setattr(pwd, "getpwnam", users.__getitem__)
    monkeypatch.setattr(grp, "getgrnam", groups.__getitem__)
    monkeypatch.setattr(grp, "getgrgid", names.__getitem__)
    monkeypatch.setattr(os, "getgrouplist", lambda _name, number: [number, 991])


def test_files(tmp_path):
    (tmp_path / "file").write_bytes("ü\xff".encode("latin-1"))
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = {name: host_look.file(str(tmp_path / name)) for name in ("file", "link", "pipe", "none", "file/below", "")}
    assert [one["type"] for one in found.values()] == ["file", "link", "other", "absent", "absent", "directory"]
    assert (found["file"]["mode"], found["file"]["text"], found["file"]["size"]) == ("0640", "\ufffd\ufffd", 2)
    assert found["link"]["target"] == "nowhere" and "text" not in found["pipe"]
    assert found["file"]["owner"] == pwd.getpwuid(os.geteuid()).pw_name


def test_a_file_that_is_too_long_for_a_text(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(host_look.MAX_TEXT + 1))
    assert "text" not in host_look.file(str(path))


def test_owners_without_a_name(tmp_path, monkeypatch):
    for module, name in ((pwd, "getpwuid"), (grp, "getgrgid")):
        monkeypatch.setattr(module, name, {}.__getitem__)
    (tmp_path / "x").touch()
    found = host_look.file(str(tmp_path / "x"))
    assert (found["owner"], found["group"]) == (str(os.geteuid()), str(os.getegid()))


def test_accounts(people):
    assert host_look.user("ollama") == {"uid": 990, "home": "/var/lib/ollama", "groups": ["ai", "ollama"]}
    assert host_look.user("nobody else") is None
    assert host_look.groups(["render", "ai", "ollama"]) == ["ai", "ollama"]


@pytest.mark.parametrize("account", ["ollama", "not there yet"])
@pytest.mark.parametrize(
    "mode, uid, gid, passes",
    [
        (0o755, 0, 0, (True, True)),
        (0o700, 0, 0, (False, False)),
        (0o710, 0, 0, (False, False)),
        (0o710, 0, 990, (True, False)),
        (0o750, 0, 991, (True, False)),
        (0o701, 0, 991, (False, True)),
        (0o700, 990, 0, (True, False)),
        (0o677, 990, 0, (False, True)),
    ],
)
def test_blocked(people, monkeypatch, account, mode, uid, gid, passes):
    entries = {"/": (0o755, 0, 0), "/home": (0o755, 0, 0), "/home/ai": (mode, uid, gid)}

    def found(path):
        if path not in entries:
            raise FileNotFoundError(path)
        mode, uid, gid = entries[path]
        return types.SimpleNamespace(st_mode=0o040000 | mode, st_uid=uid, st_gid=gid)

    monkeypatch.setattr(os, "stat", found)
    expected = None if passes[account != "ollama"] else "/home/ai"
    assert host_look.blocked("/home/ai/models/ollama", account) == expected
    assert host_look.blocked("/home/ai", account) is None


def test_missing(tmp_path):
    assert host_look.missing(str(tmp_path / "a/b/c")) == [str(tmp_path / "a"), str(tmp_path / "a/b")]
    assert host_look.missing(str(tmp_path / "a")) == [] == host_look.missing("/")


def test_marked_units(tmp_path):
    mark = "X-Test="
    for name, text in {
        "ollama.service": "[Unit]\n", "ollama.service.d/zz.conf": "[Unit]\nX-Test=ollama\n",
        "ollama-b.service": "[Unit]\nX-Test=b\n", "ollama-theirs.service": "# X-Test=x\n", "other.service": "X-Test=o\n",
        "ollama-c.service.d/override.conf": "[Service]\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "ollama-gone.service").symlink_to("/dev/null")
    found = host_look.marked_units("ollama", mark, str(tmp_path))
    assert found == {"ollama.service": "ollama", "ollama-b.service": "b"}
    assert host_look.marked_units("ollama", mark, str(tmp_path / "none")) == {}


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_listeners(family, host):
    with socket.socket(family, socket.SOCK_STREAM) as server:
        try:
            server.bind((host, 0))
        except OSError:
            pytest.skip("no %s here" % host)
        assert server.getsockname()[1] not in host_look.listeners()
        server.listen()
        assert server.getsockname()[1] in host_look.listeners()


def test_no_listeners_where_there_is_no_proc(tmp_path):
    assert host_look.listeners(str(tmp_path)) == []


@pytest.mark.parametrize("there", [True, False])
def test_selinux(tmp_path, there):
    if there:
        (tmp_path / "sys/fs/selinux").mkdir(parents=True)
        (tmp_path / "sys/fs/selinux/enforce").touch()
    assert host_look.selinux(str(tmp_path)) == there
