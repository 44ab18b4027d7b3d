# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watchdog on the host: one look at one service, and the restart that follows from it.

    python3 -m gpufleet.watchdog.program NAME [--look]

NAME is that of a file in /etc/gpufleet/watchdog, without its .json. With --look it prints what it sees and would do, and does
nothing. It ends with 0 when nothing is wrong; 10 when something is, and a restart is the remedy; 2 when a restart cannot
help, or was tried too often; 3 when the watch itself is configured wrongly; 4 when it could not look.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import typing as t

from ..deployment import watchdog
from ..services import systemd_unit
from . import journal, look

CONFIG_PATH = "/etc/gpufleet/watchdog"
STATE_PATH = "/run/gpufleet/watchdog"
COMMAND_S = 20.0  # for each of the commands that are asked
HANG_S = 600.0  # who asks a driver that hangs may wait for ever, be it killed: so it is not asked at every look

Dict = t.Dict[str, t.Any]


def stages(settings: t.Mapping[str, t.Any], seen: Dict, state: t.Mapping[str, t.Any]) -> t.Iterator[t.Tuple[str, t.Any]]:
    """What there is to look at, one after another."""
    yield "unit", look.unit(settings["unit"], settings["written_at"])
    if settings["nodes"] or settings["pci_addresses"]:
        yield "nodes", _hung(state, "nodes") or look.nodes(settings["nodes"], settings["pci_addresses"], COMMAND_S)
    if settings["kernel_module"]:
        yield "driver", look.driver(settings["kernel_module"], settings["sysfs_path"])
    if settings["kernel_log"]:
        started = seen["unit"]["started_at"] or 0.0
        since = max(started, state.get("kernel_seen", 0.0) if state.get("engine") == seen["unit"]["invocation"] else started)
        yield "kernel", look.kernel(settings["kernel_log"], since, time.time(), COMMAND_S)
    if settings["devices"] and settings["engine"] != "ollama":
        yield "gpus", _hung(state, "gpus") or look.gpus(settings, COMMAND_S)
    yield "endpoint", look.endpoint(settings, state.get("signs") if state.get("engine") == seen["unit"]["invocation"] else None)


def _hung(state: t.Mapping[str, t.Any], stage: str) -> t.Optional[Dict]:
    """What was seen at this stage when the driver last hung, not long ago."""
    hang = state.get("hang") or {}
    return hang["seen"] if hang.get("stage") == stage and 0 <= time.time() - hang["at"] < HANG_S else None


def _remember_hang(seen: t.Mapping[str, t.Any], before: t.Mapping[str, t.Any]) -> t.Optional[Dict]:
    for stage in ("nodes", "gpus"):
        if stage in seen and look.hangs(seen[stage]):
            old = before.get("hang") or {}
            return old if seen[stage] is old.get("seen") else {"stage": stage, "at": time.time(), "seen": seen[stage]}
    return None


def examine(settings: t.Mapping[str, t.Any], state: t.Mapping[str, t.Any]) -> t.Tuple[Dict, watchdog.Decision]:
    """All that was seen, and the decision."""
    seen: Dict = {}
    for name, value in stages(settings, seen, state):
        seen[name] = value
        decision = watchdog.decide(settings, seen, state, time.time())
        if decision.verdict != "ok":
            break
    if decision.exit_code != watchdog.EXIT_FINE:
        # Stopped or started by somebody while this looked: what was seen of it then is no trouble.
        now = look.unit(settings["unit"], settings["written_at"])
        if any(now[name] != seen["unit"][name] for name in ("active_state", "invocation")):
            seen = {"unit": now}
            decision = watchdog.decide(settings, seen, state, time.time())
    decision.state["hang"] = _remember_hang(seen, state)
    return seen, decision


def restart(unit: str, seen: t.Mapping[str, t.Any], runner: systemd_unit.Runner = systemd_unit.run) -> None:
    """Not waited for: the next look sees what came of it. An admin's stop in between stands."""
    if seen["active_state"] == "failed":
        runner(["systemctl", "reset-failed", unit])
        runner(["systemctl", "restart", "--no-block", unit])
    else:
        runner(["systemctl", "try-restart", "--no-block", unit])


def read_json(path: str) -> Dict:
    with open(path, encoding="utf-8") as stream:
        found = json.load(stream)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def read_state(path: str) -> Dict:
    try:
        return read_json(path)
    except (OSError, ValueError):  # none yet, or of a run that was cut off: it is made anew
        return {}


def write_state(path: str, state: t.Mapping[str, t.Any]) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(state, stream, sort_keys=True)
    os.rename(temporary, path)


def run(name: str, only_look: bool, config_path: str = CONFIG_PATH, state_path: str = STATE_PATH) -> int:
    unit = name
    try:
        path = os.path.join(config_path, name + ".json")
        settings = dict(watchdog.config(read_json(path)), written_at=os.stat(path).st_mtime)
        unit = settings["unit"]
        state_file = os.path.join(state_path, name + ".json")
        seen, decision = examine(settings, read_state(state_file))
        if only_look:
            shown = {"look": seen, "says": decision.line(unit), "action": decision.action}
            sys.stdout.write(json.dumps(shown, indent=1, sort_keys=True) + "\n")
            return decision.exit_code
        # It is counted before it is done: a state that cannot be written must not lead to restarts without an end.
        write_state(state_file, decision.state)
        if decision.action == "restart":
            restart(unit, seen["unit"])
    except Exception as error:  # pylint: disable=broad-exception-caught
        # Whatever it is: nobody watches, and that has to be said.
        text = "%s: this watch could not do its work: %s" % (unit, error if str(error) else type(error).__name__)
        journal.say(text, 3, unit, {"GPUFLEET_VERDICT": "no_look"})
        journal.status(text)
        return watchdog.EXIT_OWN
    journal.status(decision.line(unit))
    if decision.say:
        fields = {"GPUFLEET_VERDICT": decision.verdict, "GPUFLEET_ACTION": decision.action}
        journal.say(decision.line(unit), decision.priority, unit, fields)
    return decision.exit_code


def main() -> None:
    parser = argparse.ArgumentParser(description="Looks after one service on the GPU.")
    parser.add_argument("name")
    parser.add_argument("--look", action="store_true", help="print what is seen, and do nothing")
    options = parser.parse_args()
    raise SystemExit(run(options.name, options.look))


if __name__ == "__main__":
    main()
