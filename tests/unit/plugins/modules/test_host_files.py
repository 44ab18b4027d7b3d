# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories and files in one task: made in check mode, made, once more, changed, once more."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.services import host_files


def mode(path):
    return "%04o" % (os.stat(path).st_mode & 0o7777)


def test_a_file(tmp_path):
    path = str(tmp_path / "a.service")
    wanted = {"path": path, "content": "one\n", "mode": "0640"}
    assert host_files.file(wanted, True)["after"] == "one\n"
    assert not os.path.exists(path)
    diff = host_files.file(wanted, False)
    assert (diff["before"], diff["after"], diff["after_header"]) == ("", "one\n", path)
    assert mode(path) == "0640"
    assert host_files.file(wanted, False) is None
    assert host_files.file(dict(wanted, content="two\n"), True)["before"] == "one\n"
    assert host_files.file(dict(wanted, content="two\n", mode=None), False)["after"] == "two\n"
    assert mode(path) == "0640"  # what is not asked for stays
    assert "mode: 0600" in host_files.file(dict(wanted, content="two\n", mode="0600"), False)["after"]
    assert mode(path) == "0600" and os.listdir(tmp_path) == ["a.service"]


def test_a_directory(tmp_path):
    path = str(tmp_path / "b" / "c")
    wanted = {"path": path, "mode": "0750"}
    assert host_files.directory(wanted, True)["before"] == "absent\n"
    assert not os.path.exists(path)
    assert host_files.directory(wanted, False)
    assert mode(path) == "0750"
    assert host_files.directory(wanted, False) is None
    assert host_files.directory({"path": path}, False) is None
    assert host_files.directory(dict(wanted, mode="0755"), False)
    assert mode(path) == "0755"


def test_a_link_to_a_directory_is_followed_and_not_given_away(tmp_path):
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    wanted = {"path": str(tmp_path / "store"), "mode": mode(tmp_path / "disk")}
    assert host_files.directory(wanted, False) is None
    with pytest.raises(GpufleetError, match="is a link to .*disk, which has not the owner, group or mode"):
        host_files.directory(dict(wanted, mode="0700"), False)


@pytest.mark.parametrize(
    ("make", "ask", "said"),
    [
        (os.mkdir, "file", "is a directory, and a file is needed there"),
        (lambda path: os.symlink("/etc/passwd", path), "file", "is a link, and a file is needed there"),
        (lambda path: os.symlink("/nowhere", path), "directory", "is a link, and a directory is needed there"),
        (os.mkfifo, "directory", "is a special file, and a directory is needed there"),
    ],
)
def test_what_is_in_the_way(tmp_path, make, ask, said):
    path = str(tmp_path / "x")
    make(path)
    with pytest.raises(GpufleetError, match=said):
        getattr(host_files, ask)({"path": path, "content": ""}, False)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"mode": "rw"}, "mode=rw of .*: give an octal number"),
        ({"owner": "nobody-here"}, "nobody-here"),
        ({"group": "nobody-here"}, "nobody-here"),
    ],
)
def test_bad_input(tmp_path, wanted, said):
    with pytest.raises(GpufleetError, match=said):
        host_files.file(dict(wanted, path=str(tmp_path / "x"), content=""), False)
    assert os.listdir(tmp_path) == []


def test_an_account_that_does_not_exist_yet_is_no_error_in_check_mode(tmp_path):
    wanted = {"path": str(tmp_path / "x"), "content": "", "owner": "nobody-here"}
    assert host_files.file(wanted, True)["before"] == ""
