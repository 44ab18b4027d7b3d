# SPDX-License-Identifier: GPL-3.0-or-later
"""The same of Docker and of Podman with Quadlet. The tests build on one another."""

from __future__ import annotations

import json

import yaml

def test_the_answer_is_right_and_only_with_the_key(host):
    status, answer = host.ask("canary")
    assert status == 200 and "Paris" in answer
    assert host.ask("canary", key="wrong")[0] == 401


def test_the_container_is_shut_in(host):
    shown = host.inspect("canary")
    limits = shown["HostConfig"]
    uid, gid = host.output("id -u vllm"), host.output("id -g vllm")
    assert shown["Config"]["User"] == "%s:%s" % (uid, gid)
    assert limits["Privileged"] is False and limits["ReadonlyRootfs"] is True and limits["ShmSize"] == 1 << 30
    assert host.inside("canary", "sh", "-c", "grep CapEff /proc/1/status").stdout.split() == ["CapEff:", "0" * 16]
    assert host.inside("canary", "sh", "-c", "grep NoNewPrivs /proc/1/status").stdout.split() == ["NoNewPrivs:", "1"]
    model = next(mount for mount in shown["Mounts"] if "/models/" in mount["Source"])
    assert model["RW"] is False
    for place in ("/x", "/opt/x", model["Destination"] + "/x", "/run/gpufleet/secrets/x"):
        assert "Read-only file system" in host.inside("canary", "sh", "-c", "echo > " + place).stderr
    assert host.inside("canary", "sh", "-c", "echo > /var/cache/gpufleet/vllm/canary/x && rm /var/cache/gpufleet/vllm/canary/x").rc == 0
    # (The published port is a process of the engine's, or a rule of the firewall: the address is what counts.)
    published = next(iter(shown["NetworkSettings"]["Ports"].values()))
    assert [one["HostIp"] for one in published] == ["127.0.0.1"]


def test_no_secret_where_others_can_read(host):
    key = host.output("cat /etc/gpufleet/vllm/canary.key")
    assert len(key) > 20
    host.output("(umask 077; tr -d '\\n' < /etc/gpufleet/vllm/canary.key > /root/wanted)")
    for what in (
        host.engine + " inspect vllm-canary",
        host.engine + " logs vllm-canary 2>&1",
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
        "systemctl cat vllm-canary.service; systemctl show vllm-canary.service",
        "journalctl --no-pager",
        "cat /etc/gpufleet/vllm/compose.yml",
    ):
        assert host.run("(%s) | grep --count --fixed-strings --file /root/wanted" % what).stdout.strip() == "0", what
    assert host.output("stat --format %a:%U /run/gpufleet-secrets/vllm-canary/VLLM_API_KEY") == "400:vllm"


def test_it_comes_back_after_it_was_killed(host):
    before = host.main_pid("canary")
    engine = host.inspect("canary")["State"]["Pid"]
    host.output("kill -9 %s", str(engine))
    status, answer = host.answers_within("canary", 240)
    assert status == 200 and "Paris" in answer
    assert host.main_pid("canary") != before and host.inspect("canary")["State"]["Pid"] != engine


def test_a_second_one_from_an_archive(host, play):
    canary = host.main_pid("canary")
    run = play(two_image="one")
    assert run.rc == 0, run.text
    assert host.stand_in("two") == "one" and "Paris" in host.ask("two")[1]
    assert host.main_pid("canary") == canary


def test_both_are_behind_one_name_in_their_network(host):
    program = "import socket; print(len({one[4][0] for one in socket.getaddrinfo('chat', 8000)}))"
    assert host.inside("two", "python3", "-c", program).stdout.strip() == "2"


def test_an_upgrade(host, play):
    canary = host.main_pid("canary")
    run = play(two_image="two")
    assert run.rc == 0, run.text
    assert host.stand_in("two") == "two" and "Paris" in host.ask("two")[1]
    assert host.main_pid("canary") == canary


def test_a_failed_upgrade_goes_back_to_the_image_before(host, play):
    run = play(two_image="bad")
    assert run.rc != 0
    assert "two with vLLM 0.32.0 does not work" in run.text
    assert "Engine core initialization failed" in run.text
    assert "serves again, and answers" in run.text
    assert host.stand_in("two") == "two" and "Paris" in host.ask("two")[1]
    two = host.main_pid("two")
    run = play(two_image="two")
    assert (run.rc, run.changes) == (0, ["Remove images that nothing uses"]), run.text
    assert host.main_pid("two") == two


def test_what_is_no_longer_wanted_goes(host, play):
    before, two = host.inspect("canary")["Image"], host.inspect("two")["Image"]
    run = play(prune=True)
    assert run.rc == 0, run.text
    assert host.run(host.engine + " inspect vllm-two").rc != 0
    assert host.run("ls /etc/systemd/system/vllm-two.service /etc/containers/systemd/vllm-two.container").stdout == ""
    assert host.run("systemctl cat vllm-two.service").rc != 0
    # One that is not used stays for going back: the one that worked last.
    there = host.output(host.engine + " images --quiet --no-trunc").split()
    assert len(there) == 2 and before.rpartition(":")[2] in " ".join(there) and two.rpartition(":")[2] in " ".join(there)


def test_the_compose_file_states_the_same(host):
    services = yaml.safe_load(host.output("cat /etc/gpufleet/vllm/compose.yml"))["services"]
    one, shown = services["vllm-canary"], host.inspect("canary")
    if host.engine == "podman":
        words = "/usr/libexec/docker/cli-plugins/docker-compose --file /etc/gpufleet/vllm/compose.yml config --format json"
        read = json.loads(host.output(words))["services"]["vllm-canary"]
        assert read["entrypoint"] == one["entrypoint"] and read["environment"] == one["environment"]
    assert one["networks"] == {"models": {"aliases": ["chat"]}}
    assert list(services) == ["vllm-canary"] and one["image"] == shown["Image"].rpartition(":")[2]
    assert one["user"] == shown["Config"]["User"] and one["ports"] == ["127.0.0.1:8000:8000"]
    assert all("%s=%s" % pair in shown["Config"]["Env"] for pair in one["environment"].items())


def test_the_unit_owns_the_container(host):
    quadlet = host.engine == "podman"
    assert host.show("UnitFileState", "canary") == ("generated" if quadlet else "enabled")
    assert host.show("SourcePath", "canary") == ("/etc/containers/systemd/vllm-canary.container" if quadlet else "")
    host.output("systemctl stop vllm-canary.service")
    assert host.output(host.engine + " ps --all --quiet") == ""
    host.output("systemctl start vllm-canary.service")
    assert host.inspect("canary")["State"]["Running"] is True
