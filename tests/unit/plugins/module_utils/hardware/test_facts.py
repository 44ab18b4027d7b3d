# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import threading
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import facts, nvidia_smi, nvml
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware.accelerator import (
    MIB,
    Accelerator,
    Answer,
    ProbeFailed,
    bus_id,
)
from ansible_collections.gpufleet.llm.tests.stand_ins.nvml.build import profile

KEYS = {
    "schema",
    "accelerators",
    "nvswitches",
    "driver_version",
    "cuda_driver_version",
    "environment",
    "cpu",
    "memory_total_bytes",
    "memory_available_bytes",
    "disks",
    "sources",
    "warnings",
}
ABSENT = ProbeFailed("absent", "not installed")


def collect(root, nvml=ABSENT, smi=ABSENT, paths=(), timeout=5):
    """Facts with these answers of NVML and nvidia-smi: an Answer, or what is raised."""

    def answering(said):
        def ask(*_arguments):
            if isinstance(said, Exception):
                raise said
            return said

        return ask

    return facts.collect(list(paths), timeout, "/nonexistent", root, answering(nvml), answering(smi))


def h100(index, address):
    return Accelerator(
        index=index,
        vendor="nvidia",
        name="NVIDIA H100 80GB HBM3",
        uuid="GPU-%d" % index,
        pci_bus_id=address,
        memory_total_bytes=81559 * MIB,
        memory_free_bytes=81081 * MIB,
        compute_capability="9.0",
    )


def two_h100():
    return Answer([h100(0, "0000:1b:00.0"), h100(1, "0000:43:00.0")], "590.48.01", "13.1")


def test_the_contract_on_a_gpu_host(tree):
    hardware = collect(tree("h100x2-nvswitch"), nvml=two_h100())
    assert set(hardware) == KEYS
    assert json.loads(json.dumps(hardware)) == hardware
    assert hardware["schema"] == "gpufleet.hardware/1"
    first, second = hardware["accelerators"]
    assert set(first) == {field.name for field in dataclasses.fields(Accelerator)}
    assert (first["driver"], first["numa_node"], second["numa_node"]) == ("nvidia", 0, 1)
    assert first["architecture"] == "Hopper"
    assert first["pcie"] == {"gen_max": 5, "width_max": 16}  # from the bus, where NVML does not say
    assert hardware["nvswitches"] == 4
    assert (hardware["driver_version"], hardware["cuda_driver_version"]) == ("590.48.01", "13.1")
    assert hardware["sources"]["nvml"] == "ok"
    assert hardware["sources"]["nvidia_smi"] == "not needed: NVML answered"
    assert hardware["warnings"] == []


def test_a_cpu_host_is_a_normal_answer(tree):
    hardware = collect(tree("xeon"))
    assert hardware["accelerators"] == []
    assert hardware["environment"] == "bare"
    assert hardware["driver_version"] is None
    assert hardware["memory_total_bytes"] == 64 * 2**30
    assert hardware["sources"]["nvml"] == "not installed"
    assert hardware["warnings"] == []


def test_nvidia_smi_answers_where_nvml_cannot(tree, capture):
    said = nvidia_smi.parse(capture("pro6000-blackwell-590.xml"))
    more = "proc/116860/cmdline = /usr/bin/llama-server\\x00--api-key\\x00sk-1\nproc/116860/cgroup = 0::/system.slice/llama.service\n"
    hardware = collect(tree("xeon", more), smi=said)
    assert hardware["sources"]["nvml"] == "not installed"
    assert hardware["sources"]["nvidia_smi"] == "ok"
    assert hardware["accelerators"][0]["processes"] == [
        {"pid": 116860, "name": "llama-server", "memory_bytes": 65710 * MIB, "unit": "llama.service"}
    ]


def test_cards_without_a_driver(tree):
    cards = collect(tree("no-driver"))["accelerators"]
    assert [card["index"] for card in cards] == [0, 1, 2, 3]
    assert not any(card["usable"] for card in cards)
    words = ["open kernel modules", "blacklist nouveau", "virtual machine", "branch 580, the last"]
    assert [word for card, word in zip(cards, words) if word not in card["problem"]] == []
    assert cards[0]["memory_total_bytes"] is None


@pytest.mark.parametrize(
    ("nvml", "smi", "words"),
    [
        (ProbeFailed("mismatch", "version mismatch"), ABSENT, "reboot, or stop everything"),
        (ABSENT, ProbeFailed("mismatch", "version mismatch"), "reload the nvidia modules"),
        (ProbeFailed("permission", "denied"), ABSENT, "run with become"),
        (ProbeFailed("hung", "no answer within 15 seconds"), ABSENT, "does not answer (no answer within 15 seconds)"),
        (ProbeFailed("error", "Unknown Error"), ABSENT, "driver fails (Unknown Error)"),
        (ProbeFailed("not_loaded", "Driver Not Loaded"), ABSENT, "modprobe nvidia"),
        (ABSENT, ProbeFailed("no_devices", "No devices were found"), "lists no GPU"),
        (ABSENT, ABSENT, "user space"),
        (Answer([]), ABSENT, "does not list it"),
    ],
)
def test_the_driver_fails(tree, nvml, smi, words):
    cards = collect(tree("h100x2-nvswitch"), nvml, smi)["accelerators"]
    assert len(cards) == 2
    for card in cards:
        assert not card["usable"]
        assert words in card["problem"]


def test_the_module_is_not_loaded_and_nothing_is_bound(tree):
    cards = collect(tree("no-driver"), nvml=ProbeFailed("not_loaded", "Driver Not Loaded"))["accelerators"]
    assert "modprobe nvidia" in cards[0]["problem"]
    assert "nouveau" in cards[1]["problem"]


def test_after_a_hang_nvidia_smi_is_not_sent_into_the_same_trap(tree):
    hardware = collect(tree("h100x2-nvswitch"), ProbeFailed("hung", "no answer"), AssertionError("asked"))
    assert hardware["sources"]["nvidia_smi"] == "not asked: NVML hung"


def test_one_dead_gpu_is_matched_to_its_place_on_the_bus(tree):
    dead = Accelerator(index=1, vendor="nvidia", name="NVIDIA GPU")
    dead.refuse("gone")
    cards = collect(tree("h100x2-nvswitch"), nvml=Answer([h100(0, "0000:1b:00.0"), dead]))["accelerators"]
    assert [(card["index"], card["usable"], card["pci_bus_id"]) for card in cards] == [
        (0, True, "0000:1b:00.0"),
        (1, False, "0000:43:00.0"),
    ]
    assert cards[1]["problem"] == "gone"


def test_a_mixed_host_keeps_nvmls_indices_and_appends_the_rest(tree):
    more = "".join(
        "sys/bus/pci/devices/0000:f1:00.0/%s\n" % line
        for line in ("vendor = 0x10de", "device = 0x1eb8", "class = 0x030200", "numa_node = 1")
    )
    cards = collect(tree("h100x2-nvswitch", more), nvml=two_h100())["accelerators"]
    assert [(card["index"], card["usable"], card["architecture"]) for card in cards] == [
        (0, True, "Hopper"),
        (1, True, "Hopper"),
        (2, False, "Turing"),
    ]


@pytest.mark.parametrize(("answer", "seen", "elsewhere"), [(Answer([h100(0, "0000:1b:00.0")]), 1, 1), (ABSENT, 0, 2)])
def test_a_container_reports_only_its_own_gpus(tree, answer, seen, elsewhere):
    hardware = collect(tree("h100x2-nvswitch", ".dockerenv = \n"), nvml=answer)
    assert len(hardware["accelerators"]) == seen
    assert hardware["warnings"][0].startswith("%d NVIDIA GPU(s) of the host are not given" % elsewhere)


def test_a_container_that_lost_its_devices(tree):
    hardware = collect(tree("h100x2-nvswitch", ".dockerenv = \n"), nvml=ProbeFailed("error", "Unknown Error"))
    assert "daemon-reload" in hardware["accelerators"][0]["problem"]


def test_gb10_shows_the_systems_memory(tree, capture):
    hardware = collect(tree("xeon"), smi=nvidia_smi.parse(capture("gb10-580.xml")))
    (card,) = hardware["accelerators"]
    assert card["usable"] and card["memory_unified"]
    assert (card["memory_total_bytes"], card["memory_free_bytes"]) == (64 * 2**30, 48 * 2**30)
    assert "shares the system's memory" in hardware["warnings"][0]


def test_a_jetson_without_nvml(tree):
    hardware = collect(tree("xeon", "proc/device-tree/model = NVIDIA Jetson AGX Orin Developer Kit\\x00\n"))
    (card,) = hardware["accelerators"]
    assert hardware["environment"] == "jetson"
    assert (card["name"], card["compute_capability"]) == ("NVIDIA Jetson AGX Orin Developer Kit", "8.7")
    assert card["memory_unified"] and card["memory_total_bytes"] == 64 * 2**30
    assert not card["usable"] and "JetPack 6" in card["problem"]


def test_wsl_without_the_driver_in_windows(tree):
    hardware = collect(tree("xeon", "dev/dxg = \n"))
    assert (hardware["environment"], hardware["accelerators"]) == ("wsl", [])
    assert "in Windows" in hardware["warnings"][0]


def test_wsl_with_a_gpu(tree, capture):
    hardware = collect(tree("xeon", "dev/dxg = \n"), nvml=nvidia_smi.parse(capture("rtx-3080-v13.xml")))
    (card,) = hardware["accelerators"]
    assert card["usable"] and card["driver"] is None  # no PCI device inside WSL
    assert hardware["warnings"] == []


def test_mig_without_slices_and_prohibited_compute_mode(tree):
    answer = two_h100()
    answer.accelerators[0].mig = {"enabled": True, "pending": True, "slices": []}
    answer.accelerators[1].compute_mode = "prohibited"
    first, second = collect(tree("h100x2-nvswitch"), nvml=answer)["accelerators"]
    assert "nvidia-smi mig -i 0 -cgi" in first["problem"]
    assert "nvidia-smi -i 1 -c DEFAULT" in second["problem"]
    assert not first["usable"] and not second["usable"]


def test_processes_on_a_slice_get_their_unit(tree):
    answer = two_h100()
    piece = {"uuid": "MIG-1", "name": "1g.10gb", "processes": [{"pid": 5, "name": "python x", "memory_bytes": 1}]}
    answer.accelerators[0].mig = {"enabled": True, "pending": True, "slices": [piece]}
    root = tree("h100x2-nvswitch", "proc/5/cgroup = 0::/system.slice/vllm-a.service\n")
    (held,) = collect(root, nvml=answer)["accelerators"][0]["mig"]["slices"][0]["processes"]
    assert held == {"pid": 5, "name": "python", "memory_bytes": 1, "unit": "vllm-a.service"}


def test_amd_cards_follow(tree):
    (card,) = collect(tree("mi300x"))["accelerators"]
    assert (card["vendor"], card["index"], card["usable"]) == ("amd", 0, False)
    assert card["processes"] == [
        {"pid": 900, "name": "ollama", "memory_bytes": 268435456, "unit": "ollama.service"},
    ]


@pytest.mark.parametrize("name", ["environment", "pci", "cpu", "memory", "amd"])
def test_a_broken_probe_is_an_entry_of_sources(tree, monkeypatch, name):
    def broken(*_arguments, **_options):
        raise RuntimeError("strange machine")

    where = {"pci": facts.pci, "amd": facts.amd}.get(name, facts.host)
    monkeypatch.setattr(where, "probe" if name in ("pci", "amd") else name, broken)
    hardware = collect(tree("h100x2-nvswitch"), nvml=two_h100())
    assert hardware["sources"][name] == "RuntimeError('strange machine')"
    assert len(hardware["accelerators"]) == 2


def test_a_broken_nvml_probe_leaves_nvidia_smi(tree, capture):
    hardware = collect(tree("xeon"), KeyError("devices"), nvidia_smi.parse(capture("rtx-3080-v13.xml")))
    assert hardware["sources"]["nvml"] == "KeyError('devices')"
    assert hardware["accelerators"][0]["usable"]


def test_a_disk_that_hangs_costs_the_timeout_only(tree, monkeypatch):
    held = threading.Event()
    measure = facts.host.disk
    monkeypatch.setattr(facts.host, "disk", lambda path: held.wait(30) if path == "/dead" else measure(path))
    started = time.monotonic()
    hardware = collect(tree("xeon"), paths=["/dead", "/"], timeout=1)
    held.set()
    assert time.monotonic() - started < 10
    assert [disk["path"] for disk in hardware["disks"]] == ["/"]
    assert hardware["sources"]["disks"] == "/dead: no answer within 1 seconds"
    assert "/dead" in hardware["warnings"][0]


def test_a_limited_group_is_a_warning(tree):
    root = tree("xeon", "proc/self/cgroup = 0::/\nsys/fs/cgroup/memory.max = 8589934592\n")
    hardware = collect(root)
    assert hardware["memory_total_bytes"] == 8 * 2**30
    assert "control group limits memory" in hardware["warnings"][0]


def test_the_whole_way_with_the_real_nvidia_ml_py(tree, nvml_machine):
    """No seam: eight H100 through the C library, nvidia-ml-py, the subprocess and the merge."""
    nvml_machine(profile("h100x8"))
    root = tree("h100x2-nvswitch", "proc/4242/cgroup = 0::/system.slice/vllm-chat.service\n")
    hardware = facts.collect([], 30, "/nonexistent", root)
    assert hardware["sources"]["nvml"] == "ok"
    assert len(hardware["accelerators"]) == 8
    assert [card["driver"] for card in hardware["accelerators"][:2]] == ["nvidia", "nvidia"]
    held = hardware["accelerators"][2]["processes"]
    assert {entry["pid"]: (entry["name"], entry["unit"]) for entry in held} == {
        77: ("Xorg", None),
        4242: ("python", "vllm-chat.service"),
        4343: (None, None),
    }
    assert "sk-leaked" not in json.dumps(hardware)


def test_probes_are_the_defaults():
    assert facts.collect.__defaults__ == ("/", nvml.probe, nvidia_smi.probe)


@pytest.mark.parametrize(
    ("said", "sysfs"),
    [("00000000:0C:00.0", "0000:0c:00.0"), ("0000000F:01:00.0", "000f:01:00.0"), ("", None), (None, None), ("x", None)],
)
def test_bus_ids(said, sysfs):
    assert bus_id(said) == sysfs
