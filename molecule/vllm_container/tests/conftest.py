# SPDX-License-Identifier: GPL-3.0-or-later
"""Both hosts, one after the other, with their engines."""

from __future__ import annotations

import json
import time

import lab_host
import pytest

PORTS = {"canary": 8000, "two": 8001}


class Host(lab_host.Host):
    journal = ("vllm-*",)
    units = "vllm-%s.service"

    def __init__(self, name):
        super().__init__(name)
        self.engine = "docker" if name == "llm-debian12" else "podman"

    def inspect(self, instance):
        return json.loads(self.output(self.engine + " inspect vllm-%s", instance))[0]

    def inside(self, instance, *words):
        return self.run(" ".join([self.engine, "exec", "vllm-" + instance] + ["%s"] * len(words)), *words)

    def ask(self, instance, key=None):
        """Status and text of a question, over HTTP."""
        key = self.output("cat /etc/gpufleet/vllm/%s.key", instance) if key is None else key
        question = [{"role": "user", "content": "What is the capital of France?"}]
        body = json.dumps({"model": instance, "messages": question, "max_tokens": 20, "temperature": 0})
        said = self.run(
            "curl --silent --max-time 60 --write-out '\\n%%{http_code}' --header %s --header %s --data %s %s",
            "Content-Type: application/json", "Authorization: Bearer " + key, body,
            "http://127.0.0.1:%d/v1/chat/completions" % PORTS[instance],
        ).stdout  # fmt: skip
        text, _newline, status = said.rpartition("\n")
        return int(status), json.loads(text)["choices"][0]["message"]["content"] if status == "200" else text

    def answers_within(self, instance, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.ask(instance)[0] != 200:
            time.sleep(1)
        return self.ask(instance)

    def stand_in(self, instance):
        """Which of the packed images runs."""
        return self.inside(instance, "cat", "/etc/stand-in").stdout.strip()


@pytest.fixture(scope="module", params=["llm-debian12", "llm-debian13"])
def host(request):
    return Host(request.param)
