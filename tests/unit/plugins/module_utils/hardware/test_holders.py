# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose processes hold memory on which GPU."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import holders
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware.accelerator import Answer, ProbeFailed
from ansible_collections.gpufleet.llm.plugins.module_utils.services import control_group

GIB = 2**30
SERVICE = "/system.slice/vllm-chat.service"
CONTAINER = "5f0c" * 16
CARDS = [
    {"index": 0, "uuid": "GPU-a", "mig": None, "problem": None, "processes": [
        {"pid": 10, "memory_bytes": 20 * GIB}, {"pid": 11, "memory_bytes": None}, {"pid": 99, "memory_bytes": GIB}]},
    {"index": 1, "uuid": "GPU-b", "problem": None, "processes": [{"pid": 99, "memory_bytes": GIB}], "mig": {"slices": [
        {"uuid": "MIG-1", "processes": [{"pid": 12, "memory_bytes": GIB}]}, {"uuid": None, "processes": []}]}},
    {"index": 2, "uuid": None, "mig": None, "problem": "lost", "processes": []},
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> str:
    groups = {
        10: "0::%s\n" % SERVICE,
        11: "9:name=systemd:/\n0::%s/libpod-payload-%s/init.scope\n" % (SERVICE, CONTAINER),
        12: "4:memory:/x\n1:name=systemd:%s\n" % SERVICE,
        20: "0::/system.slice/docker-%s.scope/init.scope\n" % CONTAINER,
        21: "0::/docker/%s\n" % CONTAINER,
        99: "0::%s-other.service\n" % SERVICE[: -len(".service")],
    }
    for pid, text in groups.items():
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize(
    "device, processes, memory, others",
    [
        ("GPU-a", 2, 20 * GIB, 1),
        ("0", 2, 20 * GIB, 1),
        ("MIG-1", 1, GIB, 0),
        ("GPU-b", 0, 0, 1),
        ("2", 0, 0, 0),
        ("GPU-x", 0, 0, 0),
    ],
)
def test_rows(root: str, device: str, processes: int, memory: int, others: int) -> None:
    (row,) = holders.rows(CARDS, [device], holders.in_group(SERVICE, root))
    assert (row["processes"], row["memory_bytes"], row["other_processes"]) == (processes, memory, others)
    assert row["found"] == (device != "GPU-x") and row["problem"] == ("lost" if device == "2" else None)
    assert holders.missing([row]) == ([] if processes else [device])


def test_the_words(root: str) -> None:
    found = holders.rows(CARDS, ["GPU-a", "GPU-b", "GPU-x"], holders.in_group(SERVICE, root))
    assert holders.fallback("vllm-chat.service", found) == (
        "no process of vllm-chat.service holds memory on GPU-b, GPU-x, so it does not run where the plan says (GPU-a: 2 of its "
        "processes with 20480 MiB, 1 others with 1024 MiB; GPU-b: 0 of its processes with 0 MiB, 1 others with 1024 MiB; GPU-x: "
        "the driver does not list it)"
    )


def test_a_process_that_ended_meanwhile_is_nobodys(root: str) -> None:
    assert not holders.in_group(SERVICE, root)({"pid": 12345})


def fails(kind: str) -> t.Callable[..., Answer]:
    def ask(*_arguments: t.Any) -> Answer:
        raise ProbeFailed(kind, kind)

    return ask


def test_nvidia_smi_is_asked_when_nvml_cannot_be() -> None:
    answer = Answer([])
    assert holders.ask(1, "", lambda *_: answer, fails("error")) is answer
    assert holders.ask(1, "", fails("absent"), lambda _timeout: answer) is answer
    for nvml, smi, kind in [("absent", "mismatch", "mismatch"), ("error", "absent", "error"), ("hung", "error", "hung")]:
        with pytest.raises(ProbeFailed) as caught:
            holders.ask(1, "", fails(nvml), fails(smi))
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    "said, group",
    [
        (CONTAINER + " 20\n", "/system.slice/docker-%s.scope" % CONTAINER),
        (CONTAINER + " 21\n", "/docker/" + CONTAINER),
        (CONTAINER + " 11\n", SERVICE + "/libpod-payload-" + CONTAINER),
        (CONTAINER + " 0\n", None),
        (CONTAINER + " 12345\n", None),
        ("", None),
    ],
)
def test_the_group_of_a_container(root: str, said: str, group: t.Optional[str]) -> None:
    assert control_group.of_container("docker", "vllm-chat", lambda argv: said, root) == group


def test_a_container_that_nobody_knows() -> None:
    def runner(argv: t.List[str]) -> str:
        raise GpufleetError("docker ended with 1: no such object")

    with pytest.raises(GpufleetError, match="container vllm-chat: docker ended with 1"):
        control_group.of_container("docker", "vllm-chat", runner)
