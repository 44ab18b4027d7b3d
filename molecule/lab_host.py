# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab host and runs of ansible-playbook against it, for scenarios whose tests run it themselves."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import testinfra

PROGRAM = shutil.which("ansible-playbook")  # whatever PATH a test gives it
ROOT = pathlib.Path(__file__).parents[1]
ENVIRONMENT = dict(
    {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
    ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible" / "collections"),
    ANSIBLE_HOME=str(ROOT / ".ansible"),
    ANSIBLE_PIPELINING="true",
    ANSIBLE_NOCOLOR="true",
)


class Host:
    """The host, with the questions that these tests ask it. ``units``: the instance's unit, with a %s for its name."""

    units = "%s.service"
    #: Units whose journal is shown when a test fails.
    journal = ()

    def __init__(self, name):
        self.name = name
        self.testinfra = testinfra.get_host("podman://" + name)
        self.run = self.testinfra.run
        self.output = self.testinfra.check_output
        self.file = self.testinfra.file

    def show(self, name, instance):
        return self.output("systemctl show --value --property %s " + self.units % instance, name)

    def main_pid(self, instance):
        return int(self.show("MainPID", instance))


class Play:
    """What one run of ansible-playbook said."""

    def __init__(self, process, host):
        self.rc = process.returncode
        self.text = process.stdout
        self.words = " ".join(self.text.split())
        recap = re.search(host + r" +: ok=\d+ +changed=(\d+)", self.text)
        self.changed = int(recap.group(1)) if recap else None
        #: Names of the tasks that changed something.
        self.changes = re.findall(r"^TASK \[(?:[\w.]+ : )?([^\n]*)\] \**\n(?:(?!TASK).*\n)*?changed: ", self.text, re.M)


class Playbooks:
    """ansible-playbook with the playbooks of a scenario, against one host."""

    def __init__(self, scenario, host):
        self.scenario, self.host = pathlib.Path(scenario), host

    def command(self, playbook, options, extra):
        words = [PROGRAM, "--inventory", str(ROOT / "molecule" / "inventory"), str(self.scenario / playbook)]
        return words + ["--limit", self.host, "--extra-vars", json.dumps(extra)] + list(options)

    def run(self, *options, playbook="converge.yml", environment=None, **extra):
        process = subprocess.run(
            self.command(playbook, options, extra), env=dict(ENVIRONMENT, **environment or {}), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        return Play(process, self.host)

    def begin(self, playbook="converge.yml", **extra):
        """Starts it in a process group of its own, to be killed as a whole."""
        return subprocess.Popen(
            self.command(playbook, [], extra), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def kill(process, host=None):
    """A controller that loses its power: all of the run at once, what it runs on ``host`` too, and nobody cleans up."""
    os.kill(process.pid, signal.SIGSTOP)
    here = _descendants(process.pid)
    for pid in here:
        os.kill(pid, signal.SIGSTOP)
    if host:
        host.run("python3 -c %s", KILL_SESSIONS)
    for pid in [process.pid, *here]:
        os.kill(pid, signal.SIGKILL)
    process.wait()


def _descendants(pid):
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


# On a host: what was started over ssh, but for the connections themselves, and what Ansible left in the background.
KILL_SESSIONS = r"""
import glob, os
names, parents, found = {}, {}, []
for path in glob.glob("/proc/[0-9]*/stat"):
    pid = int(path.split("/")[2])
    try:
        head, _, rest = open(path).read().rpartition(")")
        words = open("/proc/%d/cmdline" % pid).read()
    except OSError:
        continue
    names[pid], parents[pid] = head.partition("(")[2], int(rest.split()[1])
    if names[pid].startswith("sshd") or ("ansible" in words and "KILL_SESSIONS" not in words):
        found.append(pid)
for one in found:
    found += [pid for pid, parent in parents.items() if parent == one and pid not in found]
for pid in found:
    if not names[pid].startswith("sshd"):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
# KILL_SESSIONS
"""
