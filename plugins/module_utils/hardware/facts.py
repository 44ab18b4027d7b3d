# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hardware facts: asks every probe, in order, and merges what they say."""

from __future__ import annotations

import threading
import typing as t

from . import amd, cgroup, host, nvidia_smi, nvml, pci, problems
from .accelerator import Accelerator, Answer, ProbeFailed

SCHEMA = "gpufleet.hardware/1"
TEGRA_CAPABILITY = (("Orin", "8.7"), ("Thor", "11.0"), ("Xavier", "7.2"))

T = t.TypeVar("T")


def collect(
    paths: t.Sequence[str],
    timeout: float,
    tools_python: str,
    root: str = "/",
    ask_nvml: t.Callable[[float, str], Answer] = nvml.probe,
    ask_smi: t.Callable[[float, t.Sequence[str]], Answer] = nvidia_smi.probe,
) -> dict:
    """Everything the contract names. A probe that fails is an entry of ``sources``, never an error."""
    return _Survey(timeout, root).run(paths, tools_python, ask_nvml, ask_smi)


class _Survey:
    def __init__(self, timeout: float, root: str) -> None:
        self.timeout = timeout
        self.root = root
        self.sources: t.Dict[str, str] = {}
        self.warnings: t.List[str] = []
        self.environment = "bare"

    def run(
        self,
        paths: t.Sequence[str],
        tools_python: str,
        ask_nvml: t.Callable[[float, str], Answer],
        ask_smi: t.Callable[[float, t.Sequence[str]], Answer],
    ) -> dict:
        self.environment = self._try("environment", lambda: host.environment(self.root)) or "bare"
        bus = self._try("pci", lambda: pci.probe(self.root)) or pci.Bus([], 0, None)
        memory = self._try("memory", lambda: host.memory(self.root)) or host.Memory(0, 0, "The memory is not known.")
        self.warnings += [memory.warning] if memory.warning else []
        driven = [card.bus_id for card in bus.cards if card.driver == "nvidia"]
        answer, failed = self._nvidia(
            ("nvml", lambda: ask_nvml(self.timeout, tools_python)),
            ("nvidia_smi", lambda: ask_smi(self.timeout, driven)),
        )
        cards = self._merge(answer, failed, bus)
        for card in self._try("amd", lambda: amd.probe(bus.cards, self.timeout / 2, self.root)) or []:
            card.index = len(cards)
            cards.append(card)
        for card in cards:
            self._finish(card, memory)
        return {
            "schema": SCHEMA,
            "accelerators": [card.facts() for card in cards],
            "nvswitches": bus.nvswitches,
            "driver_version": answer.driver_version or (bus.nvidia_module or "").partition(",")[0] or None,
            "cuda_driver_version": answer.cuda_driver_version,
            "environment": self.environment,
            "cpu": self._try("cpu", lambda: host.cpu(self.root)),
            "memory_total_bytes": memory.total_bytes,
            "memory_available_bytes": memory.available_bytes,
            "disks": self._disks(paths),
            "sources": self.sources,
            "warnings": self.warnings,
        }

    def _try(self, name: str, probe: t.Callable[[], T]) -> t.Optional[T]:
        """The probe's answer, or None and the reason in ``sources``."""
        try:
            answer = within(self.timeout, probe)
        except Exception as error:  # whatever a strange machine makes of a probe, the other facts still count
            self.sources[name] = str(error) if isinstance(error, (ProbeFailed, TimeoutError)) else repr(error)
            return None
        self.sources[name] = "ok"
        return answer

    def _nvidia(self, *probes: t.Tuple[str, t.Callable[[], Answer]]) -> t.Tuple[Answer, t.Optional[ProbeFailed]]:
        """NVML, else nvidia-smi, else why not: the failure that says most."""
        failures = []
        for name, ask in probes:
            try:
                answer = ask()
            except ProbeFailed as failure:
                self.sources[name] = str(failure)
                failures.append(failure)
                if failure.kind == "hung" and name == "nvml":
                    # It asks the same driver: it would hang too and leave a second process that nobody can kill.
                    self.sources["nvidia_smi"] = "not asked: NVML hung"
                    break
            except Exception as error:  # as in _try
                self.sources[name] = repr(error)
                failures.append(ProbeFailed("error", repr(error)))
            else:
                self.sources[name] = "ok"
                if name == "nvml":
                    self.sources["nvidia_smi"] = "not needed: NVML answered"
                self.warnings += answer.warnings
                return answer, None
        telling = [failure for failure in failures if failure.kind != "absent"]
        return Answer([]), (telling or failures)[0]

    def _merge(self, answer: Answer, failed: t.Optional[ProbeFailed], bus: pci.Bus) -> t.List[Accelerator]:
        """What the driver listed, completed from the PCI bus, and then the cards that only the bus knows."""
        cards: t.List[Accelerator] = list(answer.accelerators)
        on_bus = {card.bus_id: card for card in bus.cards if card.vendor == "nvidia"}
        for card in cards:
            known = on_bus.pop(card.pci_bus_id or "", None)
            if known is not None:
                _complete(card, known)
        unlisted = list(on_bus.values())
        for card in cards:  # a lost card has an index but no address: it is the one that nobody listed
            driven = [known for known in unlisted if known.driver == "nvidia"]
            if card.pci_bus_id is None and driven:
                unlisted.remove(driven[0])
                _complete(card, driven[0])
                card.pci_bus_id, card.name = driven[0].bus_id, driven[0].name
        if self.environment == "container" and (failed is None or failed.kind in ("absent", "no_devices")):
            # sysfs shows a container the host's whole bus; the driver, if it was let in, shows what is its own.
            elsewhere = [known for known in unlisted if known.driver == "nvidia"]
            unlisted = [known for known in unlisted if known.driver != "nvidia"]
            if elsewhere:
                self.warnings.append(problems.not_given(len(elsewhere)))
        for known in unlisted:
            card = Accelerator(index=len(cards), vendor="nvidia", name=known.name, pci_bus_id=known.bus_id)
            card.architecture = known.architecture
            card.refuse(self._problem(known, failed, bus))
            _complete(card, known)
            cards.append(card)
        if not cards and failed is not None:
            cards += self._off_the_bus(failed)
        return cards

    def _problem(self, card: pci.Card, failed: t.Optional[ProbeFailed], bus: pci.Bus) -> str:
        if card.driver not in (None, "nvidia"):
            return problems.no_driver(card.architecture, card.driver, bus.nvidia_module)
        if failed is not None and failed.kind not in ("absent", "no_devices", "not_loaded"):
            return problems.failure(failed.kind, str(failed), self.environment)
        if card.driver == "nvidia":
            return problems.failure(failed.kind, str(failed), self.environment) if failed else problems.not_listed()
        if failed is not None and failed.kind == "not_loaded":  # its user space is there, so it was installed
            return problems.failure("not_loaded", str(failed), self.environment)
        return problems.no_driver(card.architecture, None, bus.nvidia_module)

    def _off_the_bus(self, failed: ProbeFailed) -> t.List[Accelerator]:
        """GPUs that are no PCI devices, when no driver speaks for them."""
        if self.environment == "jetson":
            board = host.board(self.root) or "NVIDIA Jetson"
            card = Accelerator(index=0, vendor="nvidia", name=board, memory_unified=True)
            card.compute_capability = next((cc for word, cc in TEGRA_CAPABILITY if word in board), None)
            card.refuse(problems.jetson())
            return [card]
        if self.environment == "wsl":
            self.warnings.append(problems.wsl())
        elif failed.kind not in ("absent", "no_devices"):
            self.warnings.append(problems.failure(failed.kind, str(failed), self.environment))
        return []

    def _finish(self, card: Accelerator, memory: host.Memory) -> None:
        if card.memory_unified and card.vendor == "nvidia" and card.memory_total_bytes is None:
            card.memory_total_bytes = memory.total_bytes
            card.memory_free_bytes = memory.available_bytes
            self.warnings.append(
                "%s shares the system's memory: its memory figures are the system's, and what runs on the host "
                "uses the same memory." % card.name
            )
        if card.mig and card.mig["enabled"] and not card.mig["slices"]:
            card.refuse(problems.mig_without_slices(card.index))
        if card.compute_mode == "prohibited":
            card.refuse(problems.prohibited(card.index))
        holders = [card.processes] + [piece["processes"] for piece in (card.mig["slices"] if card.mig else [])]
        for process in (entry for entries in holders for entry in entries):
            process["name"] = host.process_name(process["pid"], process["name"], self.root)
            process["unit"] = cgroup.unit_of(process["pid"], self.root)

    def _disks(self, paths: t.Sequence[str]) -> t.List[dict]:
        found = []
        self.sources["disks"] = "ok"
        for path in paths:
            try:
                found.append(within(self.timeout, lambda path=path: host.disk(path)))
            except (OSError, TimeoutError) as error:  # a dead network file system answers nothing at all
                self.sources["disks"] = "%s: %s" % (path, error)
                self.warnings.append("The disk of %s could not be measured: %s." % (path, error))
        return found


def _complete(card: Accelerator, known: pci.Card) -> None:
    card.driver = known.driver
    card.numa_node = known.numa_node
    card.architecture = card.architecture or known.architecture
    card.pcie = {
        "gen_max": card.pcie["gen_max"] or known.gen_max,
        "width_max": card.pcie["width_max"] or known.width_max,
    }


def within(timeout: float, probe: t.Callable[[], T]) -> T:
    """``probe()``, or TimeoutError when it takes longer. What hangs stays behind in a thread that nobody waits for."""
    outcome: t.Dict[str, t.Any] = {}

    def work() -> None:
        try:
            outcome["answer"] = probe()
        except Exception as error:  # handed to the caller below
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    if "error" in outcome:
        raise outcome["error"]
    if "answer" not in outcome:
        raise TimeoutError("no answer within %g seconds" % timeout)
    return t.cast(T, outcome["answer"])
