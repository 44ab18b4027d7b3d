# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a directory of tests names."""

from __future__ import annotations

import json

import lab_host
import pytest


class Host(lab_host.Host):
    journal = ("vllm-*",)
    units = "vllm-%s.service"

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


@pytest.fixture(scope="module")
def host(request):
    return Host("llm-" + request.path.parent.name)
