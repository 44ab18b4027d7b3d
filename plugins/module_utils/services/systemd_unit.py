# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd says about one unit, and whether its process has seen its present configuration."""

from __future__ import annotations

import os
import subprocess
import time
import typing as t

from ..errors import GpufleetError

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "Result",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
)
UNIT_FILES = "/etc/systemd/system/"
RUNNING = ("active", "reloading", "activating")

Runner = t.Callable[[t.List[str]], str]


def run(arguments: t.List[str]) -> str:
    """Standard output of a command that has to succeed."""
    try:
        # run_command belongs to a module, and has no timeout.
        process = subprocess.run(  # pylint: disable=ansible-bad-function
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GpufleetError("%s: %s" % (arguments[0], error)) from None
    if process.returncode != 0:
        problem = process.stderr.decode(errors="replace").strip()
        raise GpufleetError("%s ended with %d: %s" % (" ".join(arguments), process.returncode, problem))
    return process.stdout.decode(errors="replace")


def status(unit: str, files: t.Sequence[str], journal_lines: int, runner: Runner = run) -> t.Dict[str, t.Any]:
    """State of the unit; ``stale`` when it runs and any of ``files`` is newer than its main process."""
    shown = parse_show(runner(["systemctl", "show", unit, "--property=" + ",".join(PROPERTIES)]))
    running = shown["ActiveState"] in RUNNING
    started_at = _started_at(shown) if running else None
    needs_reload = shown["NeedDaemonReload"] == "yes" or bool(_unseen(shown, files))
    newer = [] if started_at is None else [path for path in files if _changed_at(path) > started_at]
    return {
        "unit": unit,
        "loaded": shown["LoadState"] == "loaded",
        # (What a generator makes of a file, such as Quadlet, starts at boot because the file says so.)
        "enabled": shown["UnitFileState"] in ("enabled", "generated"),
        "active": shown["ActiveState"] == "active",
        "state": "%s (%s)" % (shown["ActiveState"], shown["SubState"]),
        "running": running,
        "result": shown["Result"],
        "exit_status": int(shown["ExecMainStatus"]),
        "main_pid": int(shown["MainPID"]) or None,
        "n_restarts": int(shown["NRestarts"]),
        "started_at": started_at,
        "needs_daemon_reload": needs_reload,
        "stale": bool(newer) or (running and needs_reload),
        "newer_files": newer,
        "journal": journal(unit, journal_lines, runner) if journal_lines else [],
    }


def origin(unit: str, runner: Runner = run) -> t.Dict[str, str]:
    """Where a unit comes from: its file, its drop-ins, the user it runs as, and its environment as one line each."""
    names = ("LoadState", "FragmentPath", "DropInPaths", "User", "Environment")
    shown = dict.fromkeys(names, "")
    text = runner(["systemctl", "show", unit, "--property=" + ",".join(names)])
    shown.update(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return shown


def parse_show(text: str) -> t.Dict[str, str]:
    """Properties as ``systemctl show`` prints them. A unit that does not exist, or is no service, lacks some."""
    shown = {"MainPID": "0", "NRestarts": "0", "ExecMainStatus": "0", "ExecMainStartTimestampMonotonic": "0"}
    shown.update(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name: shown.get(name, "") for name in PROPERTIES}


def journal(unit: str, lines: int, runner: Runner = run) -> t.List[str]:
    """The last lines that the unit and systemd wrote about it."""
    text = runner(["journalctl", "--unit", unit, "--lines", str(lines), "--no-pager", "--output", "short-iso"])
    return text.splitlines()


def _unseen(shown: t.Mapping[str, str], files: t.Sequence[str]) -> t.List[str]:
    """Files that systemd has not found yet: of a directory that is new, it says itself that nothing is to be read."""
    seen = [shown["FragmentPath"]] + shown["DropInPaths"].split()
    return [path for path in files if path.startswith(UNIT_FILES) and path not in seen and os.path.exists(path)]


def _started_at(shown: t.Mapping[str, str]) -> t.Optional[float]:
    monotonic_s = int(shown["ExecMainStartTimestampMonotonic"]) / 1e6
    if monotonic_s == 0:
        return None
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + monotonic_s


def _changed_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
