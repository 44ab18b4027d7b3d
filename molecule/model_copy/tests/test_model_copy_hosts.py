# SPDX-License-Identifier: GPL-3.0-or-later
"""A model that was copied from one host to the other, as the hosts' own tools see it, and what goes from a store."""

from __future__ import annotations

import json
import os
import pathlib
import time

import pytest
from lab_host import Host, Playbooks, kill

HERE = pathlib.Path(__file__).parents[1]
FROM, TO = "llm-debian12", "llm-debian13"
HOME = "/srv/models/local/team/small"
SHARD = "model-00002-of-00002.safetensors"
FILES = ["config.json", "deep/tokenizer.json", "model-00001-of-00002.safetensors", SHARD]
SPOOL = pathlib.Path("~/.cache/gpufleet/copy_model").expanduser()
DIRECT = {
    "copy_model_via": "direct",
    "copy_model_address": "models@" + FROM,
    "copy_model_ssh": "ssh -o BatchMode=yes -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
}


@pytest.fixture(scope="module")
def there():
    return Host(FROM)


@pytest.fixture(scope="module")
def here():
    return Host(TO)


@pytest.fixture(scope="module")
def copy():
    def run(**extra):
        return Playbooks(HERE, TO).run("--limit", "%s,%s" % (FROM, TO), **extra)

    return run


def sums(host):
    lines = host.output("cd %s/main/ && find . -type f ! -name gpufleet.json -exec sha256sum {} +" % HOME).splitlines()
    return {line[66:].replace("./", "", 1): line[:64] for line in lines}


def flip(host):
    """One bit of a file: its size and date stay."""
    code = (
        "import os, sys; p = sys.argv[1]; s = os.stat(p); f = open(p, 'r+b'); f.seek(1000); b = f.read(1)[0]; f.seek(1000); "
        "f.write(bytes([b ^ 1])); f.close(); os.utime(p, ns=(s.st_atime_ns, s.st_mtime_ns))"
    )
    host.output('python3 -c "%s" %s/main/%s' % (code, HOME, SHARD))


def test_it_came_whole(there, here):
    assert sorted(sums(here)) == FILES and sums(here) == sums(there)
    revision = here.output("readlink %s/main" % HOME)
    record = json.loads(here.file("%s/%s/gpufleet.json" % (HOME, revision)).content_string)
    assert record["revision"] == revision and record["source"] == "/srv/disk/team/small"
    for row in record["files"]:
        assert row["inode"] == int(here.output("stat -c %%i %s/main/%s" % (HOME, row["path"])))


def test_owner_modes_and_nothing_left(here):
    assert here.output("find /srv/models ! -user root -o ! -group root") == ""
    assert here.output("find %s -type f ! -perm 0644 ! -name .lock" % HOME) == ""
    assert here.output("find %s -type d ! -perm 0755" % HOME) == ""
    assert here.output("find /srv/models -name '.*' ! -name .lock") == ""
    assert not SPOOL.exists() or not os.listdir(SPOOL)


def test_one_flipped_byte_is_refused_by_name(there, here, copy):
    here.output("rm -r %s" % HOME)
    flip(there)
    run = copy()
    flip(there)
    assert run.rc != 0
    assert "1 files are not what the record on that host states, so nothing was put in place: %s (sha256 " % SHARD in run.words
    assert here.output("find %s -mindepth 1 -maxdepth 1 ! -name '.*'" % HOME) == ""
    assert not SPOOL.exists() or not os.listdir(SPOOL)  # what may be wrong is not sent again from there
    # The wrong one is gone, and the others need not come again.
    assert came(here) == ["config.json", "deep/tokenizer.json", "model-00001-of-00002.safetensors"]


def came(host):
    """Files that wait in the directory of what is not finished."""
    lines = host.output("cd %s/.*.part && find copied files -type f ! -name gpufleet.json -printf '%%P\\n'" % HOME)
    return sorted(lines.split())


def test_killed_on_its_way(there, here):
    here.output("rm -r %s" % HOME)
    process = Playbooks(HERE, "%s,%s" % (FROM, TO)).begin(copy_model_rate="2m", **DIRECT)
    end = time.monotonic() + 60
    while here.run("find %s/.*.part/copied -size +2000k | grep ." % HOME).rc != 0:
        assert process.poll() is None and time.monotonic() < end, "it never came to that"
        time.sleep(0.2)
    kill(process, here)
    assert here.output("find %s -mindepth 1 -maxdepth 1 ! -name '.*'" % HOME) == ""
    assert 2000000 < int(here.output("du -sb %s/.*.part/copied | cut -f1" % HOME)) < 12000000


def test_directly_from_host_to_host(there, here, copy):
    """And it goes on where the killed run was."""
    run = copy(**DIRECT)
    assert run.rc == 0 and run.changed > 0, run.text
    assert sums(here) == sums(there)
    assert here.output("find %s -name '.*' ! -name .lock" % HOME) == ""


REVISIONS = {"named": "a" * 40, "held": "b" * 40, "unused": "c" * 40}


@pytest.fixture(scope="module")
def holder(here):
    """Older revisions: one is named by a unit that is stopped, one is open in a process that says nothing of it."""
    for name in REVISIONS.values():
        here.output("cp -a %s/main/. %s/%s" % (HOME, HOME, name))
    unit = "[Service]\\nExecStart=/opt/engine serve %s/%s\\n" % (HOME, REVISIONS["named"])
    here.output("printf '%s' > /etc/systemd/system/engine-old.service" % unit)
    script = "read path; exec 3< $path/config.json; exec sleep 1000"
    here.output(
        "echo %s/%s > /run/told && systemd-run --unit=holder --property=StandardInput=file:/run/told sh -c '%s' && sleep 0.5"
        % (HOME, REVISIONS["held"], script)
    )
    yield
    here.run("systemctl stop holder.service; rm -f /etc/systemd/system/engine-old.service")


def left(host):
    found = host.output("ls %s" % HOME).split()
    return {what for what, name in REVISIONS.items() if name in found}


def test_prune_leaves_what_is_used(here, holder):
    prune = Playbooks(HERE, TO)
    run = prune.run("--check", "--diff", playbook="prune.yml")
    assert (run.rc, run.changed) == (0, 1), run.text
    assert "/%s" % REVISIONS["unused"] in run.text and left(here) == set(REVISIONS)
    run = prune.run(playbook="prune.yml")
    assert run.changes == ["Remove models that nothing uses"], run.text
    assert left(here) == {"named", "held"}
    here.output("systemctl stop holder.service")
    assert prune.run(playbook="prune.yml").changed == 1
    assert left(here) == {"named"}
    assert prune.run(playbook="prune.yml").changed == 0
    assert sorted(sums(here)) == FILES
