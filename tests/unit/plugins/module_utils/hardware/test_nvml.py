# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import command, nvml
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware.accelerator import MIB, ProbeFailed
from ansible_collections.gpufleet.llm.tests.stand_ins.nvml.build import profile

NO_TOOLS = "/nonexistent/python"  # so this interpreter's nvidia-ml-py is used


def probe(timeout: float = 30):
    return nvml.probe(timeout, NO_TOOLS)


def test_eight_h100(nvml_machine):
    nvml_machine(profile("h100x8"))
    answer = probe()
    assert (answer.driver_version, answer.cuda_driver_version) == ("590.48.01", "13.1")
    assert [card.index for card in answer.accelerators] == list(range(8))
    first = answer.accelerators[0]
    assert first.usable and first.problem is None
    assert first.name == "NVIDIA H100 80GB HBM3"
    assert first.uuid == "GPU-00000000-1111-2222-3333-444444444444"
    assert first.pci_bus_id == "0000:1b:00.0"
    assert (first.memory_total_bytes, first.memory_free_bytes) == (81559 * MIB, 81081 * MIB)
    assert first.memory_reserved_bytes == 479 * MIB
    assert (first.compute_capability, first.architecture) == ("9.0", "Hopper")
    assert first.mig == {"enabled": False, "pending": False, "slices": []}
    assert first.nvlink_peers == [1, 2, 3, 4, 5, 6, 7]
    assert first.topology == {"1": "NODE", "2": "NODE", "3": "NODE", "4": "SYS", "5": "SYS", "6": "SYS", "7": "SYS"}
    assert first.pcie == {"gen_max": 5, "width_max": 16}
    assert first.ecc == {"enabled": True, "pending": True}
    assert (first.power_limit_w, first.persistence, first.compute_mode) == (700.0, True, "default")
    assert first.processes == []


def test_processes_are_counted_once_and_unknown_memory_is_null(nvml_machine):
    nvml_machine(profile("h100x8"))
    held = probe().accelerators[2].processes
    assert [(entry["pid"], entry["memory_bytes"]) for entry in held] == [
        (77, 18 * MIB),
        (4242, 20480 * MIB),
        (4343, None),
    ]


def test_two_l40s_have_no_nvlink_and_no_mig(nvml_machine):
    nvml_machine(profile("l40s-x2"))
    first, second = probe().accelerators
    assert first.nvlink_peers == second.nvlink_peers == []
    assert first.topology == {"1": "SYS"}
    assert first.mig is None
    assert first.memory_reserved_bytes is None  # a driver without the call
    assert first.architecture == "Ada Lovelace"


def test_nvlink_islands(nvml_machine):
    nvml_machine(profile("h100x8") + "nvlink = 0 1 2 3; 4 5 6 7\n")
    cards = probe().accelerators
    assert cards[1].nvlink_peers == [0, 2, 3]
    assert cards[6].nvlink_peers == [4, 5, 7]


def test_mig_slices_with_their_own_memory_and_processes(nvml_machine):
    nvml_machine(profile("h100-mig"))
    card = probe().accelerators[0]
    assert card.usable
    assert card.mig["enabled"]
    assert [piece["name"] for piece in card.mig["slices"]] == ["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"]
    first = card.mig["slices"][0]
    assert first["uuid"].startswith("MIG-")
    assert (first["gpu_instance_id"], first["compute_instance_id"]) == (2, 0)
    assert (first["memory_total_bytes"], first["memory_free_bytes"]) == (40448 * MIB, 29357 * MIB)
    assert [(entry["pid"], entry["memory_bytes"]) for entry in first["processes"]] == [(21198, 7484 * MIB)]
    assert card.mig["slices"][1]["processes"] == []


def test_gb10_shares_the_systems_memory(nvml_machine):
    nvml_machine(profile("gb10"))
    card = probe().accelerators[0]
    assert card.usable and card.memory_unified
    assert card.memory_total_bytes is None  # facts.py fills in the system's
    assert card.compute_capability == "12.1"
    assert card.pci_bus_id == "000f:01:00.0"
    assert (card.power_limit_w, card.ecc, card.pcie) == (None, None, {"gen_max": None, "width_max": None})


def test_a_gb10_whose_driver_does_report_memory_keeps_the_figure(nvml_machine):
    nvml_machine(profile("gb10") + "device.memory = 128000000000 100000000000\n")
    card = probe().accelerators[0]
    assert card.memory_unified and card.memory_total_bytes == 128000000000


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("device.1.handle = !15\n", "GPU is lost"),
        ("device.1.handle = !999\n", "Unknown Error"),
        ("device.1.name = !15\n", "GPU is lost"),
        ("device.1.memory = !16\n", "GPU requires restart"),
        ("device.1.memory = !3\n", "does not say how much memory"),
        ("device.1.fabric = 2 0\n", "nvidia-fabricmanager"),
        ("device.1.fabric = 1 0\n", "error 802"),
        ("device.1.fabric = 3 999\n", "NVML status 999"),
    ],
)
def test_one_bad_gpu_leaves_the_other_alone(nvml_machine, lines, words):
    nvml_machine(profile("l40s-x2") + lines)
    good, bad = probe().accelerators
    assert good.usable and good.memory_total_bytes == 46068 * MIB
    assert not bad.usable
    assert words in bad.problem


def test_a_dead_gpu_has_no_links(nvml_machine):
    nvml_machine(profile("h100x8") + "device.3.handle = !15\n")
    cards = probe().accelerators
    assert cards[3].nvlink_peers == []
    assert 3 not in cards[0].nvlink_peers and "3" not in cards[0].topology
    assert len(cards[0].nvlink_peers) == 6


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (9, "not_loaded", "Driver Not Loaded"),
        (18, "mismatch", "version mismatch"),
        (4, "permission", "Insufficient Permissions"),
        (12, "absent", "libnvidia-ml.so.1 is not installed"),
        (999, "error", "Unknown Error"),
    ],
)
def test_nvml_does_not_start(nvml_machine, code, kind, words):
    nvml_machine(profile("l40s-x2") + "init = !%d\n" % code)
    with pytest.raises(ProbeFailed) as failed:
        probe()
    assert failed.value.kind == kind
    assert words in str(failed.value)


def test_an_older_drivers_calls_are_used(nvml_machine, old_nvml_library):
    nvml_machine(profile("l40s-x2") + "device.0.compute.0 = 11 1048576\n", old_nvml_library)
    assert [entry["pid"] for entry in probe().accelerators[0].processes] == [11]


@pytest.mark.parametrize("where", ["init = hang\n", "device.1.memory = hang\n"])
def test_a_hanging_driver_is_cut_off(nvml_machine, where):
    nvml_machine(profile("l40s-x2") + where)
    started = time.monotonic()
    with pytest.raises(ProbeFailed) as failed:
        probe(timeout=2)
    assert failed.value.kind == "hung"
    assert "2 seconds" in str(failed.value)
    assert time.monotonic() - started < 6


def test_no_nvidia_ml_py_anywhere(monkeypatch):
    monkeypatch.setattr(command, "run", lambda *a, **k: command.Result(0, json.dumps({"missing": "pynvml"}), ""))
    with pytest.raises(ProbeFailed) as failed:
        nvml.probe(5, "/bin/sh")
    assert failed.value.kind == "absent"
    assert "tools_python=/bin/sh" in str(failed.value)


def test_the_tools_environment_comes_first(monkeypatch):
    asked = []

    def run(argv, *arguments, **options):
        asked.append(argv[0])
        return command.Result(0, json.dumps({"missing": "pynvml"}), "")

    monkeypatch.setattr(command, "run", run)
    with pytest.raises(ProbeFailed):
        nvml.probe(5, "/bin/sh")
    assert asked[0] == "/bin/sh" and len(asked) == 2


def test_a_crash_of_the_library_is_an_answer(nvml_machine, monkeypatch):
    nvml_machine("")
    monkeypatch.setenv("NVML_PROFILE", "/nonexistent")  # the stand-in then ends the whole process
    with pytest.raises(ProbeFailed) as failed:
        probe()
    assert "code 99" in str(failed.value)
