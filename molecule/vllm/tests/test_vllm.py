# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role leaves behind, as the host itself sees it: nothing here is Ansible's own word."""

from __future__ import annotations

import json
import pathlib
import re
import time

import pytest
import testinfra
import yaml

HOSTS = ["llm-debian12", "llm-debian13"]
UNIT = "vllm-canary.service"
URL = "http://127.0.0.1:8000"
QUESTIONS = yaml.safe_load((pathlib.Path(__file__).parents[3] / "tests" / "canary" / "questions.yml").read_text())
# systemd-analyze security, on this scenario's hosts; roles/vllm/README.md names the measured scores.
MOST_EXPOSURE = 2.0


@pytest.fixture(scope="module", params=HOSTS)
def host(request):
    host = testinfra.get_host("podman://" + request.param)
    yield host
    if request.session.testsfailed:
        print(host.run("journalctl --unit %s --lines 80 --no-pager", UNIT).stdout)


@pytest.fixture(scope="module")
def key(host):
    return host.check_output("cat /etc/gpufleet/vllm/canary.key")


def ask(host, question, key):
    """Status and text of one question, over HTTP."""
    body = {"model": "canary", "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 40}
    result = host.run(
        "curl --silent --max-time 60 --write-out '\n%%{http_code}' --header %s --header %s --data %s %s",
        "Content-Type: application/json", "Authorization: Bearer " + key, json.dumps(body), URL + "/v1/chat/completions",
    )  # fmt: skip
    text, _newline, status = result.stdout.rpartition("\n")
    answer = json.loads(text)["choices"][0]["message"]["content"] if status == "200" else text
    return int(status), answer


def main_pid(host):
    return int(host.check_output("systemctl show --value --property MainPID %s", UNIT))


def processes(host):
    """Command line by pid, of everything in the unit's control group."""
    pids = host.check_output(
        "cat /sys/fs/cgroup$(systemctl show --value --property ControlGroup %s)/cgroup.procs", UNIT
    ).split()
    return {int(pid): host.check_output("tr '\\0' ' ' < /proc/%s/cmdline", pid) for pid in pids}


def answers_again(host, key, not_this_pid, within_s=180):
    """Waits for a right answer of another main process; returns after how many seconds."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if main_pid(host) not in (0, not_this_pid) and ask(host, QUESTIONS[0]["question"], key)[0] == 200:
            break
        time.sleep(1)
    status, answer = ask(host, QUESTIONS[0]["question"], key)
    assert (status, QUESTIONS[0]["expected"] in answer) == (200, True), answer
    return time.monotonic() - began


@pytest.mark.parametrize("row", QUESTIONS[:4], ids=lambda row: row["expected"])
def test_the_answer_is_right(host, key, row):
    status, answer = ask(host, row["question"], key)
    assert status == 200
    assert row["expected"] in answer


@pytest.mark.parametrize("wrong", ["", "wrong", "None"])
def test_without_the_key_there_is_no_answer(host, wrong):
    assert ask(host, QUESTIONS[0]["question"], wrong)[0] == 401


def test_every_name_is_served(host, key):
    models = json.loads(host.check_output("curl --silent --header %s %s", "Authorization: Bearer " + key, URL + "/v1/models"))
    assert [model["id"] for model in models["data"]] == ["canary", "canary-by-another-name"]
    assert {model["max_model_len"] for model in models["data"]} == {1024}


def test_it_listens_on_loopback_only(host):
    assert host.socket("tcp://127.0.0.1:8000").is_listening
    assert not host.socket("tcp://0.0.0.0:8000").is_listening


def test_it_starts_at_boot_and_was_not_restarted(host):
    assert host.service(UNIT).is_enabled
    assert host.check_output("systemctl show --value --property NRestarts %s", UNIT) == "0"


def test_the_key_is_seen_nowhere(host, key):
    assert len(key) >= 40
    assert key not in host.check_output("cat /etc/systemd/system/%s", UNIT)
    assert key not in host.check_output("systemctl show %s", UNIT)
    assert key not in host.check_output("journalctl --no-pager")
    lines = processes(host).values()
    assert lines and not any(key in line for line in lines)
    assert key not in host.check_output("ps -eww -o args")
    found = host.check_output("grep -rlF -e %s /etc /opt/gpufleet/tools /var/lib /var/cache/gpufleet /run/systemd || true", key)
    assert found.split() == ["/etc/gpufleet/vllm/canary.env", "/etc/gpufleet/vllm/canary.key"]


@pytest.mark.parametrize(
    "path, mode, group",
    [
        ("/etc/gpufleet/vllm/canary.env", 0o600, "root"),
        ("/etc/gpufleet/vllm/canary.key", 0o640, "vllm"),
        ("/var/lib/gpufleet/vllm/canary/proven.json", 0o600, "root"),
        ("/var/lib/gpufleet/vllm/canary/plan.json", 0o644, "root"),
    ],
)
def test_owners_and_modes(host, path, mode, group):
    found = host.file(path)
    assert (found.user, found.group, found.mode) == ("root", group, mode)


def test_the_service_may_write_nothing_but_its_cache(host):
    tried = host.run(
        "nsenter --target %s --mount --wdns=/ setpriv --reuid vllm --regid vllm --clear-groups sh -c %s",
        str(main_pid(host)),
        "touch /var/cache/gpufleet/vllm/canary/mine; for path in /opt/gpufleet/vllm/mine /srv/models/mine /etc/mine"
        " /usr/mine /var/lib/gpufleet/mine; do touch $path 2> /dev/null && echo wrote $path; done; true",
    )
    assert (tried.rc, tried.stdout) == (0, "")
    assert host.file("/var/cache/gpufleet/vllm/canary/mine").exists


def test_software_is_writable_for_root_only(host):
    assert host.check_output("find /opt/gpufleet ! -type l \\( ! -user root -o -perm /022 \\) | head") == ""


def test_hardening(host):
    report = host.check_output("systemd-analyze security --no-pager %s", UNIT)
    exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", report).group(1))
    print("exposure of %s on %s: %s" % (UNIT, host.backend.get_pytest_id(), exposure))
    assert exposure <= MOST_EXPOSURE
    status = host.check_output("cat /proc/%s/status", str(main_pid(host)))
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)
    assert re.search(r"^CapBnd:\s+0+$", status, re.M)


def test_the_plan_was_right(host):
    measured = json.loads(host.file("/var/lib/gpufleet/vllm/canary/measured.json").content_string)
    metrics = host.check_output("curl --silent %s/metrics", URL)
    blocks = int(re.search(r'vllm:cache_config_info\{.*num_gpu_blocks="(\d+)"', metrics).group(1))
    assert measured["num_gpu_blocks"] == blocks == measured["predicted"]["num_gpu_blocks"]
    assert set(measured["error"].values()) == {0.0}


def test_versions_and_links(host):
    assert host.check_output("readlink /opt/gpufleet/vllm/current") == "0.32.0-cpu"
    assert host.file("/opt/gpufleet/vllm/0.32.0-cpu/.gpufleet-env.json").exists
    assert "0.32.0" in host.check_output("curl --silent %s/version", URL)


# Last: these disturb it.
def test_killed_it_comes_back_by_itself(host, key):
    """On one host the engine's core is killed, on the other its API server, which takes nothing along by itself."""
    victim = "core" if "debian12" in host.backend.name else "server"
    server = main_pid(host)
    names = processes(host)
    cores = [pid for pid, line in names.items() if "EngineCore" in line]
    assert cores, names
    host.check_output("kill -9 %s", str(server if victim == "server" else cores[0]))
    took = answers_again(host, key, not_this_pid=server)
    print("killed the %s: answered again after %.0f s" % (victim, took))
    left = set(names) & set(processes(host))
    assert not left, "processes of the killed engine still run: %s" % left
