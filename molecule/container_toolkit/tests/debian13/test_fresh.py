# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare host: both engines, an installation that is killed, a card that comes later, and restarts that have to wait.

The tests build on one another.
"""

from __future__ import annotations

import os
import random
import time

import pytest
from conftest import CARD, DAEMON, IMAGE, NEW, OLD, PACKAGES, SPEC, UUID
from lab_host import kill

SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(1000)))
ALL = "--device nvidia.com/gpu=all"
MIRROR = "registry.example.com:5000"
ENGINE = {
    "playbook": "engine.yml",
    "container_engine": "docker",
    "container_engine_registry_mirrors": ["http://" + MIRROR],
    "container_engine_insecure_registries": [MIRROR],
    "container_engine_log_max_size": "20m",
    "container_engine_https_proxy": "http://someone:S3cretWord@proxy.example.com:3128",
}


def test_podman_is_what_this_distribution_gets(host, play):
    run = play(playbook="engine.yml", container_engine_insecure_registries=[MIRROR])
    assert run.rc == 0, run.text
    assert host.output("podman version --format '{{.Client.Version}}'").startswith("5.4")
    assert MIRROR in host.output("podman info --format json")
    host.output("podman import --quiet /opt/image.tar %s", IMAGE)


def test_docker_with_its_configuration(host, play):
    run = play("--diff", "-vvv", **ENGINE)
    assert run.rc == 0, run.text
    assert host.daemon() == {
        "registry-mirrors": ["http://" + MIRROR],
        "insecure-registries": [MIRROR],
        "log-driver": "json-file",
        "log-opts": {"max-size": "20m", "max-file": "3"},
    }
    assert MIRROR in host.docker_info("{{json .RegistryConfig}}") and "proxy.example.com" in host.docker_info("{{.HTTPSProxy}}")
    assert "S3cretWord" not in run.text + host.output("systemctl show docker; systemctl cat docker")
    assert host.file("/etc/gpufleet/container_engine/proxy.env").mode == 0o600
    assert host.output("docker import /opt/image.tar %s", IMAGE)
    found = host.quiet()
    run = play(**ENGINE)
    assert (run.rc, run.changed) == (0, 0), run.text
    assert host.quiet() == found


@pytest.fixture(scope="module")
def installed(host, play, begin):
    """Killed at a random moment between the key and the end, and run once more: without a card."""
    print("KILL_SEED=%d" % SEED)
    process = begin()
    while process.poll() is None and not host.file("/etc/apt/keyrings/nvidia-container-toolkit.asc").exists:
        time.sleep(0.1)
    moment = random.Random(SEED).uniform(0, 5.0)
    time.sleep(moment)
    assert process.poll() is None, "the run was over before %.2f s of it" % moment
    kill(process, host)
    print("killed after %.2f s; there is: %s" % (moment, host.run("dpkg -l '*nvidia*' | tail -4").stdout))
    run = play()
    assert run.rc == 0, run.text
    return run


def test_a_killed_installation_is_completed(host, play, installed):
    assert host.versions() == {name: (OLD + "-1", "hold") for name in PACKAGES}
    assert host.output("dpkg --audit") == ""
    assert host.daemon()["features"] == {"cdi": True} and host.daemon()["insecure-registries"] == [MIRROR]
    assert "/var/run/cdi" in host.docker_info("{{json .CDISpecDirs}}")
    assert host.show("UnitFileState", "nvidia-cdi-refresh") == "enabled"


def test_without_a_card_it_says_what_was_not_proven(host, installed):
    said = "Not proven, that containers see a GPU: docker: there is no NVIDIA card; podman: there is no NVIDIA card."
    assert said in installed.words
    assert host.show("Result", "nvidia-cdi-refresh") in ("success", "exec-condition")
    assert not host.file(SPEC).exists


def test_a_card_that_comes_later_is_proven_on_both_engines(host, play, installed):
    host.output(CARD)
    run = play()
    assert run.rc == 0, run.text
    for engine in ("docker", "podman"):
        assert "a container of %s sees GPU 0: NVIDIA RTX PRO 6000" % engine in run.words
        assert UUID in host.sees_gpu(engine, ALL)
        assert "nvidia0" not in host.output(engine + " run --rm --network none %s ls /dev", IMAGE)
    assert "cdiVersion: 0.7.0" in host.file(SPEC).content_string
    found = host.quiet()
    run = play()
    assert (run.rc, run.changed) == (0, 0), run.text
    assert host.quiet() == found


def test_upgrade_under_containers_that_use_the_card(host, play, installed):
    for engine in ("docker", "podman"):
        host.output("%s run --detach --name busy --network none %s %s sleep 100000" % (engine, ALL, IMAGE))
    before = [host.pid_of("busy", engine) for engine in ("docker", "podman")]
    docker = host.show("MainPID", "docker")
    run = play(version=NEW)
    assert run.rc == 0, run.text
    assert host.versions() == {name: (NEW + "-1", "hold") for name in PACKAGES}
    assert [host.pid_of("busy", engine) for engine in ("docker", "podman")] == before and all(before)
    assert host.show("MainPID", "docker") == docker
    assert "may lose them" not in run.words  # theirs are by CDI


@pytest.fixture(scope="module")
def waiting(host, installed):
    """A Docker that does not know CDI yet, under a container that uses the card."""
    host.output("docker rm --force busy && echo '{}' > %s && systemctl restart docker", DAEMON)
    host.output("docker run --detach --name busy --network none --device /dev/nvidia0 %s sleep 100000", IMAGE)
    return host.pid_of("busy")


def test_a_restart_that_would_stop_it_is_left_to_the_admin(host, play, waiting):
    run = play(version=NEW)
    assert run.rc != 0
    said = "Docker has to be restarted for its new configuration, which would stop 1 containers on GPUs (busy)"
    assert said in run.words
    assert host.daemon() == {"features": {"cdi": True}}
    assert host.pid_of("busy") == waiting


def test_and_done_when_it_is_allowed(host, play, waiting):
    run = play(version=NEW, nvidia_container_toolkit_restart_engine=True)
    assert run.rc == 0, run.text
    assert host.pid_of("busy") != waiting
    assert UUID in host.sees_gpu("docker", ALL)
