# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the names of parts say, and when a file is what was wished."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.conversion import parts, target


@pytest.mark.parametrize(
    "names",
    [
        ["x.gguf.part1of3", "x.gguf.part2of3", "x.gguf.part3of3"],
        ["x.gguf-part-1-of-2", "x.gguf-part-2-of-2"],
        ["x.gguf.part01", "x.gguf.part02"],
        ["x.gguf-split-a", "x.gguf-split-b", "x.gguf-split-c"],
        ["x.gguf.split-aa", "x.gguf.split-ab"],
        ["x.gguf.00", "x.gguf.01", "x.gguf.02"],
        ["x.gguf.001", "x.gguf.002"],
        ["x.gguf.%d" % number for number in range(1, 13)],  # 10 comes after 9
        ["x.gguf.aa", "x.gguf.ab"],
        ["x-part1.gguf", "x-part2.gguf"],
        ["x.split-a.gguf", "x.split-b.gguf"],
    ],
)
def test_numbered_names(names):
    others = ["x.gguf", "y.gguf.part1of3", "x.gguf.bak", "x.gguf.part1of9", "x.gguf.zip", "README.md", "x.gguf-splt-a"]
    others = [name for name in others if name not in names]
    assert parts.siblings(names[-1], others + names[::-1]) == names
    numbers = [parts.piece(name).number for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + len(names))) and numbers[0] in (0, 1)


@pytest.mark.parametrize(
    "name", ["x.gguf", "x-Q4_K_M.gguf", "x-00001-of-00002.gguf", "x.gguf.bak", "x.gguf.new", "part1", "x.bin.00"]
)
def test_names_without_a_number(name):
    assert parts.piece(name) is None
    assert parts.siblings(name, [name, "x.gguf.00"]) == [name]


SAME = {"size": 1, "mtime_ns": 2, "inode": 3}
OTHER_INODE, OTHER_DATE, OTHER_SIZE = dict(SAME, inode=4), dict(SAME, inode=4, mtime_ns=5), dict(SAME, inode=4, size=6)
WISH = {"state": "merged", "source": ["/m/a"]}
OVER = {"wish": WISH, "inputs": [dict(SAME, path="/m/a")], "result": dict(SAME, sha256="0"), "replaces": OTHER_INODE}
RECORD = {"wish": WISH, "inputs": [dict(SAME, path="/m/a")], "result": dict(SAME, sha256="0")}


@pytest.mark.parametrize(
    "wish, record, source, result, new, state, reason",
    [
        (WISH, RECORD, SAME, SAME, None, target.SAME, ""),
        (WISH, RECORD, None, SAME, None, target.SAME, ""),  # parts may go when the file is there
        (WISH, RECORD, SAME, None, SAME, target.RENAME, "an earlier run made it"),
        (WISH, OVER, SAME, OTHER_INODE, SAME, target.RENAME, "an earlier run made it"),  # over the one before
        (WISH, RECORD, SAME, OTHER_INODE, SAME, target.COPIED, "its date or inode"),  # put there meanwhile
        (WISH, OVER, SAME, OTHER_SIZE, SAME, target.DUE, "it has 6 bytes, and 1 were recorded"),
        (WISH, RECORD, SAME, SAME, OTHER_INODE, target.SAME, ""),
        (WISH, RECORD, SAME, None, OTHER_INODE, target.DUE, "it is not there"),
        (WISH, RECORD, OTHER_INODE, OTHER_INODE, None, target.COPIED, "its date or inode"),  # rsync -a
        (WISH, RECORD, SAME, OTHER_DATE, None, target.COPIED, "its date or inode"),
        (WISH, RECORD, SAME, OTHER_SIZE, None, target.DUE, "it has 6 bytes, and 1 were recorded"),
        (WISH, RECORD, OTHER_INODE, SAME, None, target.DUE, "its inputs are other files now"),
        (WISH, RECORD, OTHER_DATE, SAME, None, target.DUE, "/m/a has changed"),
        (WISH, RECORD, OTHER_DATE, None, SAME, target.DUE, "/m/a has changed"),
        (dict(WISH, type="Q8_0"), RECORD, SAME, SAME, None, target.DUE, "it was made with another type"),
        (WISH, None, SAME, SAME, None, target.DUE, "was not made by this module"),
        (WISH, None, SAME, None, None, target.DUE, "it is not there"),
    ],
)
def test_what_is_due(wish, record, source, result, new, state, reason):
    found = target.judge(wish, record, {"/m/a": source}, result, new)
    assert found.state == state
    assert reason in found.reason


@pytest.mark.parametrize(
    "record, found, known",
    [
        (None, SAME, False),
        (RECORD, SAME, True),
        (RECORD, OTHER_INODE, False),
        (OVER, OTHER_INODE, True),
        (OVER, OTHER_SIZE, False),
        (dict(RECORD, replaces=None), OTHER_DATE, False),
    ],
)
def test_which_file_a_record_knows(record, found, known):
    assert target.known_by(record, found) is known
