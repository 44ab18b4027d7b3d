# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that answers, what it was started with, and ways back. The tests build on one another."""

from __future__ import annotations

import json
import time

import lab_host
import pytest
import yaml

GPU = "GPU-bbbbbbbb-0000-0000-0000-000000000000"


class Host(lab_host.Host):
    journal = ("tensorrt-llm-*",)
    units = "tensorrt-llm-%s.service"

    def inspect(self):
        return json.loads(self.output("podman inspect tensorrt-llm-chat"))[0]

    def get(self, path, *options):
        words = ["curl", "--silent", "--max-time", "20", *options, "http://127.0.0.1:8000" + path]
        return self.output(" ".join(["%s"] * len(words)), *words)

    def ask(self):
        question = [{"role": "user", "content": "What is the capital of France?"}]
        body = json.dumps({"model": "chat", "messages": question, "max_tokens": 20})
        answer = self.get("/v1/chat/completions", "--header", "Content-Type: application/json", "--data", body)
        return json.loads(answer)["choices"][0]["message"]["content"]

    def plan(self):
        return json.loads(self.file("/var/lib/gpufleet/tensorrt_llm/chat/plan.json").content_string)


@pytest.fixture(scope="module")
def host():
    return Host("llm-debian12")


@pytest.fixture(scope="module")
def playbooks(request, host):
    return lab_host.Playbooks(request.path.parents[1], host.name)


@pytest.fixture(scope="module")
def play(playbooks):
    return playbooks.run


def test_it_answers_under_its_name(host):
    assert "Paris" in host.ask()
    assert [model["id"] for model in json.loads(host.get("/v1/models"))["data"]] == ["chat"]
    assert json.loads(host.get("/version")) == {"version": "1.2.1"}


def test_it_was_started_as_planned(host):
    plan, shown = host.plan(), host.inspect()
    assert plan["engine"] == "tensorrt_llm" and plan["devices"] == [GPU]
    assert any(warning.startswith("Not tested on a GPU") for warning in plan["warnings"])
    words = host.output("podman exec tensorrt-llm-chat cat /proc/1/cmdline").rstrip("\0").split("\0")
    assert words[1:4] == ["/usr/local/bin/trtllm-serve", "/models/chat", "--backend"]
    given = dict(zip(words[3::2], words[4::2]))
    assert given["--max_seq_len"] == "1024" and given["--max_batch_size"] == "4" and given["--tp_size"] == "1"
    assert given["--kv_cache_free_gpu_memory_fraction"] == str(plan["settings"]["kv_cache_free_gpu_memory_fraction"])
    assert given["--extra_llm_api_options"] == "/etc/gpufleet/tensorrt_llm/chat.yml"
    file = yaml.safe_load(host.output("cat /etc/gpufleet/tensorrt_llm/chat.yml"))
    fraction = plan["settings"]["kv_cache_free_gpu_memory_fraction"]
    assert file == {"kv_cache_config": {"enable_block_reuse": False, "free_gpu_memory_fraction": fraction}}
    assert "CUDA_VISIBLE_DEVICES=" + GPU in shown["Config"]["Env"]


def test_it_has_its_gpu_and_nothing_else(host):
    assert host.output("podman exec tensorrt-llm-chat sh -c 'echo /dev/nvidia*'") == "/dev/nvidia-bbbbbbbb"
    shown = host.inspect()
    assert "LAB_GPU=bbbbbbbb" in host.output("cat /proc/%d/environ" % shown["State"]["Pid"]).split("\0")
    uid, gid = host.output("id -u tensorrt-llm"), host.output("id -g tensorrt-llm")
    assert shown["Config"]["User"] == "%s:%s" % (uid, gid)
    assert shown["HostConfig"]["Privileged"] is False and shown["HostConfig"]["ReadonlyRootfs"] is True
    status = host.output("podman exec tensorrt-llm-chat cat /proc/1/status").splitlines()
    assert "CapEff:\t" + "0" * 16 in status and "NoNewPrivs:\t1" in status
    model = next(mount for mount in shown["Mounts"] if mount["Destination"] == "/models/chat")
    assert model["RW"] is False and model["Source"].startswith("/srv/models/")
    more = next(mount for mount in shown["Mounts"] if mount["Destination"] == "/opt/stand-in")
    assert more["RW"] is False and more["Source"] == "/opt/stand-in"
    published = next(iter(shown["NetworkSettings"]["Ports"].values()))
    assert [one["HostIp"] for one in published] == ["127.0.0.1"]


def test_it_is_looked_after(host):
    end = time.monotonic() + 40
    while ": ok: " not in host.output("systemctl show --value --property StatusText gpufleet-watchdog@tensorrt-llm-chat"):
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_gpu_that_containers_cannot_have_is_refused_before_an_image_is_brought(host, play):
    host.output("mv /etc/cdi/nvidia.json /etc/cdi/away")
    run = play(chat_image="bad")
    host.output("mv /etc/cdi/away /etc/cdi/nvidia.json")
    assert run.rc != 0 and run.changed == 0
    assert "No CDI specification on this host has nvidia.com/gpu=%s (there are: none)" % GPU in run.words


def test_a_failed_upgrade_goes_back_to_the_image_before(host, play):
    run = play(chat_image="bad")
    assert run.rc != 0
    assert "chat with TensorRT-LLM 1.2.1 does not work" in run.text
    assert "Executor worker returned error" in run.text
    assert "TensorRT-LLM 1.2.1 serves again, and answers" in run.text
    assert host.output("podman exec tensorrt-llm-chat cat /etc/stand-in") == "one"
    assert "Paris" in host.ask()
    before = host.main_pid("chat")
    run = play()
    assert run.rc == 0, run.text
    assert host.main_pid("chat") == before


def test_an_option_that_it_does_not_have_is_refused_before_anything_happens(host, play):
    before = host.main_pid("chat")
    run = play(chat_settings={"max-seq-length": 1024})
    assert run.rc != 0 and run.changed == 0
    assert "is no option of trtllm-serve 1.2. Did you mean max_seq_len?" in run.words
    assert host.main_pid("chat") == before


def test_an_engine_beside_its_gpu_is_refused(host, play):
    host.output("touch /run/lab-no-gpu-memory")
    run = play()
    host.output("rm /run/lab-no-gpu-memory")
    assert run.rc != 0
    assert "chat answers, but" in run.words and GPU in run.words
    assert "It is configured as when it last worked" in run.words


def test_the_compose_file_states_the_same(host):
    services = yaml.safe_load(host.output("cat /etc/gpufleet/tensorrt_llm/compose.yml"))["services"]
    one, shown = services["tensorrt-llm-chat"], host.inspect()
    assert one["image"] == shown["Image"].rpartition(":")[2] and one["ports"] == ["127.0.0.1:8000:8000"]
    assert one["devices"] == ["nvidia.com/gpu=" + GPU] and one["ulimits"] == {"nofile": {"soft": 1024, "hard": 4096}, "nproc": 4096, "stack": 67108864}
