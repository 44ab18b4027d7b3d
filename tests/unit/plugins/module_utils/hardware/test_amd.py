# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import amd, command, pci


def probe(root, monkeypatch, tools):
    """Ask with exactly these tools on the host: name -> what it prints, or an exception."""

    def run(argv, timeout, *rest):
        said = tools[argv[0].rpartition("/")[2]]
        if isinstance(said, Exception):
            raise said
        return command.Result(0, said, "")

    monkeypatch.setattr(amd.command, "find", lambda name, extra=(): "/opt/" + name if name in tools else None)
    monkeypatch.setattr(amd.command, "run", run)
    return amd.probe(pci.probe(root).cards, 5, root)


AMD_SMI = """[{"gpu": 0, "asic": {"market_name": "AMD Instinct MI300X", "vendor_id": "0x1002"},
"bus": {"bdf": "0000:85:00.0", "max_pcie_width": 16}}]"""
AMD_SMI_NEWER = '{"gpu_data": %s}' % AMD_SMI
ROCM_SMI = '{"card0": {"Card Series": "AMD Instinct MI300X", "PCI Bus": "0000:85:00.0", "Unique ID": "0x1"}}'


@pytest.mark.parametrize(
    "tools", [{"amd-smi": AMD_SMI}, {"amd-smi": AMD_SMI_NEWER, "rocm-smi": "not asked"}, {"rocm-smi": ROCM_SMI}]
)
def test_an_mi300x(tree, monkeypatch, tools):
    (card,) = probe(tree("mi300x"), monkeypatch, tools)
    facts = card.facts()
    assert facts["name"] == "AMD Instinct MI300X"
    assert facts["vendor"] == "amd"
    assert facts["uuid"] == "GPU-9df5b1f8b7a1c2d3"
    assert facts["architecture"] == "gfx942"
    assert (facts["memory_total_bytes"], facts["memory_free_bytes"]) == (206141652992, 206141652992 - 297795584)
    assert not facts["memory_unified"]
    assert (facts["driver"], facts["numa_node"]) == ("amdgpu", 1)
    assert facts["processes"] == [{"pid": 900, "name": None, "memory_bytes": 268435456}]
    assert not facts["usable"] and "for Ollama only" in facts["problem"]


@pytest.mark.parametrize(
    "tools",
    [
        {},
        {"amd-smi": "not json"},
        {"amd-smi": command.TimedOut("x")},
        {"amd-smi": "[1, null]"},
        {"amd-smi": '{"a": 1}'},
    ],
)
def test_without_a_tools_answer_sysfs_is_enough(tree, monkeypatch, tools):
    (card,) = probe(tree("mi300x"), monkeypatch, tools)
    assert card.name == "AMD GPU [1002:74a1]"
    assert card.memory_total_bytes == 206141652992


def test_no_amd_card_asks_nobody(tree, monkeypatch):
    assert probe(tree("h100x2-nvswitch"), monkeypatch, {"amd-smi": AssertionError("asked")}) == []


@pytest.mark.parametrize(
    ("version", "target"), [(90402, "gfx942"), (90010, "gfx90a"), (110000, "gfx1100"), (120001, "gfx1201"), (0, None)]
)
def test_gfx_targets(version, target):
    assert amd.gfx_target(version) == target
