# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit of an instance: what it says for which host, read as systemd reads it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment import ollama_looks as looks
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts

MODEL, FACTS = "llama3.1:8b", {looks.DIGEST: ollama_hosts.model("llama3.1-8b")}
Section = t.Dict[str, t.List[str]]


def host(gpus: t.Optional[str] = None, **hardware: t.Any) -> t.Dict[str, t.Any]:
    return looks.fresh(gpus, **hardware)


def amd() -> t.Dict[str, t.Any]:
    look = looks.fresh("L4", driver_version=None)
    look["hardware"]["accelerators"][0].update(vendor="amd", driver="amdgpu", usable=False, compute_capability=None)
    return look


def adopted(gpus: t.Optional[str] = None) -> t.Dict[str, t.Any]:
    look = looks.fresh(gpus)
    look["user"] = looks.account(home="/usr/share/ollama")
    look["units"]["ollama.service"] = looks.unit(fragment_path=looks.VENDOR_UNIT)
    return look


def with_model(look: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    look["stores"]["/srv/models/ollama"] = looks.store(looks.model(MODEL))
    return look


@pytest.fixture(scope="module")
def render() -> t.Callable[..., str]:
    def run(look, asked=None, allow_cpu=False, facts=None, wait_s=60, **role):
        role.update(allow_cpu=allow_cpu, gpu_wait_s=wait_s, ca_file=(asked or {}).get("ca_file", ""))
        state = looks.follow(looks.wanted(**(asked or {})), look, looks.role(**role), facts)
        assert state["problems"] == []
        return state["instances"][0]["unit_wanted"]

    return run


def words(value: str, command: bool = False) -> t.List[str]:
    """The words of a value as systemd.syntax(7) and, of a command, systemd.service(5) split them."""
    found = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', value):
        word = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        word = word.replace("%%", "\0")
        assert "%" not in word, "an unknown specifier in %s" % value
        word = word.replace("\0", "%")
        found.append(word.replace("$$", "$") if command else word)
    return found


def read(text: str) -> t.Dict[str, Section]:
    sections: t.Dict[str, Section] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals and re.fullmatch(r"[A-Za-z-]+", key), line
            section.setdefault(key, []).append(value)
    return sections


def environment_of(service: Section) -> t.Dict[str, str]:
    return dict(words(line)[0].split("=", 1) for line in service["Environment"] if line)


NVIDIA = ["char-nvidia* rw", "char-drm rw", "char-kfd rw"]
CASES: t.Dict[str, t.Tuple[t.Any, ...]] = {
    # host, what is asked for, allow_cpu, then: DeviceAllow, the devices waited for, ProtectHome
    "CPU": (host, {}, False, None, None, "true"),
    "NVIDIA": (lambda: host("2 x L40S"), {}, False, NVIDIA, "[ -e /dev/nvidiactl ] && [ -e /dev/nvidia-uvm ]", "true"),
    "AMD": (amd, {}, False, NVIDIA, "[ -e /dev/kfd ]", "true"),
    "WSL": (lambda: host("L4", environment="wsl"), {}, False, NVIDIA + ["/dev/dxg rw"], "[ -e /dev/dxg ]", "true"),
    "Jetson": (
        lambda: host("L4", **looks.JETSON), {}, False, NVIDIA + ["char-nvhost* rw", "char-nvmap rw"], "[ -e /dev/nvmap ]", "true"
    ),
    "allowed to run on the CPU": (lambda: host("L4"), {}, True, NVIDIA, "[ -e /dev/nvidiactl ]", "true"),
    "GPUs not wanted": (lambda: host("L4"), {"gpus": "none"}, False, None, None, "true"),
    "adopted": (adopted, {}, False, None, None, "true"),
    "adopted with a GPU": (lambda: adopted("L4"), {}, False, NVIDIA, "[ -e /dev/nvidiactl ]", "true"),
    "store in a home": (host, {"models_path": "/home/ai/models"}, False, None, None, "false"),
    "store in root's home": (host, {"models_path": "/root/models"}, False, None, None, "false"),
    "store with a blank": (host, {"models_path": "/srv/my models/100%"}, False, None, None, "true"),
    "store beside the homes": (host, {"models_path": "/homestead"}, False, None, None, "true"),
    "certificates in a home": (host, {"ca_file": "/home/ai/ca.pem"}, False, None, None, "false"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_unit(render, case, tmp_path):
    look, asked, allow_cpu, devices, waits, home = CASES[case]
    text = render(look(), asked, allow_cpu)
    unit = read(text)
    service, head = unit["Service"], unit["Unit"]
    store = asked.get("models_path", "/usr/share/ollama/.ollama/models" if "adopted" in case else "/srv/models/ollama")
    assert words(head["RequiresMountsFor"][0])[:2] == ["/opt/gpufleet/ollama", store]
    assert store in words(service["ReadWritePaths"][0])
    assert environment_of(service)["OLLAMA_MODELS"] == store
    assert service.get("DeviceAllow") == devices
    assert ("PrivateDevices" in service) == (devices is None) and ("DevicePolicy" in service) == (devices is not None)
    checks = [line for line in service.get("ExecStartPre", []) if "/bin/sh" in line]
    assert [waits in line for line in checks] == ([True] if waits else [])
    assert service["ProtectHome"] == [home]
    assert ("Install" in unit) != ("adopted" in case)
    assert "network-online.target" in head["Wants"] and "network-online.target" in head["After"]
    assert head["X-GpufleetInstance"] == ["ollama"]
    # A list that a drop-in does not empty first would be added to.
    for key in ("ExecStart", "ExecStartPre", "Environment", "SupplementaryGroups"):
        assert (service.get(key, [None])[0] == "") == ("adopted" in case), key
    verify(text, tmp_path, "adopted" in case)


def verify(text: str, directory: Path, drop_in: bool) -> None:
    """systemd's own opinion, where there is one: it warns of what it does not know."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return
    present = re.sub(r"^ExecStart=/\S+", "ExecStart=/bin/true", text, flags=re.M).replace("=ollama\n", "=root\n")
    path = directory / "ollama.service"
    if drop_in:
        path.write_text("[Service]\nExecStart=/bin/false\nUser=daemon\n", encoding="utf-8")
        path = directory / "ollama.service.d" / "zz-gpufleet.conf"
        path.parent.mkdir()
    path.write_text(present, encoding="utf-8")
    found = subprocess.run(
        [program, "verify", "--man=no", str(directory / "ollama.service")], capture_output=True, text=True, check=False,
        env=dict(os.environ, SYSTEMD_UNIT_PATH="%s:" % directory),
    )  # fmt: skip
    assert [line for line in found.stderr.splitlines() if str(path) in line or "ollama.service" in line] == []


VALUES = ["100%", "%h", "$HOME", "${HOME}", "a b", "it's", 'say "so"', "back\\slash", "\\n", "ü", "日本", "a=b", "#", ";", " "]


@pytest.mark.parametrize("value", VALUES)
def test_environment(render, value):
    """Whatever a value has in it. (In Environment= a dollar is a dollar.)"""
    text = render(host(), {"env": {"LANG_LIKE": value}})
    assert environment_of(read(text)["Service"])["LANG_LIKE"] == value


def test_planned(render):
    text = render(with_model(host("L4")), {"models": [MODEL]}, facts=FACTS)
    environment = environment_of(read(text)["Service"])
    assert "/var/lib/gpufleet/ollama/ollama/plan.json" in text and int(environment["OLLAMA_CONTEXT_LENGTH"]) > 2048
    assert environment["OLLAMA_NO_CLOUD"] == "1" and environment["OLLAMA_HOST"] == "127.0.0.1:11434"


# --- the wait for the devices, as /bin/sh does it ---


def wait_script(render, devices: t.Sequence[Path], allow_cpu: bool, wait_s: int) -> t.List[str]:
    service = read(render(host("L4"), allow_cpu=allow_cpu, wait_s=wait_s))["Service"]
    (line,) = [line for line in service["ExecStartPre"] if "/bin/sh" in line]
    command = words(line, command=True)
    for name, path in zip(("/dev/nvidiactl", "/dev/nvidia-uvm"), devices):
        assert name in command[2]
        command[2] = command[2].replace("[ -e %s ]" % name, "[ -e %s ]" % path)
    return command[:2] + [command[2].replace("sleep 1;", "sleep 0.02;")]


@pytest.mark.parametrize("allow_cpu, status", [(False, 1), (True, 0)])
@pytest.mark.parametrize("there", [[], [0], [1]])
def test_the_wait_ends(render, tmp_path, allow_cpu, status, there):
    devices = [tmp_path / "one", tmp_path / "two"]
    for number in there:
        devices[number].touch()
    run = subprocess.run(wait_script(render, devices, allow_cpu, 2), capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode == status
    assert run.stderr.startswith("no /dev/nvidiactl or /dev/nvidia-uvm after 2 s: the GPU driver is not there")
    assert ("runs on the CPU" in run.stderr) == allow_cpu


def test_no_wait(render, tmp_path):
    devices = [tmp_path / "one", tmp_path / "two"]
    for device in devices:
        device.touch()
    run = subprocess.run(wait_script(render, devices, False, 0), capture_output=True, text=True, timeout=20, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_the_wait_sees_what_comes(render, tmp_path):
    devices = [tmp_path / "one", tmp_path / "two"]
    devices[0].touch()
    threading.Timer(0.1, devices[1].touch).start()
    run = subprocess.run(wait_script(render, devices, False, 500), capture_output=True, text=True, timeout=20, check=False)
    assert (run.returncode, run.stderr) == (0, "")
