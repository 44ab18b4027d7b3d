# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet as placement sees it: hosts, their GPUs as slots, and the blocks of slots that one engine may span.

A block is what a tensor parallel group must not leave: GPUs that NVLink joins; without NVLink, those of one NUMA node;
a MIG slice or a CPU alone. Blocks of one host may be chained as pipeline stages, one block per stage.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import typing as t

from ...errors import GpufleetError
from .. import devices
from ..facts import Device, Host, read_host
from ..units import GIB, MIB, parse_number

CPU = "cpu"
# Memory that others may hold on a GPU that still counts as idle: a desktop, a monitoring agent.
_IDLE_MOST = GIB
# GPUs of one model whose free memory differs by less are planned alike, by the one with least.
_STEP = 512 * MIB

_HOST_KEYS = frozenset(("hardware", "labels", "max_share", "reserved_gpus", "reserved", "ports_taken"))


class Kind(t.NamedTuple):
    """What a plan depends on beside the model: slots of one kind are planned once."""

    variant: str
    driver: t.Optional[str]
    environment: str
    name: str
    capability: t.Any
    total_steps: int
    free_steps: int
    unified: bool
    exclusive: bool
    linked: bool
    more: t.Tuple[t.Any, ...] = ()  # of a CPU host

    def text(self, number: int) -> str:
        return self.name if self.variant == CPU else "%d x %s" % (number, self.name)


# Kind, idle slots, stages.
Group = t.Tuple[Kind, int, int]


@dataclasses.dataclass(eq=False)
class Slot:
    number: int
    node: Node
    id: str
    seat: t.Optional[devices.Seat]  # None: the CPU
    idle: bool

    @functools.cached_property
    def total(self) -> int:
        return self.seat.total if self.seat else self.node.host.memory_total_bytes

    @property
    def free(self) -> int:
        return self.seat.free if self.seat else self.node.host.memory_total_bytes

    @functools.cached_property
    def kind(self) -> Kind:
        return kind_of([self], False)

    @functools.cached_property
    def empty_kind(self) -> Kind:
        """The same with nobody else on it."""
        return self.kind._replace(free_steps=0)


@dataclasses.dataclass(eq=False)
class Block:
    node: Node
    slots: t.Tuple[Slot, ...]
    stages: int  # 1, or how many blocks are chained
    kind: Kind  # of the idle slots
    size: int  # idle slots

    @property
    def group(self) -> Group:
        """Blocks of one group are planned once."""
        return self.kind, self.size, self.stages


@dataclasses.dataclass(eq=False)
class Node:
    number: int
    name: str
    hardware: t.Mapping[str, t.Any]
    host: Host
    labels: t.Dict[str, str]
    own_units: t.Tuple[str, ...]
    claims: t.Tuple[t.Mapping[str, t.Any], ...]
    ports_taken: t.FrozenSet[int]
    limit: int = 0  # slots that placement may take
    slots: t.List[Slot] = dataclasses.field(default_factory=list)
    blocks: t.List[Block] = dataclasses.field(default_factory=list)
    problems: t.List[str] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(slot.total for slot in self.slots)

    def facts(self, slots: t.Sequence[Slot]) -> t.Dict[str, t.Any]:
        """The hardware facts with nothing but these slots."""
        ids = {slot.id for slot in slots}
        cards = []
        for card in self.hardware.get("accelerators") or ():
            mig = card.get("mig") or {}
            pieces = [piece for piece in mig.get("slices") or () if str(piece["uuid"]) in ids]
            if pieces:
                cards.append(dict(card, mig=dict(mig, slices=pieces)))
            elif str(card.get("uuid") or card["index"]) in ids:
                cards.append(card)
        return dict(self.hardware, accelerators=cards)

    def empty_facts(self, slot: Slot) -> t.Dict[str, t.Any]:
        """The hardware facts with nothing but this slot, and nobody on it."""
        facts = self.facts([slot])
        (card,) = facts["accelerators"]
        if slot.seat and slot.seat.device.is_slice:
            (piece,) = card["mig"]["slices"]
            piece = dict(piece, memory_free_bytes=slot.total, processes=[])
            card = dict(card, mig=dict(card["mig"], slices=[piece]))
        else:
            card = dict(card, memory_free_bytes=slot.total, processes=[])
        return dict(facts, accelerators=[card])


class Fleet:
    """All hosts, sorted by name, so that the order they were given in has no part in anything."""

    def __init__(
        self,
        hosts: t.Mapping[str, t.Any],
        own_units: t.Sequence[str] = (),
        placed_units: t.Optional[t.Mapping[str, t.Collection[str]]] = None,
    ) -> None:
        self.nodes: t.List[Node] = []
        self.slots: t.List[Slot] = []
        for name in sorted(hosts, key=str):
            entry = _entry(str(name), hosts[name])
            node = _node(len(self.nodes), str(name), entry, own_units, (placed_units or {}).get(str(name), ()))
            self._add_slots(node, entry.get("reserved_gpus") or ())
            node.limit = int(len(node.slots) * _share(node.name, entry.get("max_share")) + 1e-9)
            node.blocks = list(_blocks(node))
            self.nodes.append(node)
        self.by_name = {node.name: node for node in self.nodes}
        self.blocks = [block for node in self.nodes for block in node.blocks]
        # The block with least free memory stands for its group: what fits there fits on all of them.
        self.groups: t.Dict[Group, Block] = {}
        for block in self.blocks:
            known = self.groups.get(block.group)
            if known is None or _least(block) < _least(known):
                self.groups[block.group] = block

    def _add_slots(self, node: Node, reserved: t.Sequence[t.Any]) -> None:
        kept, missing = devices.find(node.host, reserved)
        if missing:
            raise GpufleetError(
                "hosts.%s.reserved_gpus names %s, which it does not have." % (node.name, ", ".join(missing))
            )
        claims = devices.read_claims(node.claims)
        if not node.host.devices:
            self._append(node, CPU, None, not claims)
        for device in node.host.devices:
            problem = devices.why_unusable(device)
            if problem and problem[0] != "mig_card":
                node.problems.append("%s." % problem[1].rstrip("."))
            if problem or device in kept:
                continue
            seat = devices.seat(device, node.own_units, claims)
            self._append(node, device.id, seat, seat.foreign + seat.promised <= _IDLE_MOST)

    def _append(self, node: Node, name: str, seat: t.Optional[devices.Seat], idle: bool) -> None:
        slot = Slot(len(self.slots), node, name, seat, idle)
        node.slots.append(slot)
        self.slots.append(slot)


def kind_of(slots: t.Sequence[Slot], linked: bool) -> Kind:
    """The kind of slots of one GPU model, by the one with least memory."""
    host, seats = slots[0].node.host, [slot.seat for slot in slots if slot.seat]
    if not seats:
        nodes = tuple((node.cpus, node.memory_total_bytes // GIB) for node in host.numa_nodes)
        more = (host.cores, nodes, tuple(sorted(host.features)))
        total = host.memory_total_bytes // _STEP
        return Kind(CPU, None, host.environment, host.cpu_model, None, total, total, False, False, False, more)
    device = seats[0].device
    return Kind(
        variant="cuda",
        driver=host.driver_version,
        environment=host.environment,
        name=device.name,
        capability=device.capability,
        total_steps=min(seat.total for seat in seats) // _STEP,
        free_steps=min(seat.free for seat in seats) // _STEP,
        unified=device.unified,
        exclusive=any(devices.exclusive(seat.device) for seat in seats),
        linked=linked,
    )


def _node(number: int, name: str, entry: t.Mapping[str, t.Any], patterns: t.Sequence[str], placed: t.Any) -> Node:
    try:
        host = read_host(entry["hardware"])
    except GpufleetError as error:
        raise GpufleetError("hosts.%s: %s" % (name, error)) from error
    running = {process.unit for device in host.devices for process in device.processes if process.unit}
    own = {unit for unit in running if any(fnmatch.fnmatchcase(unit, pattern) for pattern in patterns)}
    labels = entry.get("labels") or {}
    if not isinstance(labels, dict):
        raise GpufleetError("hosts.%s.labels: give a dictionary of names and values." % name)
    ports = entry.get("ports_taken") or ()
    return Node(
        number=number,
        name=name,
        hardware=entry["hardware"],
        host=host,
        labels={str(key): str(value) for key, value in labels.items()},
        own_units=tuple(sorted(own | set(placed))),
        claims=tuple(entry.get("reserved") or ()),
        ports_taken=frozenset(parse_number("hosts.%s.ports_taken" % name, port) for port in ports),
    )


def _entry(name: str, entry: t.Any) -> t.Mapping[str, t.Any]:
    if isinstance(entry, dict) and "schema" in entry:
        return {"hardware": entry}
    if not isinstance(entry, dict) or "hardware" not in entry:
        raise GpufleetError(
            "hosts.%s: give the hardware facts of gpufleet.llm.gpu_info, alone or as `hardware` beside %s."
            % (name, ", ".join(sorted(_HOST_KEYS - {"hardware"})))
        )
    unknown = sorted(set(entry) - _HOST_KEYS)
    if unknown:
        known = ", ".join(sorted(_HOST_KEYS))
        raise GpufleetError("hosts.%s has no key %s; it may have %s." % (name, ", ".join(unknown), known))
    return entry


def _share(name: str, value: t.Any) -> float:
    if value is None:
        return 1.0
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise GpufleetError("hosts.%s.max_share=%s: give a number from 0 to 1." % (name, value))
    return share


def _blocks(node: Node) -> t.Iterator[Block]:
    kinds: t.Dict[t.Any, t.List[Slot]] = {}
    for slot in node.slots:
        key = (slot.id,) if slot.seat is None or slot.seat.device.is_slice else slot.seat.kind
        kinds.setdefault(key, []).append(slot)
    for slots in kinds.values():
        islands = _islands(slots, node.host.nvswitches)
        for island, linked in islands:
            yield _block(node, island, linked, 1)
        yield from _chains(node, [(island, linked) for island, linked in islands if len(island) > 1])


def _block(node: Node, slots: t.Sequence[Slot], linked: bool, stages: int) -> Block:
    idle = [slot for slot in slots if slot.idle]
    return Block(node, tuple(slots), stages, kind_of(idle or slots, linked), len(idle))


def _islands(slots: t.Sequence[Slot], nvswitches: int) -> t.List[t.Tuple[t.List[Slot], bool]]:
    """Slots that NVLink joins; of the others, those of one NUMA node."""
    if slots[0].seat is None or slots[0].seat.device.is_slice:
        return [([slot], False) for slot in slots]
    by_id = {slot.id: slot for slot in slots}
    result, alone = [], {}
    for seats in devices.islands([slot.seat for slot in slots if slot.seat], nvswitches):
        members = sorted((by_id[seat.device.id] for seat in seats), key=lambda slot: slot.number)
        if len(members) > 1:
            result.append((members, True))
        elif members[0].seat.device.nvlink_peers:  # type: ignore[union-attr]
            result.append((members, False))  # its peers are kept or broken
        else:
            alone.setdefault(_side(members[0].seat.device, alone), []).extend(members)  # type: ignore[union-attr]
    return result + [(members, False) for members in alone.values()]


def _side(device: Device, sides: t.Mapping[t.Any, t.Sequence[Slot]]) -> t.Any:
    """The side of the host that a GPU is on: its NUMA node; where that is unknown, who it reaches inside it."""
    if device.numa_node is not None and device.numa_node >= 0:
        return device.numa_node
    for side, members in sides.items():
        other = members[0].seat.device  # type: ignore[union-attr]
        if device.topology.get(other.index, "SYS") != "SYS" or not device.topology:
            return side
    return "side of GPU %d" % device.index


def _chains(node: Node, islands: t.Sequence[t.Tuple[t.List[Slot], bool]]) -> t.Iterator[Block]:
    """Equal islands, one per pipeline stage, where the order in which vLLM numbers the GPUs keeps each together."""
    if len(islands) < 2:
        return
    slots = sorted((slot for island, _linked in islands for slot in island), key=lambda slot: slot.number)
    size = len(islands[0][0])
    pieces = [slots[place : place + size] for place in range(0, len(slots), size)]
    if all(slot.idle for slot in slots) and sorted(pieces, key=_first) == sorted((x for x, _l in islands), key=_first):
        yield _block(node, slots, False, len(islands))


def _first(slots: t.Sequence[Slot]) -> int:
    return slots[0].number


def _least(block: Block) -> t.Tuple[int, int, int]:
    idle = [slot for slot in block.slots if slot.idle] or block.slots
    return min(slot.free for slot in idle), min(slot.total for slot in idle), block.node.number
