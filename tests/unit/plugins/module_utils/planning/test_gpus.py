# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GPUs by name, and hosts made up of them."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import gpus
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import read_host


@pytest.mark.parametrize("gpu", gpus.known(), ids=lambda gpu: gpu.name)
def test_every_gpu_is_found_by_its_own_name(gpu):
    assert gpus.find(gpu.name) is gpu
    assert gpus.find("NVIDIA " + gpu.name.upper()) is gpu


@pytest.mark.parametrize(
    "said, meant",
    [
        ("L40S", "L40S"),
        ("l40-s", "L40S"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB"),
        ("H100", "H100 80GB"),
        ("A100-SXM4-40GB", "A100 40GB"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("RTX 3090 24GB", "RTX 3090"),
        ("V100 16 GiB", "V100 16GB"),
        ("MI300X 192GB", "MI300X"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("L40 48GB", "L40"),
        ("Tesla V100-PCIE-32GB", "V100 32GB"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Blackwell"),
    ],
)
def test_names_that_people_use(said, meant):
    assert gpus.find(said).name == meant


@pytest.mark.parametrize("said", ["", "RTX 9999", "H100 40GB", "A100 24GB", "H800 PCIe", "2 x", "0 x L4", "65 x L4"])
def test_what_is_not_there_is_said(said):
    with pytest.raises(GpufleetError) as caught:
        gpus.parse(said)
    assert "Did you mean" in str(caught.value) or "what_if" in str(caught.value)


def test_a_host_of_several_kinds():
    facts = gpus.hardware("2 x H100, 1xL40S")
    host = read_host(facts)
    assert [device.name for device in host.nvidia] == ["H100 80GB", "H100 80GB", "L40S"]
    assert [device.nvlink_peers for device in host.nvidia] == [(1,), (0,), ()]
    assert len({device.id for device in host.devices}) == 3
    assert all(device.free_bytes == device.total_bytes for device in host.devices)
    assert host.memory_total_bytes == 2 * sum(device.total_bytes for device in host.devices)
    assert gpus.hardware("2 x H100, 1xL40S") == facts


def test_one_memory_for_gpu_and_host():
    facts = gpus.hardware("DGX Spark")
    assert facts["memory_total_bytes"] == facts["accelerators"][0]["memory_total_bytes"]
    assert facts["accelerators"][0]["memory_unified"]
