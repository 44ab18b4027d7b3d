# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a directory of tests names.

With OLLAMA_TEST_ARCHIVE (and OLLAMA_TEST_VERSION, OLLAMA_TEST_GGUF: see tests/stand_ins/ollama/bed.py) the new version
is a real release; what only the stand-in can do is marked ``stand_in`` and left out.
"""

from __future__ import annotations

import json
import os

import lab_host
import pytest

REAL = os.environ.get("OLLAMA_TEST_ARCHIVE", "")
OLD = "0.33.1"
NEW = os.environ["OLLAMA_TEST_VERSION"] if REAL else "0.33.2"
TINY = "127.0.0.1:5001/library/tiny"

# Every file of a store, each against its name: what Ollama itself never does.
STORE = r"""
import glob, hashlib, json, os, sys
problems, models = [], {}
for path in glob.glob(sys.argv[1] + "/blobs/*"):
    name = os.path.basename(path)
    if name != "sha256-" + hashlib.sha256(open(path, "rb").read()).hexdigest():
        problems.append("blobs/" + name)
for path in glob.glob(sys.argv[1] + "/manifests/**", recursive=True):
    if os.path.isfile(path):
        content = open(path, "rb").read()
        manifest = json.loads(content)
        for layer in [manifest["config"]] + manifest["layers"]:
            blob = sys.argv[1] + "/blobs/" + layer["digest"].replace(":", "-")
            if not os.path.isfile(blob) or os.path.getsize(blob) != layer["size"]:
                problems.append("%s: %s" % (path, layer["digest"]))
        models[os.path.relpath(path, sys.argv[1] + "/manifests")] = hashlib.sha256(content).hexdigest()
print(json.dumps({"problems": problems, "models": models}))
"""


class Host(lab_host.Host):
    journal = ("ollama.service",)
    def api(self, path, **body):
        words = ["--json", json.dumps(body)] if body else []
        words = ["curl", "--silent", "--fail-with-body", "--max-time", "20", *words, "http://127.0.0.1:11434/api/" + path]
        return json.loads(self.run(" ".join(["%s"] * len(words)), *words).stdout)

    def models(self):
        """Name -> digest, as the server says."""
        return {model["name"]: model["digest"] for model in self.api("tags")["models"]}

    def answer(self):
        return self.api("generate", model=TINY, prompt="Say something.", stream=False)["response"]

    def runs(self):
        """The version that answers, the one that is current, and the program of the process, whatever its unit says."""
        pid = "$(systemctl show --value --property MainPID ollama)"
        text = self.output(
            "curl --silent http://127.0.0.1:11434/api/version; echo; readlink /opt/gpufleet/ollama/current || echo none; "
            "tr '\\0' '\\n' < /proc/%s/cmdline | grep '/bin/ollama$'" % pid
        )
        version, current, program = text.splitlines()
        return json.loads(version)["version"], current, program

    def config(self):
        """The settings that the running server said it has."""
        pid = "$(systemctl show --value --property MainPID ollama)"
        return self.output("journalctl --no-pager _PID=%s | grep 'msg=\"server config\"'" % pid)

    def store(self, path):
        """What is wrong in a store, and its models with their digests."""
        return json.loads(self.output("python3 -c %s %s", STORE, path))

    def quiet(self):
        """What a run that changes nothing leaves as it is.

        The server's process, how often systemd read its units, as it wrote into the journal, and how often the mirror
        and the registries were asked for anything.
        """
        text = self.output(
            "systemctl show --value --property MainPID ollama; journalctl --no-pager _PID=1 | grep -c ': Reloading\\.*$'; "
            "(journalctl --no-pager --unit lab-mirror | grep '\"GET\\|\"HEAD'; cat /run/lab-*.jsonl) | wc -l"
        )
        return dict(zip(("pid", "reloads", "asked"), map(int, text.split())))


@pytest.fixture(scope="module")
def host(request):
    return Host("llm-" + request.path.parent.name)


def pytest_configure(config):
    config.addinivalue_line("markers", "stand_in: holds of Ollama's stand-in only; left out with OLLAMA_TEST_ARCHIVE")


def pytest_collection_modifyitems(items):
    for item in items:
        if REAL and item.get_closest_marker("stand_in"):
            item.add_marker(pytest.mark.skip(reason="holds of the stand-in only, and OLLAMA_TEST_ARCHIVE is set"))
