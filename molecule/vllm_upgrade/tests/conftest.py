# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a directory of tests names, and ansible-playbook as a person would run it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import pytest
import testinfra

ROOT = pathlib.Path(__file__).parents[3]
SCENARIO = ROOT / "molecule" / "vllm_upgrade"
ENVIRONMENT = dict(
    {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
    ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible" / "collections"),
    ANSIBLE_HOME=str(ROOT / ".ansible"),
    ANSIBLE_PIPELINING="true",
    ANSIBLE_NOCOLOR="true",
)


class Host:
    """The host, with the questions that these tests ask it."""

    def __init__(self, name):
        self.name = name
        self.testinfra = testinfra.get_host("podman://" + name)
        self.run = self.testinfra.run
        self.output = self.testinfra.check_output
        self.file = self.testinfra.file

    def show(self, name, instance):
        return self.output("systemctl show --value --property %s vllm-%s.service", name, instance)

    def main_pid(self, instance):
        return int(self.show("MainPID", instance))

    def curl(self, instance, path, *options):
        where = ["--unix-socket", "/run/vllm-two/api.sock"] if instance == "two" else []
        port = 8001 if instance == "one" else 8000
        words = ["curl", "--silent", "--max-time", "20"] + where + list(options) + ["http://127.0.0.1:%d%s" % (port, path)]
        return self.run(" ".join(["%s"] * len(words)), *words).stdout

    def version(self, instance):
        return json.loads(self.curl(instance, "/version"))["version"]

    def answer(self, instance, key_file=None):
        key = self.output("cat %s", key_file or "/etc/gpufleet/vllm/%s.key" % instance)
        question = [{"role": "user", "content": "What is the capital of France?"}]
        body = json.dumps({"model": instance, "messages": question, "max_tokens": 20})
        headers = ["--header", "Authorization: Bearer " + key, "--header", "Content-Type: application/json"]
        text = self.curl(instance, "/v1/chat/completions", "--data", body, *headers)
        return json.loads(text)["choices"][0]["message"]["content"]


class Play:
    """What one run of ansible-playbook said."""

    def __init__(self, process, host):
        self.rc = process.returncode
        self.text = process.stdout
        recap = re.search(host + r" +: ok=\d+ +changed=(\d+)", self.text)
        self.changed = int(recap.group(1)) if recap else None


def command(host, options, extra, playbook="converge.yml"):
    words = ["ansible-playbook", "--inventory", str(ROOT / "molecule" / "inventory"), str(SCENARIO / playbook)]
    return words + ["--limit", host, "--extra-vars", json.dumps(extra)] + list(options)


@pytest.fixture(scope="module")
def host(request):
    return Host("llm-" + request.path.parent.name)


@pytest.fixture(scope="module")
def play(host):
    def run(*options, playbook="converge.yml", **extra):
        words = command(host.name, options, extra, playbook)
        process = subprocess.run(
            words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return Play(process, host.name)

    return run


@pytest.fixture(scope="module")
def begin(host):
    """Starts ansible-playbook in a process group of its own, to be killed as a whole."""

    def start(**extra):
        words = command(host.name, [], extra)
        return subprocess.Popen(
            words, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    return start


@pytest.fixture(autouse=True)
def journal(request, host):
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        print(host.run("journalctl --no-pager --lines 60 --unit 'vllm-*'").stdout)
