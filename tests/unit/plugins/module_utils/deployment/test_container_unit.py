# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_unit

DIGEST = "docker.io/vllm/vllm-openai@sha256:" + 64 * "a"
KINDS = ("docker", "podman", "quadlet")


def service(**changes):
    found = {
        "name": "vllm-chat",
        "description": "vLLM 0.33.0, instance chat",
        "image": DIGEST,
        "command": ["vllm", "serve", "/srv/models/a b", "--port", "8000"],
        "environment": {"HOME": "/var/cache/x", "PRICE": "5 $ or 10 %"},
        "secrets": {"VLLM_API_KEY": "/etc/gpufleet/vllm/chat.key"},
        "start_script": "/etc/gpufleet/vllm/start",
        "umask": "0077",
        "mounts": [{"path": "/srv/models/a b", "writable": False}],
        "directories": [{"path": "/var/cache/x", "mode": "0700"}],
        "user": "vllm", "group": "models", "uid": "997", "gid": "996",
        "publish": [{"host": "127.0.0.1", "port": 8000}], "network": "", "alias": "chat",
        "gpus": [], "before": [], "shm_size": "1g", "memory": "", "cpus": "", "pids": "",
        "read_only": True, "start_s": 300, "stop_s": 90,
    }  # fmt: skip
    return dict(found, **changes)


def line(text, start):
    found = [row for row in text.splitlines() if row.startswith(start)]
    assert len(found) == 1, (start, found)
    return found[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_holds_of_every_kind(kind):
    text = container_unit.text(service(), kind)
    assert ("SecurityLabelDisable=true" if kind == "quadlet" else "--security-opt=label=disable") in text
    assert ("NoNewPrivileges=true" if kind == "quadlet" else "--security-opt=no-new-privileges") in text
    assert ("DropCapability=all" if kind == "quadlet" else "--cap-drop=all") in text
    assert "privileged" not in text and "chat.key" not in text.split("ExecStartPre=")[0]
    assert line(text, "X-GpufleetImage=") == "X-GpufleetImage=" + DIGEST
    for words in (DIGEST, "127.0.0.1:8000:8000", "--read-only", "--tmpfs=/tmp", "--shm-size=1g", "--pull=never"):
        assert words in text
    assert "Restart=always" in text and "TimeoutStopSec=90" in text and "WantedBy=multi-user.target" in text
    # A key goes from a file that root reads to one in memory that the user reads, and is in no argument.
    assert "-m 0400 -o vllm -g models /etc/gpufleet/vllm/chat.key /run/gpufleet-secrets/vllm-chat/VLLM_API_KEY" in text
    assert "/run/gpufleet-secrets/vllm-chat:/run/gpufleet/secrets:ro" in text
    assert "nvidia" not in text and "memlock" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_gpus_by_cdi_and_nothing_else_of_the_host(kind):
    gpus = ["nvidia.com/gpu=GPU-1", "nvidia.com/gpu=GPU-2"]
    text = container_unit.text(service(gpus=gpus, before=[["-", "/usr/bin/nvidia-modprobe", "-u", "-c", "0"]]), kind)
    for gpu in gpus:
        assert ("AddDevice=" if kind == "quadlet" else "--device=") + gpu in text
    assert "ExecStartPre=-/usr/bin/nvidia-modprobe -u -c 0\n" in text and "--ulimit=memlock=-1" in text
    assert "nvidia-cdi-refresh.service" in line(text, "After=")


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_and_a_name_in_it(kind):
    text = container_unit.text(service(network="llm", alias="chat"), kind)
    assert ("Network=llm\n" if kind == "quadlet" else "--network=llm ") in text and "--network-alias=chat" in text


@pytest.mark.parametrize("kind", KINDS)
def test_limits_and_an_image_that_has_to_write(kind):
    text = container_unit.text(service(memory="64g", cpus="8", pids="4096", read_only=False, secrets={}), kind)
    assert "--memory=64g --cpus=8 --pids-limit=4096" in text
    assert "read-only" not in text and "tmpfs" not in text and "/run/gpufleet/secrets" not in text


def test_words_survive_systemd():
    text = container_unit.text(service(), "docker")
    start = line(text, "ExecStart=")
    assert '"--env=PRICE=5 $$ or 10 %%"' in start
    assert start.endswith('--entrypoint=/bin/sh %s /run/gpufleet/start 0077 vllm serve "/srv/models/a b" --port 8000' % DIGEST)
    text = container_unit.text(service(), "quadlet")
    assert line(text, "Exec=") == 'Exec=/run/gpufleet/start 0077 vllm serve "/srv/models/a b" --port 8000'
    # (Quadlet hands these on as they are, quotes and all but for volumes and variables: so those come this way.)
    assert '"--env=PRICE=5 $$ or 10 %%"' in line(text, "PodmanArgs=")
    assert '"--volume=/srv/models/a b:/srv/models/a b:ro"' in line(text, "PodmanArgs=") and "--stop-timeout=85 " in text


@pytest.mark.parametrize(
    "host, port",
    [("localhost", "127.0.0.1:8000:8000"), ("0.0.0.0", "0.0.0.0:8000:8000"), ("::1", "[::1]:8000:8000")],
)
def test_addresses(host, port):
    one = service(publish=[{"host": host, "port": 8000}])
    assert "PublishPort=" + port in container_unit.text(one, "quadlet").splitlines()
    assert all("--publish=" + port in container_unit.text(one, kind).replace('"', "") for kind in ("docker", "podman"))
    assert container_unit.compose([one])["services"]["vllm-chat"]["ports"] == [port]


def test_places():
    assert container_unit.unit_path(service(), "quadlet") == "/etc/containers/systemd/vllm-chat.container"
    assert {container_unit.unit_path(service(), kind) for kind in ("docker", "podman")} == {"/etc/systemd/system/vllm-chat.service"}


def test_compose_states_the_same():
    found = container_unit.compose([service(gpus=["nvidia.com/gpu=GPU-1"], network="llm", memory="64g")])
    one = found["services"]["vllm-chat"]
    assert found["networks"] == {"llm": {"external": True}} and one["networks"] == {"llm": {"aliases": ["chat"]}}
    assert one["image"] == DIGEST and one["user"] == "997:996" and one["cap_drop"] == ["ALL"] and one["mem_limit"] == "64g"
    assert one["entrypoint"][:4] == ["/bin/sh", "/run/gpufleet/start", "0077", "vllm"]
    assert one["environment"]["PRICE"] == "5 $$ or 10 %"
    assert "/etc/gpufleet/vllm/chat.key:/run/gpufleet/secrets/VLLM_API_KEY:ro" in one["volumes"]
    assert one["devices"] == ["nvidia.com/gpu=GPU-1"]


def test_the_script_that_it_starts_with(tmp_path):
    """Secrets become variables, whatever is in them, and arguments stay as they are."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "KEY").write_text("a b$c'\"\\n\n")
    script = tmp_path / "start"
    script.write_text(container_unit.START_SCRIPT.replace(container_unit.SECRETS, str(secrets)))
    words = ["sh", str(script), "0027", "sh", "-c", 'umask; printf "%s|" "$KEY" "$@"', "x", "a  b", "$HOME"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "0027\na b$c'\"\\n|a  b|$HOME|"
    (secrets / "KEY").unlink()
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "0027\n|a  b|$HOME|"


@pytest.mark.parametrize("kind", KINDS)
def test_a_mount_with_another_name_inside_and_limits_of_its_own(kind):
    changes = {"mounts": [{"path": "/srv/models/a", "inside": "/models/chat", "writable": False}], "gpus": ["nvidia.com/gpu=GPU-1"]}
    text = container_unit.text(service(ulimits=["memlock=-1", "stack=67108864"], **changes), kind)
    assert "/srv/models/a:/models/chat:ro" in text and "--ulimit=memlock=-1 --ulimit=stack=67108864" in text
    assert "ulimit" not in container_unit.text(service(ulimits=[], **changes), kind)


def test_compose_has_limits_of_its_own():
    one = container_unit.compose([service(ulimits=["stack=67108864"], gpus=["nvidia.com/gpu=GPU-1"])])["services"]["vllm-chat"]
    assert one["ulimits"] == {"stack": 67108864}
    assert container_unit.compose([service(gpus=["nvidia.com/gpu=GPU-1"])])["services"]["vllm-chat"]["ulimits"] == {"memlock": -1}
