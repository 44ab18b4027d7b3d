# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import stat
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import nvidia_smi
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware.accelerator import MIB, ProbeFailed


def only(text):
    answer = nvidia_smi.parse(text)
    assert len(answer.accelerators) == 1
    return answer.accelerators[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "pro6000-blackwell-590.xml",
            {
                "name": "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
                "architecture": "Blackwell",
                "uuid": "GPU-12345678-aaaa-bbbb-cccc-0123456789ab",
                "pci_bus_id": "0000:61:00.0",
                "memory_total_bytes": 97887 * MIB,
                "memory_free_bytes": 31531 * MIB,
                "memory_reserved_bytes": 637 * MIB,
                "pcie": {"gen_max": 4, "width_max": 16},
                "ecc": {"enabled": False, "pending": False},
                "power_limit_w": 300.0,
                "persistence": True,
                "compute_mode": "default",
                "mig": None,
                "processes": [
                    {
                        "pid": 116860,
                        "name": "/root/src/llama.cpp/build/bin/llama-server",
                        "memory_bytes": 65710 * MIB,
                    }
                ],
            },
        ),
        (
            "t4-515.xml",  # an older report: power_readings; 8 of 16 lanes in use
            {
                "name": "Tesla T4",
                "architecture": "Turing",
                "pci_bus_id": "0000:00:1e.0",
                "memory_total_bytes": 15360 * MIB,
                "pcie": {"gen_max": 3, "width_max": 16},
                "ecc": {"enabled": True, "pending": True},
                "power_limit_w": 70.0,
                "persistence": False,
                "processes": [
                    {"pid": 675, "name": "/usr/lib/xorg/Xorg", "memory_bytes": 22 * MIB},
                    {"pid": 5762, "name": "python", "memory_bytes": 1005 * MIB},
                ],
            },
        ),
        (
            "rtx-3080-v13.xml",
            {
                "architecture": "Ampere",
                "pci_bus_id": "0000:0c:00.0",
                "ecc": None,
                "power_limit_w": 320.0,
                "processes": [],
                "problem": None,
            },
        ),
        (
            "gtx-1070-ti-v10.xml",  # nearly everything is missing
            {
                "name": "GeForce GTX 1070 Ti",
                "pci_bus_id": "0000:01:00.0",
                "memory_free_bytes": 4054 * MIB,
                "architecture": None,
                "pcie": {"gen_max": None, "width_max": None},
                "power_limit_w": None,
                "persistence": None,
                "usable": True,
            },
        ),
        (
            "gb10-580.xml",
            {
                "memory_total_bytes": None,
                "memory_unified": True,
                "usable": True,
                "power_limit_w": None,
                "pci_bus_id": "000f:01:00.0",
                "processes": [
                    {"pid": 100, "name": "python", "memory_bytes": 20434 * MIB},
                    {"pid": 300, "name": "unknown", "memory_bytes": None},
                ],
            },
        ),
    ],
)
def test_reports(capture, name, expected):
    facts = only(capture(name)).facts()
    assert {key: facts[key] for key in expected} == expected


def test_versions(capture):
    answer = nvidia_smi.parse(capture("rtx-3080-v13.xml"))
    assert (answer.driver_version, answer.cuda_driver_version) == ("595.58.03", "13.2")


def test_mig_report_of_an_a100(capture):
    card = only(capture("a100-mig-535.xml"))
    assert card.mig["enabled"] and card.mig["pending"]
    assert [piece["gpu_instance_id"] for piece in card.mig["slices"]] == [3, 4, 5, 6]
    assert {piece["memory_total_bytes"] for piece in card.mig["slices"]} == {19968 * MIB}


def test_mig_slices_get_names_and_uuids_from_the_listing(capture):
    answer = nvidia_smi.parse(capture("h100-mig-590.xml"))
    nvidia_smi.add_slice_names(answer.accelerators, capture("h100-mig-590.listing.txt"))
    slices = answer.accelerators[0].mig["slices"]
    assert [(piece["name"], piece["uuid"][:12]) for piece in slices] == [
        ("3g.40gb", "MIG-00000000"),
        ("2g.20gb", "MIG-00000001"),
        ("1g.10gb", "MIG-00000002"),
        ("1g.10gb", "MIG-00000003"),
    ]
    assert [entry["pid"] for entry in slices[0]["processes"]] == [21180, 21198]
    assert slices[1]["processes"] == []


def test_slices_that_changed_between_the_calls_stay_unnamed(capture):
    answer = nvidia_smi.parse(capture("h100-mig-590.xml"))
    shorter = "\n".join(capture("h100-mig-590.listing.txt").splitlines()[:-1])
    nvidia_smi.add_slice_names(answer.accelerators, shorter)
    assert {piece["uuid"] for piece in answer.accelerators[0].mig["slices"]} == {None}


def test_one_lost_gpu(capture):
    good, bad = nvidia_smi.parse(capture("l40s-one-lost.xml")).accelerators
    assert good.usable and good.memory_total_bytes == 46068 * MIB
    assert not bad.usable and "GPU is lost" in bad.problem
    assert (bad.memory_total_bytes, bad.power_limit_w) == (None, None)


@pytest.mark.parametrize(
    "said",
    [
        "N/A",
        "[N/A]",
        "[Not Supported]",
        "Not Supported",
        "[Insufficient Permissions]",
        "[Unknown Error]",
        "[GPU is lost]",
        "[Requested functionality has been deprecated]",
        "Requested functionality has been deprecated",
        "",
    ],
)
def test_non_values_are_null(capture, said):
    text = (
        capture("rtx-3080-v13.xml")
        .replace("10240 MiB", said)
        .replace("320.00 W", said)
        .replace(">Disabled<", ">%s<" % said)
    )
    card = only(text)
    assert card.memory_total_bytes is None and card.power_limit_w is None and card.persistence is None
    assert not card.usable  # a GPU without a memory figure cannot be planned for


def test_topology_matrix_with_escape_codes(capture):
    cards = [nvidia_smi.Accelerator(index=index, vendor="nvidia", name="x") for index in range(4)]
    nvidia_smi.add_topology(cards, capture("topology-nvlink-pairs.txt"))
    assert [card.nvlink_peers for card in cards] == [[1], [0], [3], [2]]
    assert cards[0].topology == {"2": "NODE", "3": "SYS"}


def test_capabilities_skip_what_is_no_number():
    cards = [nvidia_smi.Accelerator(index=n, vendor="nvidia", name="x", uuid="GPU-%d" % n) for n in range(2)]
    nvidia_smi.add_capabilities(cards, "GPU-0, 8.9\nGPU-1, [N/A]\n")
    assert [card.compute_capability for card in cards] == ["8.9", None]


def test_something_else_than_a_report():
    with pytest.raises(ProbeFailed, match="not the report we know"):
        nvidia_smi.parse("<nvidia_smi_log><gpu>")


@pytest.fixture
def program(tmp_path):
    """An nvidia-smi that does what the shell lines say."""

    def make(lines):
        path = tmp_path / "nvidia-smi"
        path.write_text("#!/bin/sh\n" + lines + "\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


def test_all_calls_together(program, tmp_path, capture):
    (tmp_path / "report.xml").write_text(capture("h100-mig-590.xml"))
    (tmp_path / "listing").write_text(capture("h100-mig-590.listing.txt"))
    here = program("""cd "$(dirname "$0")"
        case "$1" in
          -q) cat report.xml ;;
          -L) cat listing ;;
          --query-gpu=uuid,compute_cap) echo "GPU-00000000-0000-0000-0000-000000000000, 9.0" ;;
          *) echo "unknown" >&2; exit 2 ;;
        esac""")
    card = nvidia_smi.probe(10, (), here).accelerators[0]
    assert card.compute_capability == "9.0"
    assert card.mig["slices"][1]["name"] == "2g.20gb"


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "mismatch"),
        ('echo "NVIDIA-SMI has failed because it couldn\'t communicate with the NVIDIA driver."; exit 9', "not_loaded"),
        ("echo 'Failed to initialize NVML: Insufficient Permissions' >&2; exit 4", "permission"),
        ('echo "NVIDIA-SMI couldn\'t find libnvidia-ml.so library in your system."; exit 12', "absent"),
        ("echo 'No devices were found'; exit 6", "no_devices"),
        ("echo 'Failed to initialize NVML: Unknown Error'; exit 255", "error"),
        ("exit 9", "not_loaded"),
        ("exit 1", "error"),
    ],
)
def test_failures(program, lines, kind):
    with pytest.raises(ProbeFailed) as failed:
        nvidia_smi.probe(10, (), program(lines))
    assert failed.value.kind == kind
    assert str(failed.value)


def test_it_hangs(program):
    started = time.monotonic()
    with pytest.raises(ProbeFailed) as failed:
        nvidia_smi.probe(1, (), program("sleep 60"))
    assert failed.value.kind == "hung"
    assert time.monotonic() - started < 5


def test_an_extra_hangs_but_the_report_counts(program, tmp_path, capture):
    (tmp_path / "report.xml").write_text(capture("rtx-3080-v13.xml"))
    answer = nvidia_smi.probe(2, (), program('[ "$1" = -q ] && exec cat "$(dirname "$0")/report.xml"; sleep 60'))
    assert answer.accelerators[0].usable
    assert answer.accelerators[0].compute_capability is None
    assert "no answer" in answer.warnings[0]


def test_one_dead_gpu_that_spoils_the_report_of_all(program, tmp_path, capture):
    (tmp_path / "report.xml").write_text(capture("rtx-3080-v13.xml"))
    here = program("""case "$*" in
          "-q -x -i 0000:0c:00.0") exec cat "$(dirname "$0")/report.xml" ;;
          "--query-gpu=uuid,compute_cap"*) echo "GPU-19d6d965-2acc-f646-00f8-4c76979aabb4, 8.6" ;;
          *) echo "Unable to determine the device handle for GPU0000:0B:00.0: Unknown Error"; exit 255 ;;
        esac""")
    answer = nvidia_smi.probe(10, ["0000:0b:00.0", "0000:0c:00.0"], here)
    dead, good = answer.accelerators
    assert (dead.index, dead.usable, dead.pci_bus_id) == (0, False, "0000:0b:00.0")
    assert "Unable to determine the device handle" in dead.problem
    assert (good.index, good.usable, good.compute_capability) == (1, True, "8.6")
    assert answer.driver_version == "595.58.03"


def test_not_installed(monkeypatch):
    monkeypatch.setattr(nvidia_smi.command, "find", lambda name: None)
    with pytest.raises(ProbeFailed) as failed:
        nvidia_smi.probe(5)
    assert failed.value.kind == "absent"
