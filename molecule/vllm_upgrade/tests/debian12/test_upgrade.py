# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades that work and that do not, settings, keys, removal. The tests build on one another."""

from __future__ import annotations

import re

KEY_OF_TWO = "key-of-two-Zu9Qx3mB7v"
# What the run has to answer for whenever it is not about something else.
GOOD = {"one_version": "0.32.2", "one_settings": {"max_num_seqs": 3}}


def test_both_answer_each_with_its_own_key(host):
    for instance in ("one", "two"):
        assert "Paris" in host.answer(instance)
        assert host.version(instance) == "0.32.1"
    assert host.output("cat /etc/gpufleet/vllm/two.key") == KEY_OF_TWO
    assert host.output("cat /etc/gpufleet/vllm/one.key") != KEY_OF_TWO


def test_an_upgrade_and_a_setting_restart_that_instance_alone(host, play):
    one, two = host.main_pid("one"), host.main_pid("two")
    run = play(**GOOD)
    assert run.rc == 0, run.text
    assert host.main_pid("one") != one
    assert host.main_pid("two") == two
    assert (host.version("one"), host.version("two")) == ("0.32.2", "0.32.1")
    assert "Paris" in host.answer("one")
    assert re.search(r"--max-num-seqs\0003\0", host.output("cat /proc/%s/cmdline", str(host.main_pid("one"))))
    assert host.output("ls /opt/gpufleet/vllm").split() == ["0.32.1-cpu", "0.32.2-cpu", "current"]


def test_a_bad_upgrade_leaves_the_old_version_serving_and_no_key_in_what_was_said(host, play):
    """With a new key too: what comes back has to be the old key with the old version."""
    old_key = host.output("cat /etc/gpufleet/vllm/one.key")
    host.output("umask 077; printf new-key-Kq8Lw5Tr2n > /root/one.key")
    two = host.main_pid("two")
    run = play("-vvv", "--diff", one_version="0.32.9", one_key="file:/root/one.key")
    assert run.rc != 0
    assert "one with vLLM 0.32.9 does not work" in run.text
    assert "Engine core initialization failed" in run.text
    assert "vLLM 0.32.2 serves again, and answers" in run.text
    assert host.version("one") == "0.32.2"
    assert "Paris" in host.answer("one")
    assert host.output("cat /etc/gpufleet/vllm/one.env") == 'VLLM_API_KEY="%s"' % old_key
    assert host.show("NRestarts", "one") == "0"
    assert host.main_pid("two") == two
    for secret in (old_key, KEY_OF_TWO, "new-key-Kq8Lw5Tr2n"):
        assert secret not in run.text


def test_after_the_way_back_a_run_restarts_nothing(host, play):
    one = host.main_pid("one")
    run = play(**GOOD)
    assert run.rc == 0, run.text
    assert host.main_pid("one") == one


def test_a_literal_key_is_refused_and_not_repeated(play):
    run = play("-vvv", one_key="sk-literal-Vb4Nc6")
    assert run.rc != 0
    assert "api_key_from of one must be generated, none, variable:NAME" in run.text
    told = [line for line in run.text.splitlines() if "sk-literal-Vb4Nc6" in line]
    assert not told, told


def test_what_never_worked_is_stopped(host, play):
    three = {"name": "three", "model": "/opt/canary", "port": 8003, "version": "0.32.9"}
    run = play(instances=[three])
    assert run.rc != 0
    assert "It never worked, so there is nothing to go back to. It is stopped." in run.text
    assert host.show("ActiveState", "three") in ("inactive", "failed")
    assert host.show("UnitFileState", "three") == "disabled"
    assert "Paris" in host.answer("one")


def test_removed_instances_stay_unless_pruned(host, play):
    one, two = host.main_pid("one"), host.main_pid("two")
    assert host.file("/etc/systemd/system/vllm-three.service").exists
    run = play(vllm_prune=True, vllm_keep_versions=0, **GOOD)
    assert run.rc == 0, run.text
    assert host.output("ls /etc/systemd/system | grep vllm- ").split() == ["vllm-one.service", "vllm-two.service"]
    for path in ("/etc/gpufleet/vllm", "/var/lib/gpufleet/vllm", "/var/cache/gpufleet/vllm"):
        assert "three" not in host.output("ls %s", path)
    assert host.output("ls /opt/gpufleet/vllm").split() == ["0.32.1-cpu", "0.32.2-cpu", "current"]
    assert (host.main_pid("one"), host.main_pid("two")) == (one, two)
