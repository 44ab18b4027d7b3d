# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a service on the GPU does what it should, and whether a restart is due. Pure: it only judges what was seen.

``look`` has one entry for each of STAGES, from the cheapest on; who looks stops at the first verdict other than ``ok``. A
stage that was not looked at is left out. ``state`` is what the last run returned, an empty dictionary at first; times are
seconds since 1970.
"""

from __future__ import annotations

import copy
import re
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError
from ..hardware import holders

Dict = t.Dict[str, t.Any]

STAGES = ("unit", "nodes", "driver", "kernel", "gpus", "endpoint")
DEFAULTS: Dict = {
    "api_key_file": "",
    "backoff_s": [60, 120, 300, 600, 1800],
    "ca_path": "",
    "container": "",
    "container_engine": "docker",
    "devices": [],
    "engine": "generic",
    "failures": 3,
    "gpu_models": [],
    "kernel_log": "journal",
    "kernel_module": "nvidia",
    "model": "",
    "nodes": [],
    "pci_addresses": [],
    "probe": True,
    "restarts_per_hour": 4,
    "start_s": 900,
    "sysfs_path": "/sys",
    "timeout_s": 10,
    "tools_python": "/opt/gpufleet/tools/bin/python",
    "validate_certs": True,
}
REQUIRED = ("unit", "url")
REMINDER_S = 600  # a trouble that stays is said again this often
HOUR_S = 3600
# A module that is loaded once more after the engine started. The words are the driver's own (nv.c), of all its branches.
DRIVER_LOADED = re.compile(r"NVRM: loading NVIDIA UNIX")
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)[,.]? ?(.*)")

# Xids after which no context on the GPU goes on, by what NVIDIA's catalogue asks for at once ("Resolution Bucket (Immediate
# Action)", https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html). Not here is what kills the context of one
# application alone (13, 31, 43, 45, 68: the same that NVIDIA's k8s-device-plugin leaves alone; and 94, a contained memory error;
# the engine then ends itself, and others on the card go on), what is for information (63, 92, 154), and NVLink's (74, 144 to
# 150), whose lines only an expert can read: an engine that it stops is found by the probe.
_RESET = "NVIDIA asks for a reset of the GPU (nvidia-smi --gpu-reset) when it comes back"
FATAL_XIDS: t.Dict[int, t.Tuple[str, str]] = {
    46: ("GPU stopped processing", _RESET),
    48: ("double bit ECC error", _RESET),
    62: ("PMU halted", _RESET),
    64: ("row remapping failed", _RESET),
    95: ("uncontained memory error", _RESET),
    109: ("context switch timeout", _RESET),
    110: ("security fault", _RESET),
    119: ("GSP RPC timeout", _RESET),
    120: ("GSP error", _RESET),
    136: ("NVLink training failed", _RESET),
    140: ("unrecovered ECC error", _RESET),
    143: ("GPU initialization failed", _RESET),
    155: ("NVLink software-defined error", _RESET),
    158: ("GPU fatal timeout", _RESET),
}
LOST_XID = 79  # fallen off the bus: only the host's restart brings it back

# What the verdicts of engines/probe.py mean here.
_MISCONFIGURED = ("unauthorized", "model_not_found", "bad_request", "tls_error", "not_an_openai_endpoint", "no_key")
_ALIVE = ("ok", "overloaded")
_HUNG = ("hung", "timeout")

# What a restart does not mend, and what to do instead.
_HELPLESS = {
    "device_node": "A restart cannot help before it is there: see that the driver is loaded, then nvidia-modprobe -u -c 0.",
    "driver_gone": "A restart cannot help before it is loaded: modprobe it; dmesg says why it went.",
    "driver_failed": "A restart would not come up: mend the driver first; what runs may go on.",
    "gpu_lost": "A restart cannot help: drain the host, try nvidia-smi --gpu-reset, else reboot it.",
    "misconfigured": "Nothing is restarted for that: correct what this watch was given.",
    "absent": "Remove this watch, or give it the right unit.",
}
VERDICTS = ("ok", "busy", "starting", "stopping", "stopped", "failed", "driver_changed", "xid", "cpu_fallback", "unhealthy", "hung")
VERDICTS += tuple(_HELPLESS)

# (Not 1: so Python itself ends when a program is broken.)
EXIT_FINE, EXIT_TROUBLE, EXIT_HELPLESS, EXIT_MISCONFIGURED, EXIT_OWN = 0, 10, 2, 3, 4


def config(given: t.Mapping[str, t.Any]) -> Dict:
    """The configuration with its defaults, refused when it cannot be meant."""
    lacking = [name for name in REQUIRED if not given.get(name)]
    unknown = sorted(set(given) - set(DEFAULTS) - set(REQUIRED))
    if lacking or unknown:
        words = ["%s is missing" % name for name in lacking] + ["%s is not known" % name for name in unknown]
        raise GpufleetError("the configuration of this watch: " + ", ".join(words))
    made = dict(DEFAULTS, **given)
    try:
        made["backoff_s"] = [int(seconds) for seconds in made["backoff_s"]]
    except (TypeError, ValueError):
        made["backoff_s"] = []
    if not made["backoff_s"]:
        raise GpufleetError("the configuration of this watch: backoff_s=%s must be a list of seconds" % given["backoff_s"])
    for name, least in (("failures", 1), ("restarts_per_hour", 0), ("start_s", 0), ("timeout_s", 1)):
        try:  # (older Ansible makes text of numbers)
            made[name] = int(made[name])
        except (TypeError, ValueError):
            made[name] = -1
        if made[name] < least:
            text = "the configuration of this watch: %s=%s must be a number, at least %d"
            raise GpufleetError(text % (name, given[name], least))
    return made


def xids(lines: t.Iterable[t.Tuple[float, str]]) -> t.List[Dict]:
    """The Xid errors in lines of the kernel's log, each with its time."""
    found = []
    for at, line in lines:
        match = _XID.search(line)
        if match:
            found.append({"at": at, "device": match.group(1).lower(), "xid": int(match.group(2)), "text": match.group(3)[:200]})
    return found


def driver_loads(lines: t.Iterable[t.Tuple[float, str]]) -> t.List[float]:
    """When the NVIDIA module was loaded, by lines of the kernel's log."""
    return [at for at, line in lines if DRIVER_LOADED.search(line)]


@dataclass
class Decision:
    """What to do. ``say`` is whether it belongs in the journal, with ``priority`` as syslog numbers it."""

    verdict: str
    reason: str
    state: Dict
    action: str = "none"  # or restart
    done: str = ""  # what follows, in words
    priority: int = 6
    say: bool = False
    exit_code: int = EXIT_FINE

    def line(self, unit: str) -> str:
        return "%s: %s: %s.%s" % (unit, self.verdict, self.reason.rstrip("."), " " + self.done if self.done else "")


def decide(settings: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], state: t.Mapping[str, t.Any], now: float) -> Decision:
    """The verdict on what was looked at so far; ``ok`` before the last stage means: go on looking."""
    made = _Judge(settings, look, state, now).judge()
    _word(made, now)
    return made


class _Judge:
    def __init__(self, settings: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], state: t.Mapping[str, t.Any],
                 now: float) -> None:  # fmt: skip
        self.settings, self.look, self.now = settings, look, now
        self.state: Dict = dict(
            {"engine": "", "ready": False, "failing": 0, "driver": None, "kernel_seen": 0.0, "fatal": None, "signs": None,
             "restarts": [], "given_up": False, "said": None, "settled": None},
            **copy.deepcopy(dict(state)),
        )  # fmt: skip
        self.unit: t.Mapping[str, t.Any] = look["unit"]
        # (A clock that was set back leaves times of the future behind.)
        self.recent = sorted(at for at in self.state["restarts"] if now - HOUR_S < at <= now)

    def judge(self) -> Decision:
        found = self._unit()
        for stage, judge in (
            ("nodes", self._nodes), ("driver", self._driver), ("kernel", self._kernel), ("gpus", self._gpus),
            ("endpoint", self._endpoint),
        ):  # fmt: skip
            if found is None and stage in self.look:
                found = judge(self.look[stage])
        return found or Decision("ok", "nothing found so far", self.state)

    # --- the stages -----------------------------------------------------------------------------

    def _unit(self) -> t.Optional[Decision]:
        unit = self.unit
        if unit["load_state"] != "loaded":
            return self._helpless("absent", "systemd does not know this unit (%s)" % unit["load_state"])
        state = "%s (%s)" % (unit["active_state"], unit["sub_state"])
        if unit["active_state"] == "failed":
            if unit["file_state"] in ("disabled", "masked", "masked-runtime"):
                return self._left_alone("stopped", "it is failed, and %s" % unit["file_state"])
            if unit["restart"] in ("always", "on-failure") and unit["restarts"] < unit["start_limit"] - 1:
                # systemd starts such a unit again by itself, until its limit. It did not: somebody stopped it, who had to wait.
                return self._left_alone("stopped", "it was stopped, and did not end well (%s)" % unit["result"])
            self.state["failing"] = 0
            return self._restart("failed", "systemd has given it up, result %s" % unit["result"])
        if unit["active_state"] == "inactive":
            return self._left_alone("stopped", "it was stopped")
        if unit["active_state"] == "deactivating":
            return Decision("stopping", "it is %s" % state, self.state)
        if unit["invocation"] != self.state["engine"]:
            self.state.update(engine=unit["invocation"], ready=False, failing=0, driver=None, fatal=None, signs=None)
            self.state["kernel_seen"] = unit["started_at"] or self.now
        if unit["active_state"] != "active":
            return Decision("starting", "it is %s" % state, self.state)
        return None

    def _nodes(self, nodes: t.Mapping[str, str]) -> t.Optional[Decision]:
        wrong = ["%s (%s)" % (path, problem) for path, problem in nodes.items() if problem]
        return self._helpless("device_node", "%s cannot be opened" % ", ".join(wrong)) if wrong else None

    def _driver(self, driver: t.Optional[Dict]) -> t.Optional[Decision]:
        """``driver``: which loading of the module it is, and its version; None when the module is not loaded."""
        name, known = self.settings["kernel_module"], self.state["driver"]
        if driver is None:
            return self._helpless("driver_gone", "the kernel module %s is not loaded" % name)
        if known is None:
            self.state["driver"] = driver
        elif known != driver:
            versions = [str(one["version"] or "?") for one in (known, driver)]
            changed = "version %s, and %s before" % (versions[1], versions[0]) if versions[0] != versions[1] else versions[0]
            return self._restart("driver_changed", "the kernel module %s was loaded anew since it started (%s)" % (name, changed))
        return None

    def _kernel(self, kernel: t.Mapping[str, t.Any]) -> t.Optional[Decision]:
        """``kernel``: the Xids and the loadings of the driver since the last look, and until when that was."""
        started = self.unit["started_at"] or 0.0
        self.state["kernel_seen"] = kernel["until"]
        loads = [at for at in kernel["loads"] if at > started]
        if loads and self.state["fatal"] is None:
            reason = "the driver was loaded anew %s after it started" % _span(loads[0] - started)
            self.state["fatal"] = {"verdict": "driver_changed", "reason": reason}
        for one in kernel["xids"]:
            if one["at"] > started and self._ours(one["device"]):
                if one["xid"] == LOST_XID:
                    reason = "Xid 79 of %(device)s: the GPU has fallen off the bus" % one
                    self.state["fatal"] = {"verdict": "gpu_lost", "reason": reason}
                elif one["xid"] in FATAL_XIDS and self.state["fatal"] is None:
                    name, wanted = FATAL_XIDS[one["xid"]]
                    reason = "Xid %d of %s (%s). %s" % (one["xid"], one["device"], name, wanted)
                    self.state["fatal"] = {"verdict": "xid", "reason": reason}
        fatal = self.state["fatal"]
        if fatal is None:
            return None
        return (self._helpless if fatal["verdict"] == "gpu_lost" else self._restart)(fatal["verdict"], fatal["reason"])

    def _ours(self, device: str) -> bool:
        """A line of the kernel names a card without its function: 0000:01:00 of 0000:01:00.0."""
        addresses = [address.lower() for address in self.settings["pci_addresses"]]
        return not addresses or any(address.startswith(device.partition(".")[0]) for address in addresses)

    def _gpus(self, gpus: t.Mapping[str, t.Any]) -> t.Optional[Decision]:
        failed = gpus["failed"]
        if failed:
            if failed["kind"] == "absent":  # nobody to ask; the other looks go on
                return None
            return self._helpless("driver_failed", "the driver does not say who uses the GPUs: %s" % failed["text"])
        lost = [row for row in gpus["rows"] if not row["found"] or row["problem"]]
        if lost:
            words = ["%s (%s)" % (row["device"], row["problem"] or "the driver does not list it") for row in lost]
            return self._helpless("gpu_lost", ", ".join(words))
        if self._is_expected_ready() and holders.missing(gpus["rows"]):
            return self._no_memory(gpus["rows"])
        return None

    def _no_memory(self, rows: t.Sequence[Dict]) -> Decision:
        return self._again("cpu_fallback", holders.fallback(self._owner(), rows))

    def _endpoint(self, endpoint: t.Mapping[str, t.Any]) -> Decision:
        self.state["signs"] = endpoint["signs"]
        verdict, detail = endpoint["verdict"], endpoint["detail"]
        if verdict not in _ALIVE and self._is_ahead():
            return Decision("starting", detail, self.state)
        if verdict in _MISCONFIGURED:
            return self._helpless("misconfigured", detail)
        if verdict in _ALIVE:
            rows = (self.look.get("gpus") or {}).get("rows") or []
            if holders.missing(rows):
                self.state["ready"] = True
                return self._no_memory(rows)
            if endpoint.get("on_cpu"):
                self.state["ready"] = True
                return self._again("cpu_fallback", endpoint["on_cpu"])
            self.state.update(ready=True, failing=0, given_up=False, settled=self.unit["changed_at"])
            return Decision("ok" if verdict == "ok" else "busy", detail, self.state)
        if not self._is_expected_ready():
            return Decision("starting", detail, self.state)
        return self._again("hung" if verdict in _HUNG and endpoint["healthy"] else "unhealthy", detail)

    # --- what follows ---------------------------------------------------------------------------

    def _is_expected_ready(self) -> bool:
        """It was ready since it started, or has had the time to become so."""
        return self.state["ready"] or self.now - (self.unit["started_at"] or self.now) > self.settings["start_s"]

    def _is_ahead(self) -> bool:
        """Its unit was written after this watch, which then may not know its GPUs and its address: who changed the one is about
        to change the other. Until all was well once, or for an hour."""
        changed = self.unit["changed_at"]
        return self.unit["ahead"] and changed != self.state["settled"] and 0 <= self.now - changed < HOUR_S

    def _owner(self) -> str:
        return "container %s" % self.settings["container"] if self.settings["container"] else self.settings["unit"]

    def _left_alone(self, verdict: str, reason: str) -> Decision:
        self.state.update(engine="", ready=False, failing=0, given_up=False, fatal=None, driver=None)
        return Decision(verdict, reason, self.state, done="It is left alone.")

    def _helpless(self, verdict: str, reason: str) -> Decision:
        self.state["failing"] = 0
        done = _HELPLESS[verdict]
        if verdict in ("misconfigured", "absent"):
            return Decision(verdict, reason, self.state, done=done, priority=4, exit_code=EXIT_MISCONFIGURED)
        return Decision(verdict, reason, self.state, done=done, priority=3, exit_code=EXIT_HELPLESS)

    def _again(self, verdict: str, reason: str) -> Decision:
        """What may be a moment's weakness: only several looks in a row count."""
        if self._is_ahead():
            return Decision("starting", reason, self.state)
        self.state["failing"] += 1
        seen, wanted = self.state["failing"], int(self.settings["failures"])
        if seen < wanted:
            done = "At %d looks in a row it is restarted." % wanted
            if seen > 1:
                done = "Seen %d times in a row; at %d it is restarted." % (seen, wanted)
            return Decision(verdict, reason, self.state, done=done, priority=4, exit_code=EXIT_TROUBLE)
        return self._restart(verdict, reason)

    def _restart(self, verdict: str, reason: str) -> Decision:
        backoff, most = self.settings["backoff_s"], int(self.settings["restarts_per_hour"])
        self.state["restarts"] = self.recent
        made = Decision(verdict, reason, self.state, priority=3, exit_code=EXIT_TROUBLE)
        if self.state["given_up"] or len(self.recent) >= most:
            self.state["given_up"] = True
            made.done = "Given up after %d restarts within an hour, until it is healthy again or started by hand." % most
            made.exit_code = EXIT_HELPLESS
            return made
        due = self.recent[-1] + backoff[min(len(self.recent), len(backoff)) - 1] if self.recent else self.now
        if self.now < due:
            made.done = "The next restart is not before %s from now." % _span(due - self.now)
            return made
        self.state["restarts"] = self.recent + [self.now]
        self.state["failing"] = 0
        made.action, made.done = "restart", "Restarted, %d of at most %d times within an hour." % (len(self.recent) + 1, most)
        return made


def _word(made: Decision, now: float) -> None:
    """Whether it is said: what is new, what is done, and from time to time what stays."""
    said = made.state["said"]
    if made.exit_code == EXIT_FINE:
        if said and made.verdict in ("ok", "busy"):
            made.say, made.priority, made.done = True, 5, "It was %s before." % said["verdict"]
            made.state["said"] = None
        return
    # Figures in a reason change from look to look, and are no news.
    words = re.sub(r"\d+", "#", made.line("")) if made.exit_code != EXIT_TROUBLE or "not before" in made.done else made.line("")
    if made.action == "restart" or not said or said["words"] != words or not 0 <= now - said["at"] < REMINDER_S:
        made.say = True
        made.state["said"] = {"verdict": made.verdict, "words": words, "at": now}


def _span(seconds: float) -> str:
    return "%d s" % seconds if seconds < 120 else "%d min" % (seconds // 60)
