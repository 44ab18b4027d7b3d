# SPDX-License-Identifier: GPL-3.0-or-later
"""Two Ollama servers on each host, and their models, as a client and as systemd see them."""

from __future__ import annotations

import json
import re

import pytest
import testinfra

HOSTS = ["llm-debian12", "llm-debian13"]
PULLED = "127.0.0.1:5001/library/tiny:latest"
MADE = ["support:latest", "mine:latest", "split:small", "quantized:latest", "converted:latest", "described:latest"]
PORTS = {"ollama": 11434, "ollama-embed": 11500}
STORES = {"ollama": "/srv/models/ollama", "ollama-embed": "/srv/embed models"}
INSTANCES = {"ollama": "ollama", "ollama-embed": "embed"}


@pytest.fixture(scope="module", params=HOSTS)
def host(request):
    return testinfra.get_host("podman://" + request.param)


def ask(host, unit, path, body=None):
    data = ["--data", json.dumps(body)] if body is not None else []
    words = ["curl", "--silent", "--max-time", "30"] + data + ["http://127.0.0.1:%d%s" % (PORTS[unit], path)]
    return json.loads(host.check_output(" ".join(["%s"] * len(words)), *words))


def tags(host, unit):
    return {model["name"]: model for model in ask(host, unit, "/api/tags")["models"]}


def environment(host, unit):
    pid = host.check_output("systemctl show --value --property MainPID %s.service", unit)
    lines = host.check_output("tr '\\0' '\\n' < /proc/%s/environ", pid).splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", PORTS)
def test_service(host, unit):
    service = host.service(unit)
    assert service.is_running and service.is_enabled
    assert host.check_output("systemctl show --value --property User %s.service", unit) == "ollama"
    assert host.check_output("systemctl show --value --property NRestarts %s.service", unit) == "0"
    assert host.socket("tcp://127.0.0.1:%d" % PORTS[unit]).is_listening
    assert not host.socket("tcp://0.0.0.0:%d" % PORTS[unit]).is_listening


@pytest.mark.parametrize("unit", PORTS)
def test_environment_is_the_plans(host, unit):
    plan = json.loads(host.file("/var/lib/gpufleet/ollama/%s/plan.json" % INSTANCES[unit]).content_string)
    found = environment(host, unit)
    assert {name: found[name] for name in plan["environment"]} == plan["environment"]
    assert found["OLLAMA_MODELS"] == STORES[unit]
    assert found["OLLAMA_NO_CLOUD"] == "1"
    if unit == "ollama-embed":
        assert (found["OLLAMA_KEEP_ALIVE"], found["OLLAMA_NUM_PARALLEL"]) == ("1h", "2")


def test_the_server_reads_what_was_meant(host):
    """The one place where Ollama says what it took: a value it cannot read becomes a default there."""
    log = host.check_output("journalctl --no-pager --unit ollama-embed.service")
    config = [line for line in log.splitlines() if "server config" in line][-1]
    for word in ("OLLAMA_KEEP_ALIVE:1h0m0s", "OLLAMA_NUM_PARALLEL:2", "OLLAMA_NO_CLOUD:true"):
        assert word in config


@pytest.mark.parametrize("name", [PULLED] + MADE)
def test_model_answers(host, name):
    assert name in tags(host, "ollama")
    answer = ask(host, "ollama", "/api/generate", {"model": name, "prompt": "Hello", "stream": False})
    assert answer["done"] and answer["response"]


def test_what_is_not_wanted_is_not_there(host):
    assert set(tags(host, "ollama")) == {PULLED, *MADE}


def test_parameters_and_system(host):
    shown = ask(host, "ollama", "/api/show", {"model": "support"})
    assert shown["system"] == "You help."
    parameters = dict(re.findall(r"^(\w+)\s+(.+)$", shown["parameters"], re.MULTILINE))
    assert parameters["num_ctx"] == "1024" and parameters["temperature"] == "0.2"
    assert "You are described" in ask(host, "ollama", "/api/show", {"model": "described"})["system"]


def test_quantized(host):
    assert tags(host, "ollama")["quantized:latest"]["details"]["quantization_level"] == "Q8_0"


def test_loaded(host):
    loaded = [model["name"] for model in ask(host, "ollama-embed", "/api/ps")["models"]]
    assert PULLED in loaded


@pytest.mark.parametrize("unit", PORTS)
def test_every_blob_is_what_it_is_called(host, unit):
    lines = host.check_output("cd %s/blobs && sha256sum sha256-*", STORES[unit]).splitlines()
    assert lines
    for line in lines:
        digest, name = line.split(None, 1)
        assert name == "sha256-" + digest


@pytest.mark.parametrize("unit", PORTS)
def test_the_store_is_the_services_alone_to_write(host, unit):
    store = host.file(STORES[unit])
    assert (store.user, store.group, store.mode) == ("ollama", "ollama", 0o755)
    assert host.file("/opt/gpufleet/ollama/0.33.2/bin/ollama").user == "root"
    assert host.check_output("find -L /opt/gpufleet/ollama -not -user root -o -perm /022 -not -type l") == ""


def test_the_sandbox_holds(host):
    """Seen from within the service's namespaces."""
    pid = host.check_output("systemctl show --value --property MainPID ollama.service")
    tried = host.run("nsenter --target %s --mount touch /etc/from-ollama", pid)
    assert tried.rc != 0 and "Read-only file system" in tried.stderr


def test_command_line(host):
    assert host.file("/usr/local/bin/ollama").linked_to == "/opt/gpufleet/ollama/0.33.2/bin/ollama"
    assert "0.33.2" in host.check_output("HOME=/root ollama --version")


def test_an_imported_model_is_the_exported_one(host):
    """It came in a file, is there without a restart, answers, and survives one, when Ollama prunes its store."""
    if host.backend.hostname != "llm-debian13":
        assert "support:latest" not in tags(host, "ollama-embed")
        return
    index = json.loads(host.check_output("tar --zstd -xOf /var/tmp/models.tar.zst gpufleet-bundle.json"))
    wanted = {model["name"].rpartition("/")[2]: model["digest"] for model in index["models"]}
    assert sorted(wanted) == sorted(MADE[:2])
    for moment in ("imported", "restarted"):
        found = tags(host, "ollama-embed")
        assert {name: found[name]["digest"] for name in wanted} == wanted, moment
        question = {"model": "support", "prompt": "What is the capital of France?", "stream": False}
        assert "Paris" in ask(host, "ollama-embed", "/api/generate", question)["response"]
        if moment == "imported":
            host.check_output("systemctl restart ollama-embed.service")
            host.check_output("curl --silent --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:11500/")
