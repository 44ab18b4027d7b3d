# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal, after everything else on the host: first with the models kept, then with nothing left."""

from __future__ import annotations

import pathlib

import pytest
from lab_host import Host, Playbooks

SCENARIO = pathlib.Path(__file__).parents[1]

OURS = ["/opt/gpufleet/ollama", "/usr/local/bin/ollama", "/var/lib/gpufleet/ollama"]
STORES = ["/srv/models/ollama", "/srv/embed models"]


@pytest.fixture(scope="module", params=["llm-debian12", "llm-debian13"])
def host(request):
    return Host(request.param)


@pytest.fixture(scope="module")
def play(host):
    return Playbooks(SCENARIO, host.name).run


def test_an_instance_that_left_the_list(host, play):
    alone = {"ollama_instances": [{"name": "ollama"}], "ollama_models": []}
    check = play("--check", **alone)
    assert check.rc == 0 and check.changed > 0, check.text
    assert host.main_pid("ollama-embed") > 0
    run = play(**alone)
    assert run.rc == 0, run.text
    assert host.run("systemctl cat ollama-embed.service").rc != 0
    assert host.file(STORES[1] + "/manifests").is_directory
    assert play(**alone).changed == 0
    assert host.main_pid("ollama") > 0


def test_in_check_mode_everything_stays(host, play):
    pid = host.main_pid("ollama")
    run = play("--check", ollama_state="absent")
    assert run.rc == 0, run.text
    assert run.changed > 0
    assert host.main_pid("ollama") == pid
    assert host.file(OURS[0]).exists


def test_the_models_are_kept(host, play):
    run = play(ollama_state="absent")
    assert run.rc == 0, run.text
    assert host.run("systemctl cat ollama.service ollama-embed.service").rc != 0
    assert host.run("pgrep --uid ollama").rc != 0
    for path in OURS + ["/etc/systemd/system/ollama.service", "/etc/systemd/system/ollama-embed.service"]:
        assert not host.file(path).exists, path
    for store in STORES:
        assert host.file(store + "/manifests").is_directory
    assert play(ollama_state="absent").changed == 0


def test_nothing_is_left(host, play):
    run = play(ollama_state="absent", ollama_remove_models=True)
    assert run.rc == 0, run.text
    for path in OURS + STORES + ["/var/lib/ollama"]:
        assert not host.file(path).exists, path
    assert not host.testinfra.user("ollama").exists
    assert play(ollama_state="absent", ollama_remove_models=True).changed == 0
