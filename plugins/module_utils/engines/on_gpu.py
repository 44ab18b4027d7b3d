# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an engine that answers does so from the GPUs that were planned, or silently from the CPU."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from ..hardware import holders
from ..hardware.accelerator import Answer, ProbeFailed
from ..services import control_group
from .connection import Client, failure


@dataclass(frozen=True)
class Place:
    """Where the engine is to be. ``ask`` and ``group`` are what asks the driver and systemd, or a test's own."""

    devices: t.Tuple[str, ...]
    unit: t.Optional[str] = None
    container: t.Optional[str] = None
    container_engine: str = "docker"
    tools_python: str = ""
    timeout_s: float = 20
    ask: t.Callable[[float, str], Answer] = holders.ask
    group: t.Optional[t.Callable[[], t.Optional[str]]] = None
    root: str = "/"

    def check(self, engine: str) -> None:
        if engine != "ollama" and not (self.unit or self.container):
            raise GpufleetError("devices needs service or container: it says whose processes are to be on the GPUs")

    @property
    def owner(self) -> str:
        return "container %s" % self.container if self.container else str(self.unit)

    def control_group(self) -> t.Optional[str]:
        if self.group is not None:
            return self.group()
        if self.container:
            return control_group.of_container(self.container_engine, self.container)
        return control_group.of_unit(str(self.unit))

    def rows(self) -> t.List[holders.Row]:
        """What is held on each device. Raises ProbeFailed."""
        group = self.control_group()
        answer = self.ask(self.timeout_s, self.tools_python)
        owns = holders.in_group(group, self.root) if group else (lambda process: False)
        return holders.rows([card.facts() for card in answer.accelerators], self.devices, owns)


def check(client: Client, engine: str, model: str, place: Place) -> t.List[t.Dict[str, t.Any]]:
    """What is held on each device. A failure with the verdict cpu_fallback, or gpu_unknown, when it is not as planned."""
    if engine == "ollama":
        return _of_ollama(client, model, place)
    try:
        found = place.rows()
    except ProbeFailed as error:
        raise failure("gpu_unknown", "%s answers, and the driver does not say who uses the GPUs: %s" % (model, error)) from None
    if holders.missing(found):
        raise failure("cpu_fallback", "%s answers, but %s" % (model, holders.fallback(place.owner, found)), 200)
    return found


def loaded_by_ollama(client: Client) -> t.List[t.Dict[str, t.Any]]:
    """The models that Ollama has loaded, with ``size`` and ``size_vram``: it counts itself what is on which side."""
    answer = client.get("/api/ps")
    try:
        models = json.loads(answer.body)["models"] or []
        return [{"name": str(one["name"]), "size": int(one["size"]), "size_vram": int(one["size_vram"])} for one in models]
    except (ValueError, KeyError, TypeError):
        text = "/api/ps answered %d, and not as Ollama does" % answer.status
        raise failure("not_an_openai_endpoint", text, answer.status) from None


def on_cpu(model: t.Mapping[str, t.Any], devices: t.Iterable[str]) -> str:
    """What is wrong, with the numbers."""
    return "%s runs on the CPU alone (size_vram 0 of %d bytes), and not on %s as the plan says" % (
        model["name"], model["size"], ", ".join(devices),
    )  # fmt: skip


def _of_ollama(client: Client, model: str, place: Place) -> t.List[t.Dict[str, t.Any]]:
    """By Ollama's own account: which of the devices a model gets is decided when it is loaded, on AMD cards too."""
    names = (model, model + ":latest")
    found = [one for one in loaded_by_ollama(client) if one["name"] in names]
    for one in found:
        if one["size"] and not one["size_vram"]:
            raise failure("cpu_fallback", "%s answers, but %s" % (model, on_cpu(one, place.devices)), 200)
    return found
