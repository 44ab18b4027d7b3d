# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hardware facts and model facts for the planner's tests, in the form that gpu_info and model_info return them."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.gpufleet.llm.plugins.module_utils.models.facts import facts_from_config

GIB = 1 << 30
MIB = 1 << 20

_TRUTH = Path(__file__).resolve().parents[4] / "truth"
CONFIGS = json.loads((_TRUTH / "vector_configs.json").read_text())
VECTORS = [json.loads(line) for line in (_TRUTH / "vllm_vectors.jsonl").read_text().splitlines()]

# name -> (total MiB as nvidia-smi shows it, MiB that the driver keeps, compute capability)
CARDS = {
    "Tesla V100-SXM2-16GB": (16384, 250, "7.0"),
    "Tesla T4": (15360, 430, "7.5"),
    "NVIDIA A100-SXM4-80GB": (81920, 630, "8.0"),
    "NVIDIA GeForce RTX 4090": (24564, 480, "8.9"),
    "NVIDIA L4": (23034, 450, "8.9"),
    "NVIDIA L40S": (46068, 600, "8.9"),
    "NVIDIA H100 80GB HBM3": (81559, 550, "9.0"),
}


def model(name: str, **changes: t.Any) -> t.Dict[str, t.Any]:
    """Facts of one of the models in tests/truth, with other config values where wanted."""
    return facts_from_config(dict(CONFIGS[name], **changes))


def small_model(name: str) -> t.Dict[str, t.Any]:
    """Facts of one of the small models in tests/truth/cpu."""
    return facts_from_config(json.loads((_TRUTH / "cpu" / "models" / (name + ".json")).read_text()))


def gpu(index: int, card_name: str, **changes: t.Any) -> t.Dict[str, t.Any]:
    total, kept, capability = CARDS[card_name]
    held = sum(process["memory_bytes"] for process in changes.get("processes", ()))
    card: t.Dict[str, t.Any] = {
        "index": index,
        "uuid": "GPU-%08d-0000-4000-8000-000000000000" % index,
        "vendor": "nvidia",
        "name": card_name,
        "pci_bus_id": "0000:%02x:00.0" % (index + 1),
        "memory_total_bytes": total * MIB,
        "memory_free_bytes": (total - kept) * MIB - held,
        "memory_unified": False,
        "compute_capability": capability,
        "usable": True,
        "problem": None,
        "driver": "nvidia",
        "mig": None,
        "nvlink_peers": [],
        "topology": {},
        "numa_node": 0,
        "compute_mode": "Default",
        "processes": [],
    }
    card.update(changes)
    return card


def gpus(number: int, name: str, linked: bool = False) -> t.List[t.Dict[str, t.Any]]:
    return [
        gpu(index, name, nvlink_peers=[peer for peer in range(number) if linked and peer != index])
        for index in range(number)
    ]


def process(
    memory_gib: float, unit: t.Optional[str] = None, name: str = "python3", pid: int = 4711
) -> t.Dict[str, t.Any]:
    return {"pid": pid, "name": name, "memory_bytes": int(memory_gib * GIB), "unit": unit}


def sliced(index: int, name: str, *profiles: t.Tuple[str, int]) -> t.Dict[str, t.Any]:
    """A card cut into MIG slices: (profile, MiB)."""
    slices = [
        {
            "uuid": "MIG-%08d-0000-4000-8000-%012d" % (index, number),
            "name": profile,
            "gpu_instance_id": number,
            "compute_instance_id": 0,
            "memory_total_bytes": size * MIB,
            "memory_free_bytes": size * MIB,
            "processes": [],
        }
        for number, (profile, size) in enumerate(profiles)
    ]
    return gpu(index, name, mig={"enabled": True, "pending": False, "slices": slices})


def host(cards: t.Sequence[t.Dict[str, t.Any]] = (), **changes: t.Any) -> t.Dict[str, t.Any]:
    """A server; without cards the lab's own CPU host: 2 cores, 24 GiB."""
    memory = changes.pop("memory_gib", 256 if cards else 24) * GIB
    cores = changes.pop("cores", 32 if cards else 2)
    features = changes.pop("features", ["avx2", "avx512f", "avx512_vnni"])
    nodes = changes.pop("nodes", 1)
    facts: t.Dict[str, t.Any] = {
        "schema": "gpufleet.hardware/1",
        "accelerators": list(cards),
        "nvswitches": 0,
        "driver_version": "580.95.05" if cards else None,
        "cuda_driver_version": "13.0" if cards else None,
        "environment": "bare",
        "cpu": {
            "model": "AMD EPYC 9354",
            "architecture": "x86_64",
            "sockets": nodes,
            "cores": cores,
            "threads": 2 * cores,
            "numa_nodes": [
                {"id": node, "cpus": list(range(cores)), "memory_total_bytes": memory // nodes} for node in range(nodes)
            ],
            "features": features,
        },
        "memory_total_bytes": memory,
        "memory_available_bytes": memory - 2 * GIB,
        "disks": [],
        "sources": {},
        "warnings": [],
    }
    facts.update(changes)
    return facts
