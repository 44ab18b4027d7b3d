# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GPUs by name, for plans on hardware that nobody has at hand: "would it fit on 2 x L40S?".

Memory is what a process sees (cudaMemGetInfo's total, "total capacity" in PyTorch's messages) with ECC as it leaves the
factory, from public logs; drivers and display modes move it by up to one percent, so gpu_info always knows better.
Compute capabilities: https://developer.nvidia.com/cuda-gpus.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from ..errors import GpufleetError
from .units import GIB


@dataclasses.dataclass(frozen=True)
class Gpu:
    name: str
    memory_gib: float  # visible, not what the box says
    capability: t.Optional[str]  # None for other vendors than NVIDIA
    link: str = ""  # "nvswitch": every GPU of a host reaches every other; "unified": shares the host's memory
    vendor: str = "nvidia"

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_gib * GIB)


_GPUS = (
    # Data centre
    Gpu("P100 16GB", 15.89, "6.0"),
    Gpu("V100 16GB", 15.77, "7.0"),
    Gpu("V100 32GB", 31.74, "7.0"),
    Gpu("T4", 14.74, "7.5"),
    Gpu("A2", 14.54, "8.6"),
    Gpu("A10", 22.06, "8.6"),
    Gpu("A10G", 22.06, "8.6"),
    Gpu("A16", 14.54, "8.6"),
    Gpu("A30", 23.50, "8.0"),
    Gpu("A40", 44.43, "8.6"),
    Gpu("A100 40GB", 39.49, "8.0", "nvswitch"),
    Gpu("A100 80GB", 79.25, "8.0", "nvswitch"),
    Gpu("A100 PCIe 40GB", 39.49, "8.0"),
    Gpu("A100 PCIe 80GB", 79.25, "8.0"),
    Gpu("A800 80GB", 79.25, "8.0", "nvswitch"),
    Gpu("L4", 22.05, "8.9"),
    Gpu("L20", 44.43, "8.9"),
    Gpu("L40", 44.43, "8.9"),
    Gpu("L40S", 44.43, "8.9"),
    Gpu("H100 80GB", 79.18, "9.0", "nvswitch"),
    Gpu("H100 PCIe 80GB", 79.18, "9.0"),
    Gpu("H100 NVL 94GB", 93.02, "9.0"),
    Gpu("H800 80GB", 79.18, "9.0", "nvswitch"),
    Gpu("H20 96GB", 95.22, "9.0", "nvswitch"),
    Gpu("H20 141GB", 139.80, "9.0", "nvswitch"),
    Gpu("H200", 139.80, "9.0", "nvswitch"),
    Gpu("H200 NVL", 139.80, "9.0"),
    Gpu("GH200 96GB", 94.50, "9.0"),
    Gpu("GH200 144GB", 139.80, "9.0"),
    Gpu("B200", 178.35, "10.0", "nvswitch"),
    Gpu("GB200", 184.31, "10.0", "nvswitch"),
    Gpu("B300", 267.69, "10.3", "nvswitch"),
    # Workstation
    Gpu("Quadro RTX 6000", 23.64, "7.5"),
    Gpu("Quadro RTX 8000", 47.45, "7.5"),
    Gpu("RTX A2000 12GB", 11.74, "8.6"),
    Gpu("RTX A4000", 15.73, "8.6"),
    Gpu("RTX A4500", 19.70, "8.6"),
    Gpu("RTX A5000", 23.67, "8.6"),
    Gpu("RTX A6000", 47.43, "8.6"),
    Gpu("RTX 4000 Ada", 19.67, "8.9"),
    Gpu("RTX 4500 Ada", 23.64, "8.9"),
    Gpu("RTX 5000 Ada", 31.50, "8.9"),
    Gpu("RTX 6000 Ada", 47.43, "8.9"),
    Gpu("RTX PRO 4000 Blackwell", 23.50, "12.0"),
    Gpu("RTX PRO 4500 Blackwell", 31.40, "12.0"),
    Gpu("RTX PRO 5000 Blackwell", 47.40, "12.0"),
    Gpu("RTX PRO 6000 Blackwell", 94.97, "12.0"),
    Gpu("DGX Spark GB10", 119.68, "12.1", "unified"),
    # GeForce
    Gpu("GTX 1080 Ti", 10.91, "6.1"),
    Gpu("RTX 2080 Ti", 10.75, "7.5"),
    Gpu("RTX 3060 12GB", 11.75, "8.6"),
    Gpu("RTX 3070", 7.78, "8.6"),
    Gpu("RTX 3080 10GB", 9.77, "8.6"),
    Gpu("RTX 3090", 23.58, "8.6"),
    Gpu("RTX 3090 Ti", 23.57, "8.6"),
    Gpu("RTX 4060 Ti 16GB", 15.60, "8.9"),
    Gpu("RTX 4070", 11.60, "8.9"),
    Gpu("RTX 4070 Ti SUPER", 15.58, "8.9"),
    Gpu("RTX 4080", 15.59, "8.9"),
    Gpu("RTX 4090", 23.53, "8.9"),
    Gpu("RTX 5060 Ti 16GB", 15.48, "12.0"),
    Gpu("RTX 5070 Ti", 15.47, "12.0"),
    Gpu("RTX 5080", 15.47, "12.0"),
    Gpu("RTX 5090", 31.37, "12.0"),
    # AMD and Intel: known by their memory; the planner's engine builds are NVIDIA's.
    Gpu("MI50 32GB", 31.98, None, "", "amd"),
    Gpu("MI250X", 63.98, None, "", "amd"),
    Gpu("MI300X", 191.98, None, "nvswitch", "amd"),
    Gpu("MI325X", 255.98, None, "nvswitch", "amd"),
    Gpu("MI355X", 287.98, None, "nvswitch", "amd"),
    Gpu("Radeon Pro VII", 15.98, None, "", "amd"),
    Gpu("RX 7900 XTX", 23.98, None, "", "amd"),
    Gpu("Radeon AI PRO R9700", 31.86, None, "", "amd"),
    Gpu("Arc Pro B70", 31.80, None, "", "intel"),
)
_SHORT = {
    "a2000": "rtxa2000",
    "a4000": "rtxa4000",
    "a4500": "rtxa4500",
    "a5000": "rtxa5000",
    "a6000": "rtxa6000",
    "gb10": "dgxsparkgb10",
    "dgxspark": "dgxsparkgb10",
    "r9700": "radeonaipror9700",
    "rtxpro6000": "rtxpro6000blackwell",
    "rtxpro5000": "rtxpro5000blackwell",
    "rtxpro4500": "rtxpro4500blackwell",
    "rtxpro4000": "rtxpro4000blackwell",
}
# Which of several sizes is meant where none is said.
_USUAL = ("V100 32GB", "A100 80GB", "A100 PCIe 80GB", "H20 96GB", "GH200 96GB")
_EDITION = re.compile(r"(max q )?(server|workstation) edition$")
_NOISE = re.compile(r"nvidia|geforce|tesla|amd|instinct|intel|laptop|gpu|graphics|sxm\d?|hbm\d\w?|generation|[^a-z0-9]")
_SIZE = re.compile(r"\b(\d+) ?gi?b\b")
_SPEC = re.compile(r"^\s*(?:(\d+)\s*[x*×]\s*)?(\S.*?)\s*$", re.IGNORECASE)


def _read(name: str) -> t.Tuple[str, t.Optional[int]]:
    """The name without what does not tell GPUs apart, and the size (GB) it states."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower())
    size = _SIZE.search(words)
    return _NOISE.sub("", _EDITION.sub("", _SIZE.sub("", words).strip())), int(size.group(1)) if size else None


_BY_KEY: t.Dict[str, t.List[Gpu]] = {}
for _gpu in _GPUS:
    _BY_KEY.setdefault(_read(_gpu.name)[0], []).append(_gpu)
for _short, _key in _SHORT.items():
    _BY_KEY[_short] = _BY_KEY[_key]
for _key in [name for name in _BY_KEY if re.match(r"rtx[2-5]0[5-9]0", name)]:
    _BY_KEY[_key[3:]] = _BY_KEY[_key]


def known() -> t.Tuple[Gpu, ...]:
    """All of them, by kind and age."""
    return _GPUS


def find(name: str) -> Gpu:
    """The GPU that ``name`` means: "L40S", "NVIDIA H100 80GB HBM3", "rtx-4090"; GpufleetError for an unknown one."""
    key, size = _read(name)
    sizes = _BY_KEY.get(key, [])
    if not sizes and key.endswith("pcie"):  # "Tesla V100-PCIE-32GB": the same card, as long as no NVSwitch joins it
        sizes = [gpu for gpu in _BY_KEY.get(key[:-4], []) if gpu.link != "nvswitch"]
    if size is None:
        found = [gpu for gpu in sizes if gpu.name in _USUAL] or sizes
    else:
        found = [gpu for gpu in sizes if abs(size - gpu.memory_gib) <= 0.15 * gpu.memory_gib]
    if found:
        return found[0]
    close = sizes or [_BY_KEY[match][0] for match in difflib.get_close_matches(key, _BY_KEY, 6, 0.5)] or _GPUS
    names = ", ".join(dict.fromkeys(gpu.name for gpu in close))
    raise GpufleetError("GPU %r is not in the table. Did you mean %s?" % (name, names))


def parse(spec: str) -> t.Tuple[int, Gpu]:
    """``2 x L40S`` as a number and a GPU; a name alone is one of it."""
    match = _SPEC.match(spec or "")
    if not match:
        raise GpufleetError("what_if=%r names no GPU: give for example 2 x L40S." % spec)
    number = int(match.group(1) or 1)
    if not 1 <= number <= 64:
        raise GpufleetError("what_if=%r: a host has 1 to 64 GPUs." % spec)
    return number, find(match.group(2))


def hardware(spec: str) -> t.Dict[str, t.Any]:
    """Hardware facts (gpufleet.hardware/1) of an idle host with these GPUs, as gpu_info would return them.

    The host itself is assumed: a current driver, twice the GPUs' memory and 16 cores per GPU. Several kinds may be
    joined by a comma: ``2 x L40S, 1 x H100``.
    """
    cards: t.List[t.Dict[str, t.Any]] = []
    switches = 0
    for part in str(spec).split(","):
        number, gpu = parse(part)
        first = len(cards)
        joined = range(first, first + number) if gpu.link == "nvswitch" else range(0)
        switches += 4 if gpu.link == "nvswitch" and number > 1 else 0
        cards.extend(_card(index, gpu, [peer for peer in joined if peer != index]) for index in range(first, first + number))
    memory = sum(card["memory_total_bytes"] for card in cards)
    unified = any(card["memory_unified"] for card in cards)
    total = memory if unified else max(64 * GIB, 2 * memory)
    cores = 16 * len(cards)
    return {
        "schema": "gpufleet.hardware/1",
        "accelerators": cards,
        "nvswitches": switches,
        "driver_version": "590.48.01",
        "cuda_driver_version": "13.1",
        "environment": "bare",
        "cpu": {
            "model": "assumed",
            "architecture": "x86_64",
            "sockets": 1,
            "cores": cores,
            "threads": 2 * cores,
            "numa_nodes": [{"id": 0, "cpus": list(range(2 * cores)), "memory_total_bytes": total}],
            "features": ["avx2", "avx512f", "avx512_bf16"],
        },
        "memory_total_bytes": total,
        "memory_available_bytes": total,
        "disks": [],
        "sources": {"gpus": "the table of GPUs: %s" % spec, "host": "assumed"},
        "warnings": [],
    }


def _card(index: int, gpu: Gpu, peers: t.List[int]) -> t.Dict[str, t.Any]:
    return {
        "index": index,
        "uuid": "GPU-00000000-0000-0000-0000-%012d" % index,
        "vendor": gpu.vendor,
        "name": gpu.name,
        "memory_total_bytes": gpu.memory_bytes,
        "memory_free_bytes": gpu.memory_bytes,
        "memory_unified": gpu.link == "unified",
        "compute_capability": gpu.capability,
        "usable": True,
        "problem": None,
        "driver": "nvidia" if gpu.vendor == "nvidia" else None,
        "mig": None,
        "nvlink_peers": peers,
        "topology": {},
        "numa_node": 0,
        "compute_mode": "default",
        "processes": [],
    }
