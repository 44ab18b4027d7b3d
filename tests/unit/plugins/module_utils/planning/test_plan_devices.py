# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is free on a GPU, and which GPUs belong together."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import devices
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.facts import read_host
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts

GIB = 1 << 30
L40S = "NVIDIA L40S"
TOTAL = (46068 - 600) << 20  # without what the driver keeps


def seats(cards, own=(), claims=()):
    found = read_host(hosts.host(cards)).devices
    return [devices.seat(device, own, devices.read_claims(claims)) for device in found]


def one(own=(), claims=(), **changes):
    return seats([hosts.gpu(0, L40S, **changes)], own, claims)[0]


def test_an_idle_gpu_is_free_but_for_the_driver():
    seat = one()
    assert (seat.total, seat.free, seat.foreign) == (TOTAL, TOTAL, 0)


def test_foreign_processes_count_and_are_named():
    seat = one(processes=[hosts.process(10, "ollama.service", "ollama")])
    assert (seat.free, seat.foreign) == (TOTAL - 10 * GIB, 10 * GIB)
    assert seat.foreign_names == ("ollama (pid 4711, ollama.service)",)


def test_own_processes_count_as_free():
    seat = one(own=["vllm-a.service"], processes=[hosts.process(10, "vllm-a.service"), hosts.process(2)])
    assert (seat.free, seat.foreign) == (TOTAL - 2 * GIB, 2 * GIB)


def test_memory_that_nobody_lists_is_foreign():
    seat = one(memory_free_bytes=20 * GIB)
    assert seat.foreign == pytest.approx(TOTAL - 20 * GIB, abs=1)
    assert seat.foreign_names == ("processes that the driver does not list",)


def test_memory_of_an_own_process_of_unstated_size_is_not_foreign():
    """Under WSL the driver names processes without their memory."""
    seat = one(own=["vllm-a.service"], memory_free_bytes=20 * GIB, processes=[hosts.process(0, "vllm-a.service")])
    assert seat.foreign == 0
    assert seat.free == TOTAL


@pytest.mark.parametrize(
    ("claim", "promised"),
    [
        ({"device": "0", "bytes": 5 * GIB}, 5 * GIB),
        ({"device": "0", "fraction": 0.25}, TOTAL // 4),
        ({"device": "1", "bytes": 5 * GIB}, 0),
        ({"device": "GPU-00000000-0000-4000-8000-000000000000", "bytes": GIB}, GIB),
        ({"device": "0", "bytes": 12 * GIB, "unit": "vllm-b.service"}, 2 * GIB),
        ({"device": "0", "bytes": 8 * GIB, "unit": "vllm-b.service"}, 0),
    ],
)
def test_claims_of_siblings(claim, promised):
    seat = one(claims=[claim], processes=[hosts.process(10, "vllm-b.service")])
    assert seat.promised == promised
    assert seat.free == TOTAL - 10 * GIB - promised


@pytest.mark.parametrize(
    "claim",
    [{"device": "0"}, {"bytes": 1}, {"device": "0", "bytes": 1, "fraction": 0.1}, {"device": "0", "fraction": 2}],
)
def test_claims_that_make_no_sense(claim):
    with pytest.raises(GpufleetError, match="reserved"):
        devices.read_claims([claim])


def linked_pairs():
    """0-1 and 2-3 are joined by NVLink."""
    return [hosts.gpu(index, L40S, nvlink_peers=[index ^ 1]) for index in range(4)]


def indices(chosen):
    return [seat.device.index for seat in chosen]


def test_islands():
    assert [indices(group) for group in devices.islands(seats(linked_pairs()), 0)] == [[0, 1], [2, 3]]
    assert [indices(group) for group in devices.islands(seats(hosts.gpus(3, L40S)), 0)] == [[0], [1], [2]]
    assert [indices(group) for group in devices.islands(seats(hosts.gpus(3, L40S)), 4)] == [[0, 1, 2]]


def test_an_island_is_preferred():
    chosen, linked = devices.choose(seats(linked_pairs()), 2, 0)
    assert (indices(chosen), linked) == ([0, 1], True)


def test_the_emptier_island_is_preferred():
    cards = linked_pairs()
    cards[1] = hosts.gpu(1, L40S, nvlink_peers=[0], processes=[hosts.process(10)])
    chosen, linked = devices.choose(seats(cards), 2, 0)
    assert (indices(chosen), linked) == ([2, 3], True)


def test_beyond_an_island_the_link_is_lost():
    chosen, linked = devices.choose(seats(linked_pairs()), 4, 0)
    assert (indices(chosen), linked) == ([0, 1, 2, 3], False)


def test_one_numa_node_is_preferred():
    cards = [hosts.gpu(index, L40S, numa_node=index % 2) for index in range(4)]
    assert indices(devices.choose(seats(cards), 2, 0)[0]) == [0, 2]


def test_the_smallest_island_that_is_large_enough():
    cards = [hosts.gpu(index, L40S, nvlink_peers=[x for x in range(4) if x != index]) for index in range(4)]
    cards += [hosts.gpu(index, L40S, nvlink_peers=[9 - index]) for index in (4, 5)]
    assert indices(devices.choose(seats(cards), 2, 0)[0]) == [4, 5]


def test_a_few_megabytes_do_not_change_the_choice():
    cards = hosts.gpus(2, L40S)
    cards[1] = hosts.gpu(1, L40S, memory_free_bytes=cards[0]["memory_free_bytes"] + (20 << 20))
    assert indices(devices.choose(seats(cards), 1, 0)[0]) == [0]
