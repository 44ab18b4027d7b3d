# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA GPUs through nvidia-smi: the way in when nvidia-ml-py is not there.

The XML report lacks three things that other calls have: the compute capability, the MIG slices' UUIDs and the
topology. Those extras may be missing (old driver, no time left); the report alone is enough.
"""

from __future__ import annotations

import re
import time
import typing as t
from xml.etree import ElementTree

from . import command, problems
from .accelerator import MIB, Accelerator, Answer, ProbeFailed, bus_id
from .nvml import is_integrated

NOTHING = re.compile(
    r"^\[?\s*(n/a|none|not supported|not available|insufficient permissions|unknown error|gpu is lost|"
    r"requested functionality has been deprecated|gpu requires reset|err!|not found|)\s*\]?$",
    re.IGNORECASE,
)
LOST = re.compile(r"gpu is lost|gpu requires reset", re.IGNORECASE)
NO_HANDLE = re.compile(r"unable to determine the device handle", re.IGNORECASE)
# What nvidia-smi prints, on either stream, when it has no report.
FAILURES = (
    ("mismatch", "driver/library version mismatch"),
    ("permission", "insufficient permissions"),
    ("not_loaded", "couldn't communicate with the nvidia driver"),
    ("not_loaded", "driver not loaded"),
    ("absent", "couldn't find libnvidia-ml.so"),
    ("no_devices", "no devices were found"),
)
EXIT_CODES = {9: "not_loaded", 12: "absent"}
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
LINKS = ("PSB", "PIX", "PXB", "PHB", "NODE", "SYS")


def probe(timeout: float, addresses: t.Sequence[str] = (), program: t.Optional[str] = None) -> Answer:
    """Ask nvidia-smi, all its calls together for about ``timeout`` seconds. Raises ProbeFailed.

    ``addresses`` are the cards that the driver holds, in PCI order, which is nvidia-smi's own.
    """
    program = program or command.find("nvidia-smi")
    if program is None:
        raise ProbeFailed("absent", "nvidia-smi is not installed")
    end = time.monotonic() + timeout
    try:
        report = command.run([program, "-q", "-x"], timeout)
    except command.TimedOut as error:
        raise ProbeFailed("hung", "nvidia-smi gave %s: the driver hangs" % error) from None
    if "<nvidia_smi_log>" in report.stdout:
        answer = parse(report.stdout)
    elif NO_HANDLE.search(report.stdout + report.stderr) and addresses:
        answer = _one_by_one(program, end, addresses)
    else:
        raise _failure(report)
    extras = {}
    for name, arguments in (
        ("capabilities", ["--query-gpu=uuid,compute_cap", "--format=csv,noheader"]),
        ("listing", ["-L"]),
        ("topology", ["topo", "-m"]),
    ):
        try:
            result = command.run([program, *arguments], max(1.0, end - time.monotonic()))
        except command.TimedOut as error:
            answer.warnings.append("nvidia-smi %s gave %s." % (" ".join(arguments), error))
            break  # the next would hang as well
        extras[name] = result.stdout if result.code == 0 else ""
    add_capabilities(answer.accelerators, extras.get("capabilities", ""))
    add_slice_names(answer.accelerators, extras.get("listing", ""))
    add_topology(answer.accelerators, extras.get("topology", ""))
    return answer


def _one_by_one(program: str, end: float, addresses: t.Sequence[str]) -> Answer:
    """One dead card makes nvidia-smi refuse the report of all: ask for each alone."""
    answer = Answer([])
    for index, address in enumerate(addresses):
        try:
            result = command.run([program, "-q", "-x", "-i", address], max(1.0, end - time.monotonic()))
        except command.TimedOut as error:
            raise ProbeFailed("hung", "nvidia-smi -i %s gave %s: the driver hangs" % (address, error)) from None
        if "<nvidia_smi_log>" in result.stdout:
            said = parse(result.stdout)
            answer.driver_version, answer.cuda_driver_version = said.driver_version, said.cuda_driver_version
            (card,) = said.accelerators
            card.index = index
        else:
            card = Accelerator(index=index, vendor="nvidia", name="NVIDIA GPU", pci_bus_id=address)
            card.refuse(problems.lost(str(_failure(result))))
        answer.accelerators.append(card)
    return answer


def parse(report: str) -> Answer:
    """The XML report of nvidia-smi -q -x. Its DOCTYPE names a file that nobody has; the parser does not load it."""
    try:
        log = ElementTree.fromstring(report[report.index("<nvidia_smi_log>") :])
    except (ValueError, ElementTree.ParseError) as error:
        raise ProbeFailed("error", "nvidia-smi -q -x is not the report we know: %s" % error) from None
    return Answer(
        accelerators=[_accelerator(index, gpu) for index, gpu in enumerate(log.findall("gpu"))],
        driver_version=_value(log, "driver_version"),
        cuda_driver_version=_value(log, "cuda_version"),
    )


def add_capabilities(cards: t.Sequence[Accelerator], text: str) -> None:
    by_uuid = {}
    for line in text.splitlines():
        uuid, _comma, capability = line.partition(",")
        if re.match(r"^\d+\.\d+$", capability.strip()):
            by_uuid[uuid.strip()] = capability.strip()
    for card in cards:
        card.compute_capability = by_uuid.get(card.uuid or "", card.compute_capability)


def add_slice_names(cards: t.Sequence[Accelerator], text: str) -> None:
    """nvidia-smi -L lists every card's slices, indented, in the report's order."""
    slices: t.Dict[str, t.List[t.Tuple[str, str]]] = {}
    parent = ""
    for line in text.splitlines():
        card_line = re.match(r"^GPU \d+: .*\(UUID: (\S+)\)", line)
        slice_line = re.match(r"^\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (\S+)\)", line)
        if card_line:
            parent = card_line.group(1)
        elif slice_line:
            slices.setdefault(parent, []).append((slice_line.group(1), slice_line.group(2)))
    for card in cards:
        listed = slices.get(card.uuid or "", [])
        mine = card.mig["slices"] if card.mig else []
        if len(listed) == len(mine):  # else the slices changed between the two calls
            for piece, (name, uuid) in zip(mine, listed):
                piece.update(name=name, uuid=uuid)


def add_topology(cards: t.Sequence[Accelerator], text: str) -> None:
    """The matrix of nvidia-smi topo -m: NV<n> is NVLink, the others are ways through PCIe."""
    lines = [ESCAPES.sub("", line).split("\t") for line in text.splitlines()]
    header: t.List[str] = []
    rows = {}
    for cells in lines:
        cells = [cell.strip() for cell in cells]
        if not header and len(cells) > 1 and cells[1] == "GPU0":
            header = cells
        elif header and re.match(r"^GPU\d+$", cells[0]):
            rows[cells[0]] = dict(zip(header[1:], cells[1:]))
    for card in cards:
        for other, link in rows.get("GPU%d" % card.index, {}).items():
            if not re.match(r"^GPU\d+$", other):
                continue
            peer = int(other[3:])
            if re.match(r"^NV\d+$", link):
                card.nvlink_peers.append(peer)
            elif link in LINKS:
                card.topology[str(peer)] = link


def _failure(result: command.Result) -> ProbeFailed:
    text = " ".join((result.stdout + " " + result.stderr).split()) or "exit code %d, no output" % result.code
    for kind, words in FAILURES:
        if words in text.lower():
            return ProbeFailed(kind, text[:300])
    return ProbeFailed(EXIT_CODES.get(result.code, "error"), text[:300])


def _value(element: t.Optional[ElementTree.Element], path: str) -> t.Optional[str]:
    """The text at ``path``, or None for all the ways nvidia-smi says that there is no value."""
    text = element.findtext(path) if element is not None else None
    return None if text is None or NOTHING.match(text.strip()) else text.strip()


def _number(element: t.Optional[ElementTree.Element], *paths: str) -> t.Optional[float]:
    for path in paths:
        match = re.match(r"^(\d+(?:\.\d+)?)", _value(element, path) or "")
        if match:
            return float(match.group(1))
    return None


def _whole(element: t.Optional[ElementTree.Element], path: str) -> t.Optional[int]:
    number = _number(element, path)
    return None if number is None else int(number)


def _bytes(element: t.Optional[ElementTree.Element], path: str) -> t.Optional[int]:
    mib = _whole(element, path)
    return None if mib is None else mib * MIB


def _switch(element: ElementTree.Element, path: str) -> t.Optional[bool]:
    return {"enabled": True, "disabled": False}.get((_value(element, path) or "").lower())


def _accelerator(index: int, gpu: ElementTree.Element) -> Accelerator:
    name = _value(gpu, "product_name")
    made = Accelerator(
        index=index,
        vendor="nvidia",
        name=name or "NVIDIA GPU",
        uuid=_value(gpu, "uuid"),
        pci_bus_id=bus_id(_value(gpu, "pci/pci_bus_id") or gpu.get("id")),
        memory_total_bytes=_bytes(gpu, "fb_memory_usage/total"),
        memory_free_bytes=_bytes(gpu, "fb_memory_usage/free"),
        memory_reserved_bytes=_bytes(gpu, "fb_memory_usage/reserved"),
        memory_unified=is_integrated(name),
        architecture=_value(gpu, "product_architecture"),
        mig=_mig(gpu),
        pcie={
            "gen_max": _whole(gpu, "pci/pci_gpu_link_info/pcie_gen/max_link_gen"),
            "width_max": _whole(gpu, "pci/pci_gpu_link_info/link_widths/max_link_width"),
        },
        ecc=_ecc(gpu),
        # The names changed with driver 530 or so: power_readings became gpu_power_readings.
        power_limit_w=_number(
            gpu,
            "gpu_power_readings/current_power_limit",
            "power_readings/enforced_power_limit",
            "power_readings/power_limit",
        ),
        persistence=_switch(gpu, "persistence_mode"),
        compute_mode=_compute_mode(gpu),
        processes=_processes(gpu),
    )
    if made.mig and made.mig["enabled"]:
        _deal_processes(gpu, made)
    _judge(made, gpu)
    return made


def _judge(made: Accelerator, gpu: ElementTree.Element) -> None:
    said = [text for text in gpu.itertext() if LOST.search(text)]
    if said:
        made.refuse(problems.lost(said[0].strip(" []\n\t")))
    fabric = (gpu.findtext("fabric/state") or "").strip().lower()
    if fabric in ("not started", "in progress"):
        made.refuse(problems.fabric(fabric))
    if made.memory_total_bytes:
        return
    made.memory_total_bytes = made.memory_free_bytes = None
    if not made.memory_unified and not (made.mig and made.mig["enabled"]):
        made.refuse(problems.no_memory_figure((gpu.findtext("fb_memory_usage/total") or "").strip() or None))


def _ecc(gpu: ElementTree.Element) -> t.Optional[dict]:
    enabled = _switch(gpu, "ecc_mode/current_ecc")
    return None if enabled is None else {"enabled": enabled, "pending": bool(_switch(gpu, "ecc_mode/pending_ecc"))}


def _compute_mode(gpu: ElementTree.Element) -> t.Optional[str]:
    mode = (_value(gpu, "compute_mode") or "").lower().replace(" ", "_")
    return mode if mode in ("default", "prohibited", "exclusive_process", "exclusive_thread") else None


def _mig(gpu: ElementTree.Element) -> t.Optional[dict]:
    enabled = _switch(gpu, "mig_mode/current_mig")
    if enabled is None:
        return None
    slices = [
        {
            "uuid": None,
            "name": None,
            "gpu_instance_id": _whole(piece, "gpu_instance_id"),
            "compute_instance_id": _whole(piece, "compute_instance_id"),
            "memory_total_bytes": _bytes(piece, "fb_memory_usage/total"),
            "memory_free_bytes": _bytes(piece, "fb_memory_usage/free"),
            "processes": [],
        }
        for piece in gpu.findall("mig_devices/mig_device")
    ]
    return {"enabled": enabled, "pending": bool(_switch(gpu, "mig_mode/pending_mig")), "slices": slices}


def _processes(gpu: ElementTree.Element, slice_ids: t.Optional[t.Tuple[int, int]] = None) -> t.List[dict]:
    found: t.Dict[int, dict] = {}
    for entry in gpu.findall("processes/process_info"):
        pid = _whole(entry, "pid")
        if pid is None:
            continue
        where = (_whole(entry, "gpu_instance_id"), _whole(entry, "compute_instance_id"))
        if slice_ids is not None and where != slice_ids:
            continue
        memory = _bytes(entry, "used_memory")
        if pid not in found or (memory or 0) > (found[pid]["memory_bytes"] or 0):
            found[pid] = {"pid": pid, "name": _value(entry, "process_name"), "memory_bytes": memory}
    return [found[pid] for pid in sorted(found)]


def _deal_processes(gpu: ElementTree.Element, made: Accelerator) -> None:
    for piece in made.mig["slices"] if made.mig else []:
        piece["processes"] = _processes(gpu, (piece["gpu_instance_id"], piece["compute_instance_id"]))
