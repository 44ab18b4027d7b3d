# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import pci, problems


def test_gpus_switches_and_nothing_else(tree):
    bus = pci.probe(tree("h100x2-nvswitch"))
    assert bus.nvswitches == 4
    assert bus.nvidia_module == "590.48.01, open"
    assert [(card.bus_id, card.vendor, card.driver, card.numa_node) for card in bus.cards] == [
        ("0000:1b:00.0", "nvidia", "nvidia", 0),
        ("0000:43:00.0", "nvidia", "nvidia", 1),
    ]
    first = bus.cards[0]
    assert (first.gen_max, first.width_max, first.architecture) == (5, 16, "Hopper")
    assert first.name == "NVIDIA Hopper GPU [10de:2330]"


def test_cards_without_the_driver(tree):
    bus = pci.probe(tree("no-driver"))
    assert bus.nvidia_module is None
    assert [(card.name, card.driver, card.numa_node) for card in bus.cards] == [
        ("NVIDIA Blackwell GPU [10de:2bb1]", None, None),
        ("NVIDIA Ampere GPU [10de:2204]", "nouveau", 0),
        ("NVIDIA AD102GL [L40S]", "vfio-pci", 0),
        ("NVIDIA GV100GL [Tesla V100 PCIe 32GB]", None, 0),
    ]
    assert bus.cards[3].width_max is None  # 255: the link is down


def test_a_machine_without_pci(tmp_path):
    assert pci.probe(str(tmp_path)) == pci.Bus([], 0, None)


@pytest.mark.parametrize(
    ("device_id", "name"),
    [
        (0x13C2, "Maxwell"),  # GTX 970
        (0x15F8, "Pascal"),  # P100
        (0x17C8, "Maxwell"),  # GTX 980 Ti
        (0x1B38, "Pascal"),  # P40
        (0x1DB6, "Volta"),  # V100
        (0x1EB8, "Turing"),  # T4
        (0x20B2, "Ampere"),  # A100
        (0x2182, "Turing"),  # GTX 1660 Ti
        (0x2216, "Ampere"),  # RTX 3080
        (0x2230, "Ampere"),  # RTX A6000
        (0x2335, "Hopper"),  # H200
        (0x2484, "Ampere"),  # RTX 3070
        (0x2684, "Ada Lovelace"),  # RTX 4090
        (0x26B9, "Ada Lovelace"),  # L40S
        (0x27B8, "Ada Lovelace"),  # L4
        (0x2901, "Blackwell"),  # B200
        (0x2B85, "Blackwell"),  # RTX 5090
        (0x2BB4, "Blackwell"),  # RTX PRO 6000 Max-Q
        (0x2E12, "Blackwell"),  # GB10
        (0x3182, "Blackwell"),  # B300
        (0x0020, None),
        (0x3FFF, None),
    ],
)
def test_generations(device_id, name):
    assert problems.generation(device_id) == name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Blackwell", None, None), "580 or newer, with the open kernel modules (the only ones"),
        (("Turing", None, None), "580 or newer"),
        ((None, None, None), "580 or newer"),
        (("Pascal", None, None), "branch 580, the last for this generation, with the proprietary"),
        (("Kepler", None, None), "No current driver"),
        (("Ampere", "nouveau", None), "blacklist nouveau"),
        (("Ampere", "vfio-pci", None), "virtual machine"),
        (("Ampere", "pci-stub", None), "pci-stub holds this GPU"),
        (("Volta", None, "595.80, open"), "(595.80, open) did not take this GPU"),
    ],
)
def test_what_to_install(arguments, words):
    assert words in problems.no_driver(*arguments)
