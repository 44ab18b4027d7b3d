# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking again until an endpoint is ready, or never will be."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from ..services import systemd_unit
from . import on_gpu, probe
from .connection import Client

JOURNAL_LINES = 30
HIDDEN = "********"


@dataclass(frozen=True)
class Patience:
    """How long to look, and how often the service may fail meanwhile."""

    deadline_s: float
    interval_s: float
    restarts_allowed: int

    def check(self) -> None:
        if self.deadline_s < 0 or self.interval_s <= 0 or self.restarts_allowed < 0:
            raise GpufleetError(
                "deadline=%g and restarts_allowed=%d must not be negative, and interval=%g must be more than 0"
                % (self.deadline_s, self.restarts_allowed, self.interval_s)
            )


class Unit:
    """The systemd unit behind the endpoint. It must be known; ``status`` is systemd_unit.status, or a test's own."""

    def __init__(self, name: str, status: t.Callable[..., t.Dict[str, t.Any]] = systemd_unit.status) -> None:
        self.name, self._status = name, status
        first = status(name, [], 0)
        if not first["loaded"]:
            raise GpufleetError("service=%s: systemd does not know this unit, or cannot load it" % name)
        self._restarts_before = first["n_restarts"]

    def now(self) -> t.Dict[str, t.Any]:
        return self._status(self.name, [], 0)

    def journal(self) -> t.List[str]:
        return self._status(self.name, [], JOURNAL_LINES)["journal"]

    def new_restarts(self, state: t.Mapping[str, t.Any]) -> int:
        # A start by hand sets systemd's count back to nothing.
        return max(0, state["n_restarts"] - self._restarts_before)


def wait(
    client: Client, wish: probe.Wish, patience: Patience, unit: t.Optional[Unit] = None, place: t.Optional[on_gpu.Place] = None
) -> t.Dict[str, t.Any]:
    """Look until the wish is fulfilled, time cannot help, the service has failed, or the deadline has passed.

    The last look begins before the deadline and takes as long as it needs, so a verdict is never a cut-off one.
    """
    wish.check()
    patience.check()
    if place is not None:
        place.check(wish.engine)
    began = time.monotonic()
    history: t.List[t.Dict[str, t.Any]] = []
    state: t.Optional[t.Dict[str, t.Any]] = None
    attempts = 0
    while True:
        attempts += 1
        look = probe.look(client, wish, place)
        if unit is not None:
            state = unit.now()
            judge(look, state, unit.new_restarts(state), patience.restarts_allowed)
        waited_s = time.monotonic() - began
        if not history or history[-1]["verdict"] != look.verdict:
            history.append({"verdict": look.verdict, "attempts": 0, "since_s": round(waited_s, 3)})
        history[-1]["attempts"] += 1
        if look.verdict not in probe.PASSING or waited_s + patience.interval_s > patience.deadline_s:
            break
        time.sleep(patience.interval_s)
    if look.verdict in probe.PASSING and attempts > 1:
        look.detail += "; %d attempts in %.0f s" % (attempts, waited_s)
    result = dict(look.as_dict(), attempts=attempts, waited_s=round(waited_s, 3), history=history)
    if unit is not None and state is not None:
        result["service"] = {name: state[name] for name in ("unit", "state", "active", "result", "n_restarts")}
        result["journal"] = [] if look.ok else unit.journal()
    return redacted(result, client.security.key)


def judge(look: probe.Look, state: t.Mapping[str, t.Any], new_restarts: int, restarts_allowed: int) -> None:
    """Correct the verdict by what systemd knows: whether waiting is any use, and who it was that answered."""
    name = "service %s" % state["unit"]
    ended = "last result %s, exit status %d" % (state["result"], state["exit_status"])
    problem = None
    if new_restarts > restarts_allowed:
        problem = "%s was restarted %d times while this waited, %s" % (name, new_restarts, ended)
    elif state["state"].startswith(("failed", "inactive")):
        problem = "%s is %s, %s" % (name, state["state"], ended)
    foreign = "what answers at the address is something else"
    if problem is not None:
        look.detail = "%s; %s" % (problem, foreign if look.ok else look.detail)
        look.verdict = "service_failed"
    elif look.ok and "auto-restart" in state["state"]:
        look.verdict, look.detail = "server_error", "%s is %s; %s" % (name, state["state"], foreign)
    elif look.verdict == "refused":
        look.verdict = "not_listening"
        look.detail += "; %s is %s" % (name, state["state"])
    look.advice = probe.ADVICE[look.verdict]


def redacted(value: t.Any, secret: t.Optional[str]) -> t.Any:
    """The same without the secret: a server may repeat it in a message, a service in its journal."""
    if not secret:
        return value
    if isinstance(value, str):
        return value.replace(secret, HIDDEN)
    if isinstance(value, list):
        return [redacted(entry, secret) for entry in value]
    if isinstance(value, dict):
        return {name: redacted(entry, secret) for name, entry in value.items()}
    return value
