# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ollama's scheduler does before llama-server starts: batch size, which GPUs, whether another model has to go.

Source: server/sched.go of github.com/ollama/ollama at v0.33.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .. import devices
from ..facts import Device, Host
from .memory import CONTEXT
from ..units import GIB, MIB

# Least driver, and the least for GPUs older than Volta; oldest compute capability (discover/cuda_compat.go).
LEAST_DRIVER, LEAST_DRIVER_OLD = 550, 570
LEAST_CAPABILITY = (5, 0)
_PLACED, _MEDIUM, _LARGE = 80, 75, 60  # percent of the free memory


@dataclasses.dataclass(frozen=True)
class Card:
    """A GPU or MIG slice that Ollama can use."""

    id: str
    label: str
    name: str
    library: str  # CUDA | ROCm
    total: int
    free: int  # before llama-server's own context
    integrated: bool
    flash: bool
    foreign: int
    promised: int

    def left(self, context: int = CONTEXT.expected) -> int:
        return max(0, self.free - (0 if self.library == "cpu" else context))


def card(device: Device, own_units: t.Collection[str], claims: t.Sequence[devices.Claim]) -> Card:
    seat = devices.seat(device, own_units, claims)
    capability = device.capability or (0, 0)
    nvidia = device.vendor == "nvidia"
    return Card(
        id=device.id,
        label=device.label,
        name=device.name,
        library="CUDA" if nvidia else "ROCm",
        total=seat.total,
        free=seat.free,
        integrated=device.unified,
        # Flash attention of itself: CUDA from compute capability 6 on, but for Jetson Xavier; ROCm (ml/device.go).
        flash=(capability >= (6, 0) and capability != (7, 2)) if nvidia else True,
        foreign=seat.foreign,
        promised=seat.promised,
    )


def why_unusable(device: Device, host: Host) -> t.Optional[t.Tuple[str, str]]:
    """Refusal code and sentence for a device that Ollama does not use; None for one it does."""
    label = "%s (%s)" % (device.label, device.name)
    if device.vendor == "amd":
        if device.driver in (None, "amdgpu"):
            return None if device.total_bytes else ("device_problem", "%s: its memory size is unknown" % label)
        return "no_driver", "%s is bound to %s, not to amdgpu" % (label, device.driver)
    if device.vendor != "nvidia":
        return "unsupported_vendor", "%s: Ollama is planned for NVIDIA and AMD GPUs only" % label
    if host.environment == "jetson":  # its driver counts in other numbers, and JetPack 5 cannot be asked for it
        return None if device.total_bytes else ("device_problem", "%s: its memory size is unknown" % label)
    text = host.driver_version
    if not text:
        return "no_driver", "%s has no working NVIDIA driver" % label
    if device.problem:
        return "device_problem", "%s: %s" % (label, device.problem.rstrip("."))
    if device.sliced:
        return "mig_card", "%s is cut into MIG slices: it can only be used slice by slice" % label
    if device.capability is not None and device.capability < LEAST_CAPABILITY:
        return "capability_too_old", "%s has compute capability %d.%d, Ollama's CUDA libraries start at 5.0" % (
            (label,) + device.capability
        )
    major = int(text.split(".")[0]) if text.split(".")[0].isdigit() else 0
    least = LEAST_DRIVER_OLD if device.capability and device.capability < (7, 0) else LEAST_DRIVER
    if major < least:
        return "driver_too_old", "%s: driver %s, and with less than R%d Ollama uses the CPU without a word" % (
            label, text, least
        )  # fmt: skip
    if not device.total_bytes:
        return "device_problem", "%s: its memory size is unknown" % label
    return None


def default_context(total: int) -> int:
    """OLLAMA_CONTEXT_LENGTH as Ollama sets it by all GPUs' memory together, whatever model comes (server/routes.go)."""
    if total >= 47 * GIB:
        return 262144
    return 32768 if total >= 23 * GIB else 4096


def batch(context: int, predicted: int, available: int, flash: bool, cards: t.Sequence[Card]) -> int:
    """num_batch as Ollama chooses it. ``context`` is that of all requests together."""
    if not flash and any(card.library == "CUDA" for card in cards):
        small = any(card.library == "CUDA" and card.left() <= 8 * GIB for card in cards)
        return 256 if context > 4096 and small else 512
    size = 2048 if context > 32768 else 1024 if context > 4096 else 512
    while size > 512 and not _batch_fits(size, predicted, available):
        size //= 2
    return size


def _batch_fits(size: int, predicted: int, available: int) -> bool:
    if not predicted or not available:
        return True
    if predicted > available * (_LARGE if size >= 2048 else _MEDIUM) // 100:
        return False
    return predicted + surcharge(size) <= available * _PLACED // 100


def surcharge(size: int) -> int:
    return 2 * GIB if size >= 2048 else 768 * MIB if size >= 1024 else 0


def choose(free: t.Sequence[int], cards: t.Sequence[Card], predicted: int, spread: bool) -> t.List[int]:
    """Positions of the GPUs for a model: one where its estimate fits 80 percent of what is free, else all of a kind."""
    if len(cards) <= 1:
        return list(range(len(cards)))
    if not spread:
        fitting = [index for index in range(len(cards)) if predicted <= free[index] * _PLACED // 100]
        if fitting:
            return [min(fitting, key=lambda index: (cards[index].integrated, -free[index], index))]
    groups: t.Dict[str, t.List[int]] = {}
    for index, item in enumerate(cards):
        groups.setdefault(item.library, []).append(index)
    return max(
        groups.values(),
        key=lambda group: (any(not cards[i].integrated for i in group), sum(free[i] for i in group), -group[0]),
    )


def stays_beside(predicted: int, size: int, available: int) -> bool:
    """Whether Ollama loads a model beside others rather than removing one first."""
    return predicted + surcharge(size) <= available * _PLACED // 100
