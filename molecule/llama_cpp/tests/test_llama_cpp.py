# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role and gguf_file left on the hosts."""

from __future__ import annotations

import json

import pytest
import testinfra

HOSTS = ["llm-debian12", "llm-debian13"]


@pytest.fixture(scope="module", params=HOSTS)
def host(request):
    return testinfra.get_host("podman://" + request.param)


def test_pieces_are_the_file(host):
    sums = host.check_output("sha256sum /opt/lab/tiny-F16.gguf /srv/models/gguf/joined.gguf").split()
    assert sums[0] == sums[2]
    found = host.file("/srv/models/gguf/joined.gguf")
    assert (found.mode, found.user, found.group) == (0o640, "root", "daemon")


def test_records_say_what_was_made(host):
    for name, kind in (("merged", "set"), ("joined", "pieces"), ("small", "quantized")):
        record = json.loads(host.file("/srv/models/gguf/%s.gguf.gpufleet.json" % name).content_string)
        assert record["result"]["kind"] == kind
        assert record["result"]["size"] == host.file("/srv/models/gguf/%s.gguf" % name).size
        assert record["result"]["sha256"] == host.check_output("sha256sum /srv/models/gguf/%s.gguf" % name).split()[0]


def test_llama_cpp_reads_all_of_them(host):
    """llama-quantize as the second reader: it reads every tensor of a model that it copies."""
    sizes = set()
    for name in ("merged", "joined"):
        host.check_output("/opt/lab/bin/llama-quantize /srv/models/gguf/%s.gguf /tmp/%s.gguf Q8_0", name, name)
        sizes.add(host.file("/tmp/%s.gguf" % name).size)
    assert len(sizes) == 1


def test_where_the_program_comes_from(host):
    if host.system_info.codename == "bookworm":
        assert host.file("/opt/gpufleet/llama.cpp/current").linked_to == "/opt/gpufleet/llama.cpp/7.0.0"
        assert host.file("/opt/gpufleet/llama.cpp/7.0.0/bin/llama-quantize").mode == 0o755
        assert host.check_output("ls -A /opt/gpufleet/llama.cpp").split() == ["7.0.0", "current"]
    else:
        assert not host.file("/opt/gpufleet/llama.cpp").exists
        assert host.run("command -v cmake").rc != 0
