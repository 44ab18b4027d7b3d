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
from ansible_collections.gpufleet.llm.plugins.module_utils.services.declared import declared
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
        self.named_by = ()
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
        places = prune.Places(self.named_by or [str(self.etc)], in_use, self.look_at_processes(), [str(self.etc / "exports")])
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


# Each names a revision of its own. {place} is its directory, {commit} its name, {root} the host's root.
DECLARED = {
    "etc/default/vllm": "MODEL={place}",
    "etc/sysconfig/vllm": "MODEL={place}",
    "etc/cron.d/nightly": "0 3 * * * root {root}/opt/nightly.sh",
    "etc/supervisor/conf.d/x.conf": "[program:x]\ncommand = {root}/opt/supervised.sh --port 1",
    "etc/kubernetes/manifests/x.yaml": "hostPath: {{path: {place}}}",
    "etc/systemd/system/script.service": "[Service]\nExecStart=/bin/sh -c '\\\n  exec {root}/opt/started.sh'",
    "etc/systemd/system/env@.service": "[Service]\nEnvironmentFile=-{root}/opt/env.%i",
    "var/spool/cron/crontabs/eve": "@reboot vllm serve {place}",
    "var/lib/gpufleet/vllm/chat/proven.json": '{{"revision": "{commit}"}}',
    "srv/home/eve/.config/containers/systemd/x.container": "Volume={place}:/model",
    "srv/home/eve/.config/systemd/user/x.service": "ExecStart=vllm serve {place}",
    "srv/home/eve/.local/share/containers/storage/vfs-containers/1/userdata/config.json": '{{"source": "{place}"}}',
    "srv/home/eve/.local/share/docker/containers/1/config.v2.json": '{{"Source":"{place}"}}',
    "data/docker/containers/1/config.v2.json": '{{"Source":"{place}"}}',
    "data/podman/overlay-containers/1/userdata/config.json": '{{"source": "{place}"}}',
    "data/eve/overlay-containers/1/userdata/config.json": '{{"source": "{place}"}}',
}
STARTED = {  # by the file that leads there
    "opt/nightly.sh": "etc/cron.d/nightly",
    "opt/supervised.sh": "etc/supervisor/conf.d/x.conf",
    "opt/started.sh": "etc/systemd/system/script.service",
    "opt/env.chat": "etc/systemd/system/env@.service",
}


def test_where_hosts_name_what_their_services_start_with(bed, tmp_path):
    root = tmp_path / "host"

    def write(path, content):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    write("etc/passwd", b"root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/srv/home/eve:/bin/sh\nnobody:x:9:9:::\n")
    write("etc/docker/daemon.json", b'{"data-root": "/data/docker"}')
    write("etc/containers/storage.conf", b'[storage]\ngraphroot = "/data/podman"\nrootless_storage_path = "/data/$USER"\n')
    for path, content in DECLARED.items():
        place = bed.add(commit(path))
        write(path, content.format(place=place, commit=place.name, root=root).encode())
    for path, starter in STARTED.items():
        write(path, ("exec vllm serve %s\n" % (bed.home / commit(starter))).encode())
    gone = {OLDEST, OLD, *(commit(path) for path in ("binary", "long"))}
    for path in ("binary", "long"):
        bed.add(commit(path))
    write("etc/binary", b"\x7fELF\0" + commit("binary").encode())
    write("etc/long", b"\n" * (1 << 20) + commit("long").encode())

    # The names of units and where links lead.
    links = {
        "etc/systemd/system/multi-user.target.wants/vllm@{commit}.service": "/usr/lib/systemd/system/vllm@.service",
        "etc/systemd/system/multi-user.target.wants/chat.service": "/usr/lib/systemd/system/vllm@{commit}.service",
        "etc/gpufleet/current": "{place}",
        "etc/gpufleet/config": "{place}/config.json",
    }
    for path, target in links.items():
        names = {"place": bed.add(commit(path)), "commit": commit(path)}
        link = root / path.format(**names)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.format(**names))
    # What the mirror publishes, wherever that is; and a link of the administrator in the store.
    mirrored = bed.add(commit("mirrored"))
    write("etc/gpufleet/model_mirror/nginx.conf", b"  include %s/site.conf;\n" % os.fsencode(root / "data/mirror"))
    published = root / "data/mirror/versions/0123456789abcdef/files/org/one"
    published.mkdir(parents=True)
    (published / mirrored.name[:40]).symlink_to(mirrored)
    (bed.store / "current").symlink_to(bed.add(commit("current")))

    bed.named_by = declared(str(root))
    begun = time.monotonic()
    result = bed.prune(keep=0)
    assert time.monotonic() - begun < 10
    named = {commit(one) for one in (*DECLARED, *links, "mirrored", "current")}
    assert bed.there == named | {NEW}
    assert {os.path.basename(one["path"]) for one in result["removed"]} == gone


@pytest.mark.parametrize(
    "given, words",
    [
        ("huggingface/org/one/*", r"in_use=huggingface/org/one/\*: give an absolute path or pattern, below store="),
        ("{home}/nosuch*", r"in_use=.*nosuch\*: nothing in store=.* is called so"),
        ("/etc", "in_use=/etc: nothing in store="),
    ],
)
def test_in_use_that_says_nothing(bed, given, words):
    with pytest.raises(GpufleetError, match=words):
        bed.prune(in_use=[str(bed.home / NEW), given.format(home=bed.home)])
    assert bed.there == {OLDEST, OLD, NEW}


def test_in_use_of_what_is_still_to_come(bed):
    """An earlier task of the same run would have brought it."""
    result = bed.prune(check_mode=True, in_use=[str(bed.home / commit("next"))])
    assert "in_use=%s: nothing in" % (bed.home / commit("next")) in result["warnings"][0]


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


@pytest.mark.parametrize(
    "naming",
    ["{home}", "{home}/main/config.json", "/models/huggingface/org/one/main", "{store}/huggingface/org:/models", "{other}"],
)
def test_by_request_although_named(bed, naming, tmp_path):
    (tmp_path / "mine").symlink_to(bed.home)
    file = bed.etc / "x.container"
    file.write_text(naming.format(home=bed.home, store=bed.store, other=tmp_path / "mine" / "main"), encoding="utf-8")
    with pytest.raises(GpufleetError, match=r"In use, and so nothing was removed: .*%s" % file):
        bed.prune(models=("org/one",))
    assert (bed.home / "main").is_symlink() and bed.there == {OLDEST, OLD, NEW}


def test_by_request_a_branch_that_is_named(bed):
    """Its revision stays for another branch, but who starts with the name would find nothing."""
    (bed.home / "v1").symlink_to(NEW)
    file = bed.etc / "x.service"
    file.write_text("ExecStart=vllm serve %s" % (bed.home / "main"), encoding="utf-8")
    with pytest.raises(GpufleetError, match=r"In use, and so nothing was removed: %s \(%s\)" % (bed.home / "main", file)):
        bed.prune(models=("org/one@main",))
    assert bed.prune(models=("org/one@v1",))["changed"]
    assert sorted(os.listdir(bed.home)) == sorted([".lock", OLDEST, OLD, NEW, "main"])


@pytest.mark.parametrize("word", ["main", "../one/main", "--model=./main/config.json"])
def test_by_request_although_a_process_was_started_with_it(bed, process, word):
    one = process("", word, cwd=bed.home)
    with pytest.raises(GpufleetError, match="process %d " % one.pid):
        bed.prune(models=("org/one",))
    one.kill()
    one.wait()
    assert bed.prune(models=("org/one",))["changed"]


# Where the store, or a directory of it, is in a container, and what the engine there was started with.
INSIDE = [
    ("", "{inside}/huggingface/org/one/main"),
    ("", "--model={inside}/huggingface/org/one/main/config.json"),
    ("", "{link}"),  # a link that leads somewhere in the container alone
    ("huggingface", "{inside}/org/one/main"),
    ("huggingface/org", "whatever"),
]


@pytest.mark.parametrize("mounted, word", INSIDE)
def test_by_request_although_a_container_runs_with_it(bed, tmp_path, mounted, word):
    inside, link = tmp_path / "inside", tmp_path / "link"
    inside.mkdir()
    link.symlink_to(inside / "huggingface/org/one/main")
    code = "mount --bind '%s' '%s' && echo ready; exec sh -c 'read line' engine %s" % (
        bed.store / mounted, inside, word.format(inside=inside, link=link)
    )  # fmt: skip
    with subprocess.Popen(
        ["unshare", "--mount", "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    ) as held:
        held.stdin.write(code + "\n")
        held.stdin.flush()
        if held.stdout.readline() != "ready\n":
            pytest.skip("nothing can be mounted here")
        time.sleep(0.05)
        with pytest.raises(GpufleetError, match="In use, and so nothing was removed: %s.*process %d " % (bed.home, held.pid)):
            bed.prune(models=("org/one",))
        held.kill()
    assert bed.prune(models=("org/one",))["changed"]


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
    "kind, refused",
    [("nfs4", True), ("fuse.glusterfs", True), ("wekafs", True), ("virtiofs", True), ("panfs", True), ("ext4", False),
     ("zfs", False), ("fuse.fuse-overlayfs", False)],
)  # fmt: skip
@pytest.mark.parametrize("below", ["", "store/huggingface", "store/huggingface/org/one"])
def test_network_file_system(bed, tmp_path, kind, refused, below):
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    lines = ["1 0 8:1 / / rw - ext4 /dev/sda rw", "2 1 0:9 / %s rw shared:1 - %s server:/x rw" % (tmp_path / below, kind)]
    (proc / "mountinfo").write_text("\n".join(lines) + "\n", encoding="utf-8")
    places = prune.Places([], proc=str(proc.parent), exports=[])
    if refused:
        with pytest.raises(GpufleetError, match="is on .* \\(%s\\).*in_use.*shared=true" % kind):
            prune._refuse_shared(str(bed.store), places)
    else:
        prune._refuse_shared(str(bed.store), places)


@pytest.mark.parametrize(
    "line, refused",
    [
        ("{store} 10.0.0.0/8(ro)", True),
        ('"{store}" *(ro)', True),
        ("{store}/huggingface *(ro)", True),
        ("{store}/.. \\\n  *(ro)", True),
        ("/ *(ro,fsid=0)", True),
        ("{store}-of-others *(ro)", False),
        ("# {store} *(ro)", False),
    ],
)
def test_what_this_host_gives_to_others(bed, line, refused):
    (bed.etc / "exports").write_text(line.format(store=bed.store) + "\n", encoding="utf-8")
    places = prune.Places([], exports=[str(bed.etc / "exports")])
    if refused:
        with pytest.raises(GpufleetError, match="exports gives .* to other hosts.*in_use.*shared=true"):
            prune._refuse_shared(str(bed.store), places)
    else:
        prune._refuse_shared(str(bed.store), places)


def test_process_that_cannot_be_looked_at(bed, monkeypatch):
    read = traces._content

    def hardened(path):
        if path.endswith("/maps"):
            raise PermissionError(13, "Permission denied", path)
        return read(path)

    monkeypatch.setattr(traces, "_content", hardened)
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
