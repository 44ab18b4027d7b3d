# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning a store of real files, with processes that really hold some."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment.store_prune import Wish
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.services import traces
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import prune
from ansible_collections.gpufleet.llm.plugins.modules import model_store_prune

MODEL = "huggingface/org/one"


def commit(name):
    return hashlib.sha1(name.encode()).hexdigest()


OLDEST, OLD, NEW = commit("oldest"), commit("old"), commit("new")
SIZE = 8192


class Bed:
    """A store of one model with three revisions, the newest linked, and a host that names none of them."""

    def __init__(self, tmp: Path) -> None:
        self.store, self.etc, self.proc = tmp / "store", tmp / "etc", tmp / "proc"
        self.home = self.store / MODEL
        self.etc.mkdir()
        for age, name in ((3000, OLDEST), (2000, OLD), (1000, NEW)):
            self.add(name, age)
        (self.home / "main").symlink_to(NEW)

    def add(self, name, age=0):
        folder = self.home / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(os.urandom(SIZE))
        record = folder / "gpufleet.json"
        record.write_text("{}", encoding="utf-8")
        os.utime(record, (time.time() - age,) * 2)
        return folder

    def prune(self, check_mode=False, in_use=(), shared=True, **wish):
        places = prune.Places([str(self.etc)], in_use, self.look_at_processes())
        return prune.answer({"store": str(self.store), "shared": shared}, Wish(**wish), places, check_mode)

    def look_at_processes(self):
        """This process and those that it started: in a container not even root may look at each, and there may be many."""
        shutil.rmtree(self.proc, ignore_errors=True)
        self.proc.mkdir()
        mine = Path("/proc/self/task/%d/children" % os.getpid()).read_text(encoding="utf-8").split()
        for pid in [str(os.getpid()), *mine]:
            (self.proc / pid).symlink_to("/proc/" + pid)
        return str(self.proc)

    @property
    def there(self):
        return {name for name in os.listdir(self.home) if len(name) == 40}


@pytest.fixture
def bed(tmp_path):
    return Bed(tmp_path)


def paths(rows):
    return [os.path.basename(one["path"]) for one in rows]


def test_create_check_again(bed):
    before = bed.prune(check_mode=True)
    assert before["changed"] and bed.there == {OLDEST, OLD, NEW}
    done = bed.prune()
    assert {key: before[key] for key in ("removed", "kept", "freed_bytes", "store_bytes", "diff")} == {
        key: done[key] for key in ("removed", "kept", "freed_bytes", "store_bytes", "diff")
    }
    assert paths(done["removed"]) == [OLDEST] and done["freed_bytes"] >= SIZE
    assert done["diff"] == {"before": "%s\n" % (bed.home / OLDEST), "after": ""}
    assert {one["path"]: one["reason"] for one in done["kept"]} == {
        str(bed.home / OLD): "unused, and one of the newest: keep=1",
        str(bed.home / NEW): "linked as main",
    }
    assert bed.there == {OLD, NEW}
    again = bed.prune()
    assert not again["changed"] and again["store_bytes"] == done["store_bytes"]


NAMINGS = {
    "the path": lambda bed: "ExecStart=/opt/vllm serve %s --port 1" % (bed.home / OLDEST),
    "a file of it": lambda bed: '{"model": "%s/model.gguf"}' % (bed.home / OLDEST),
    "the commit alone": lambda bed: "revision: %s" % OLDEST,
    "mounted elsewhere": lambda bed: "Volume=/data:/models:ro\nExec=/models/org/one/%s" % OLDEST,
    "a link of the user": lambda bed: "MODEL=%s/config.json" % (bed.etc.parent / "my-model"),
}


@pytest.mark.parametrize("naming", sorted(NAMINGS))
def test_named_in_a_file(bed, naming):
    (bed.etc.parent / "my-model").symlink_to(bed.home / OLDEST)
    (bed.etc / "deep").mkdir()
    file = bed.etc / "deep" / "plan.json"
    file.write_text(NAMINGS[naming](bed), encoding="utf-8")
    result = bed.prune(keep=0)
    assert bed.there == {OLDEST, NEW}
    assert {"path": str(bed.home / OLDEST), "reason": "in use: %s" % file} in result["kept"]
    file.unlink()
    assert paths(bed.prune(keep=0)["removed"]) == [OLDEST]


HOLDING = {
    "open": "f = open(sys.argv[1] + '/model.safetensors')",
    "mapped": "import mmap; f = open(sys.argv[1] + '/model.safetensors', 'rb'); "
    "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); f.close()",
    "cwd": "os.chdir(sys.argv[1])",
}
TOLD = {"started with": "", **HOLDING}


@pytest.fixture
def process():
    begun = []

    def begin(code, *arguments, told=True, **more):
        # Told by its standard input, a process does not have the path among its words.
        code = "import os, sys, json\nif not %r: sys.argv += json.loads(sys.stdin.readline())\n%s\n" % (told, code)
        one = subprocess.Popen(
            [sys.executable, "-c", code + "print('ready', flush=True); sys.stdin.read()", *(arguments if told else ())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more,
        )  # fmt: skip
        begun.append(one)
        if not told:
            one.stdin.write(json.dumps(list(arguments)) + "\n")
            one.stdin.flush()
        assert one.stdout.readline() == "ready\n"
        return one

    yield begin
    for one in begun:
        one.kill()
        one.communicate()


@pytest.mark.parametrize("way", sorted(TOLD))
def test_held_by_a_process(bed, process, way):
    one = process(TOLD[way], str(bed.home / OLDEST), told=way == "started with")
    result = bed.prune(keep=0)
    assert bed.there == {OLDEST, NEW}
    reason = {row["path"]: row["reason"] for row in result["kept"]}[str(bed.home / OLDEST)]
    assert reason.startswith("in use: process %d (" % one.pid)
    one.kill()
    one.wait()
    assert paths(bed.prune(keep=0)["removed"]) == [OLDEST]


def test_held_through_the_environment(bed, process):
    process("", env={**os.environ, "MODEL": str(bed.home / OLDEST), "OLDPWD": str(bed.home / OLD)})
    assert paths(bed.prune(keep=0)["removed"]) == [OLD]


def test_process_that_has_ended(bed):
    """Nobody has asked yet how it ended: the kernel says all sorts of things of it."""
    gone = subprocess.Popen(["true"])
    end = time.monotonic() + 30
    while ") Z " not in Path("/proc/%d/stat" % gone.pid).read_text(encoding="utf-8"):
        assert time.monotonic() < end
    assert bed.prune()["changed"]
    gone.wait()


def test_mounted_in_a_container(bed, process, tmp_path):
    """A mount in another namespace, of which nothing but /proc/PID/mountinfo tells."""
    inside = tmp_path / "inside"
    inside.mkdir()
    code = "mount --bind '%s' '%s' && echo ready && exec cat" % (bed.home / OLDEST, inside)
    held = subprocess.Popen(
        ["unshare", "--mount", "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        held.stdin.write(code + "\n")
        held.stdin.flush()
        if held.stdout.readline() != "ready\n":
            pytest.skip("nothing can be mounted here")
        reasons = {row["path"]: row["reason"] for row in bed.prune(keep=0)["kept"]}
        assert "has it mounted" in reasons[str(bed.home / OLDEST)]
        assert bed.there == {OLDEST, NEW}
    finally:
        held.kill()
        held.communicate()
    assert paths(bed.prune(keep=0)["removed"]) == [OLDEST]


def test_in_use_by_option(bed):
    assert paths(bed.prune(keep=0, in_use=[str(bed.home / OLDEST[:6]) + "*"])["removed"]) == [OLD]


def test_locked_model_is_left_alone(bed):
    with open(bed.home / ".lock", "w", encoding="utf-8") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = bed.prune(keep=0)
        assert not result["changed"]
        assert result["kept"][0]["reason"] == "process 4711 works on the model"
    assert bed.prune(keep=0)["changed"]


def test_by_request(bed):
    file = bed.etc / "x.service"
    file.write_text("ExecStart=vllm serve %s" % (bed.home / "main"), encoding="utf-8")  # by its link
    with pytest.raises(GpufleetError, match="In use, and so nothing was removed: %s" % (bed.home / NEW)):
        bed.prune(models=("org/one",))
    assert bed.there == {OLDEST, OLD, NEW}
    file.unlink()
    would = bed.prune(check_mode=True, models=("org/one",))
    done = bed.prune(models=("org/one",))
    assert would["diff"] == done["diff"] and "link %s" % (bed.home / "main") in done["diff"]["before"]
    assert os.listdir(bed.home) == [".lock"]
    assert not bed.prune(models=("org/one",))["changed"]


def test_by_request_keeps_the_others(bed):
    done = bed.prune(models=("org/one@%s" % OLDEST,))
    assert paths(done["removed"]) == [OLDEST] and bed.there == {OLD, NEW} and (bed.home / "main").is_symlink()


def test_quota(bed):
    whole = bed.prune(check_mode=True, keep=9)["store_bytes"]
    done = bed.prune(keep=9, quota=whole - 1)
    assert paths(done["removed"]) == [OLDEST] and done["store_bytes"] == whole - done["freed_bytes"]
    with pytest.raises(GpufleetError, match=r"quota=1 \(1 bytes\).*Nothing was removed.*%s.*linked as main" % (bed.home / NEW)):
        bed.prune(quota=1)
    assert bed.there == {OLD, NEW}


def test_hard_links_free_nothing_and_foreign_things_stay(bed):
    os.link(bed.home / NEW / "model.safetensors", bed.home / OLD / "same.safetensors")
    blobs = bed.store / "ollama" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / ("sha256-" + "a" * 64)).write_bytes(bytes([1]) * SIZE)
    (bed.home / commit("foreign")).mkdir()
    (bed.store / "notes.txt").write_text("mine", encoding="utf-8")
    done = bed.prune(keep=0)
    assert sorted(paths(done["removed"])) == sorted([OLD, OLDEST])
    assert done["freed_bytes"] < 2 * SIZE + 3 * 4096
    assert (bed.home / NEW / "model.safetensors").exists() and bed.there == {NEW, commit("foreign")}
    assert (bed.store / "notes.txt").exists() and list(blobs.iterdir())


def test_unfinished(bed):
    part = bed.home / (".%s.part" % commit("next"))
    (part / "incoming").mkdir(parents=True)
    (part / "incoming" / "a").write_bytes(b"x" * SIZE)
    assert paths(bed.prune()["removed"]) == [OLDEST]
    long_ago = time.time() - 8 * 86400
    for path in (part / "incoming" / "a", part / "incoming", part):
        os.utime(path, (long_ago, long_ago))
    assert paths(bed.prune()["removed"]) == [part.name] and not part.exists()


def test_killed_between_moving_and_removing(bed):
    os.rename(bed.home / OLDEST, bed.home / (".removed-" + OLDEST))
    done = bed.prune()
    assert done["changed"] and done["removed"][0]["reason"] == "a removal that was interrupted"
    assert sorted(os.listdir(bed.home)) == sorted([".lock", OLD, NEW, "main"])


def test_killed_and_needed_after_all(bed):
    os.rename(bed.home / OLDEST, bed.home / (".removed-" + OLDEST))
    (bed.etc / "x.service").write_text(str(bed.home / OLDEST), encoding="utf-8")
    assert bed.prune()["changed"]
    assert bed.there == {OLDEST, OLD, NEW}


def test_killed_while_removing_and_needed_after_all(bed):
    """What is not whole any more gets no name again."""
    left = bed.home / (".removed-" + OLDEST)
    os.rename(bed.home / OLDEST, left)
    (left / "gpufleet.json").unlink()
    (bed.etc / "x.service").write_text(str(bed.home / OLDEST), encoding="utf-8")
    assert paths(bed.prune()["removed"]) == [left.name]
    assert bed.there == {OLD, NEW} and not left.exists()


def test_asked_for_and_taken_up_meanwhile(bed, monkeypatch):
    move = prune._move_away

    def late(path):
        (bed.etc / "x.service").write_text(str(bed.home / NEW), encoding="utf-8")
        return move(path)

    monkeypatch.setattr(prune, "_move_away", late)
    done = bed.prune(models=("org/one",))
    assert bed.there == {NEW} and os.readlink(bed.home / "main") == NEW
    assert "link" not in done["diff"]["before"]


def test_taken_up_while_it_is_moved_away(bed, monkeypatch):
    """Whoever comes upon it between the look and the rename has it back."""
    move = prune._move_away

    def late(path):
        (bed.etc / "x.service").write_text(str(bed.home / OLDEST), encoding="utf-8")
        return move(path)

    monkeypatch.setattr(prune, "_move_away", late)
    result = bed.prune(keep=0)
    assert paths(result["removed"]) == [OLD]
    assert {"path": str(bed.home / OLDEST), "reason": "in use meanwhile: %s" % (bed.etc / "x.service")} in result["kept"]
    assert (bed.home / OLDEST / "model.safetensors").exists()


def test_link_that_moves_back_meanwhile(bed, monkeypatch):
    decide = prune.decide

    def late(look, wish):
        plan = decide(look, wish)
        (bed.home / "v1").symlink_to(OLDEST)
        return plan

    monkeypatch.setattr(prune, "decide", late)
    assert not bed.prune()["changed"]
    assert bed.there == {OLDEST, OLD, NEW}


@pytest.mark.parametrize(
    "kind, refused", [("nfs4", True), ("fuse.glusterfs", True), ("ext4", False), ("fuse.fuse-overlayfs", False)]
)
def test_network_file_system(bed, tmp_path, kind, refused):
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    lines = ["1 0 8:1 / / rw - ext4 /dev/sda rw", "2 1 0:9 / %s rw shared:1 - %s server:/x rw" % (tmp_path, kind)]
    (proc / "mountinfo").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if refused:
        with pytest.raises(GpufleetError, match="is on .* \\(%s\\).*in_use.*shared=true" % kind):
            prune._refuse_shared(str(bed.store), str(proc.parent))
    else:
        prune._refuse_shared(str(bed.store), str(proc.parent))


def test_process_that_cannot_be_looked_at(bed, monkeypatch):
    read = traces._read

    def hardened(path):
        if path.endswith("/maps"):
            raise PermissionError(13, "Permission denied", path)
        return read(path)

    monkeypatch.setattr(traces, "_read", hardened)
    with pytest.raises(GpufleetError, match="cannot be looked at. Run with become=true"):
        bed.prune()
    assert bed.there == {OLDEST, OLD, NEW}
    assert not bed.prune(keep=2)["changed"]  # nothing to do: nothing to know


def test_alone_with_json_on_standard_input(bed):
    def run(**arguments):
        said = subprocess.run(
            [sys.executable, os.path.abspath(model_store_prune.__file__)],
            input=json.dumps({"store": str(bed.store), **arguments}),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return json.loads(said.stdout)

    assert len(run(keep=2, used_by=[str(bed.etc)], quota="1T")["kept"]) == 3
    assert run(quota="many")["msg"].startswith("quota=many: give bytes")
