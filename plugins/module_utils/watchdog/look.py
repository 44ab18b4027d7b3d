# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the watchdog sees, one function for each of deployment.watchdog.STAGES. Nothing here judges."""

from __future__ import annotations

import os
import time
import typing as t

from ..deployment import watchdog
from ..engines import arguments, on_gpu, probe, vllm_metrics
from ..engines.connection import Client
from ..errors import GpufleetError
from ..hardware import command
from ..hardware.accelerator import ProbeFailed
from ..hardware.pci import read
from ..services import systemd_unit
from . import kernel_log

Dict = t.Dict[str, t.Any]

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "InvocationID", "ExecMainStartTimestampMonotonic",
    "ActiveEnterTimestampMonotonic", "Restart", "NRestarts", "StartLimitBurst", "FragmentPath", "SourcePath", "DropInPaths",
)  # fmt: skip
# Opened by a process of its own: a driver that hangs keeps who opens its device.
_OPEN = 'for node; do if true <>"$node"; then echo "ok $node"; fi; done'
HANGS = "the driver hangs"
SETTLE_S = 0.3  # the engine counts a token a moment after it sent it


def unit(name: str, watch_written_at: float, runner: systemd_unit.Runner = systemd_unit.run) -> Dict:
    text = runner(["systemctl", "show", name, "--property=" + ",".join(_PROPERTIES)])
    shown = dict.fromkeys(_PROPERTIES, "")
    shown.update(line.split("=", 1) for line in text.splitlines() if "=" in line)
    # (A container's unit may have no main process.)
    monotonic = int(shown["ExecMainStartTimestampMonotonic"] or 0) or int(shown["ActiveEnterTimestampMonotonic"] or 0)
    started_at = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + monotonic / 1e6 if monotonic else None
    # (What a generator wrote at boot, or at the last daemon-reload, says nothing: its source does.)
    files = [shown["SourcePath"] or shown["FragmentPath"], *shown["DropInPaths"].split()]
    changed_at = max([os.stat(path).st_mtime for path in files if path and os.path.exists(path)], default=0.0)
    return {
        "changed_at": changed_at,
        "ahead": changed_at > watch_written_at,
        "restart": shown["Restart"],
        "restarts": int(shown["NRestarts"] or 0),
        "start_limit": int(shown["StartLimitBurst"] or 0),
        "load_state": shown["LoadState"],
        "active_state": shown["ActiveState"],
        "sub_state": shown["SubState"],
        "file_state": shown["UnitFileState"],
        "result": shown["Result"],
        "invocation": shown["InvocationID"],
        "started_at": started_at,
    }


def nodes(paths: t.Sequence[str], pci_addresses: t.Sequence[str], timeout: float, root: str = "/") -> t.Dict[str, str]:
    """Each device file, and what is wrong with it: nothing, or the reason why it cannot be opened."""
    paths = list(paths) + [path for path in map(lambda address: _node_of(address, root), pci_addresses) if path]
    problems = {path: "" if os.path.exists(path) else "it does not exist" for path in dict.fromkeys(paths)}
    there = [path for path, problem in problems.items() if not problem]
    if not there:
        return problems
    try:
        said = command.run(["/bin/sh", "-c", _OPEN, "sh"] + there, timeout)
    except command.TimedOut as error:
        return dict(problems, **{path: "%s: %s" % (error, HANGS) for path in there})
    opened = [line[3:] for line in said.stdout.splitlines() if line.startswith("ok ")]
    for path in there:
        if path not in opened:
            words = [line for line in said.stderr.splitlines() if path in line]
            problems[path] = words[0].rpartition(": ")[2] if words else "it cannot be opened"
    return problems


def hangs(seen: t.Mapping[str, t.Any]) -> bool:
    """Whether what ``nodes`` or ``gpus`` returned says that the driver does not come back."""
    if "failed" in seen:
        return bool(seen["failed"]) and seen["failed"]["kind"] == "hung"
    return any(problem.endswith(HANGS) for problem in seen.values())


def _node_of(address: str, root: str) -> t.Optional[str]:
    """A card's own device file. Its number is the driver's, and not the card's index."""
    for line in (read(os.path.join(root, "proc/driver/nvidia/gpus", address, "information")) or "").splitlines():
        name, _colon, value = line.partition(":")
        if name.strip() == "Device Minor" and value.strip().isdigit():
            return "/dev/nvidia%s" % value.strip()
    return None


def driver(module: str, sysfs_path: str) -> t.Optional[Dict]:
    """Which loading of the module it is: sysfs gives the directory of a module that is loaded again another inode."""
    path = os.path.join(sysfs_path, "module", module)
    try:
        return {"identity": os.stat(path).st_ino, "version": read(os.path.join(path, "version"))}
    except OSError:
        return None


def kernel(source: str, since: float, now: float, timeout: float) -> Dict:
    """``problem`` instead of errors when the log cannot be read: the other looks go on."""
    try:
        lines, problem = kernel_log.read(source, since, now, timeout), None
    except GpufleetError as error:
        lines, problem = [], str(error)
    until = since if problem else now
    return {"until": until, "problem": problem, "xids": watchdog.xids(lines), "loads": watchdog.driver_loads(lines)}


def gpus(settings: t.Mapping[str, t.Any], timeout: float) -> Dict:
    place = on_gpu.Place(
        devices=tuple(settings["devices"]), unit=settings["unit"], container=settings["container"] or None,
        container_engine=settings["container_engine"], tools_python=settings["tools_python"], timeout_s=timeout,
    )  # fmt: skip
    try:
        return {"failed": None, "rows": place.rows()}
    except ProbeFailed as error:
        return {"failed": {"kind": error.kind, "text": str(error)}, "rows": []}
    except GpufleetError as error:  # the container's engine cannot be asked
        return {"failed": {"kind": "absent", "text": str(error)}, "rows": []}


def endpoint(settings: t.Mapping[str, t.Any], signs_before: t.Optional[str]) -> Dict:
    """Health, and a token, unless the engine's own figures show that it works for others."""
    try:
        client = arguments.client(dict(
            dict.fromkeys(("api_key", "client_cert", "client_key")), url=settings["url"], timeout=settings["timeout_s"],
            api_key_file=settings["api_key_file"] or None, ca_path=settings["ca_path"] or None,
            validate_certs=settings["validate_certs"],
        ))  # fmt: skip
    except GpufleetError as error:  # the key, the address or a certificate: nothing that the engine can do about
        return {"verdict": "no_key", "detail": str(error), "healthy": None, "signs": signs_before, "on_cpu": ""}
    seen = _look(client, settings, "healthy")
    signs = _signs(client, settings)
    if seen.ok and settings["probe"] and (signs is None or signs_before is None or signs == signs_before):
        seen = _look(client, settings, "answering")
        if seen.verdict != "refused":
            time.sleep(SETTLE_S)
            signs = _signs(client, settings)
    made = {"verdict": seen.verdict, "detail": seen.detail, "healthy": seen.healthy, "signs": signs, "on_cpu": ""}
    if seen.ok and settings["engine"] == "ollama" and settings["gpu_models"]:
        made["on_cpu"] = _on_cpu(client, settings)
    key = client.security.key
    return {name: value.replace(key, "********") if key and isinstance(value, str) else value for name, value in made.items()}


def _look(client: Client, settings: t.Mapping[str, t.Any], state: str) -> probe.Look:
    wish = probe.Wish(state=state, engine=settings["engine"], model=settings["model"] or None, max_tokens=1)
    return probe.look(client, wish)


def _signs(client: Client, settings: t.Mapping[str, t.Any]) -> t.Optional[str]:
    if settings["engine"] != "vllm":
        return None
    try:
        answer = client.get("/metrics")
        return vllm_metrics.signs_of_life(answer.text) if answer.status == 200 else None
    except GpufleetError:
        return None


def _on_cpu(client: Client, settings: t.Mapping[str, t.Any]) -> str:
    names = [name + end for name in settings["gpu_models"] for end in ("", ":latest")]
    try:
        loaded = on_gpu.loaded_by_ollama(client)
    except GpufleetError:
        return ""
    beside = [one for one in loaded if one["name"] in names and one["size"] and not one["size_vram"]]
    return on_gpu.on_cpu(beside[0], settings["devices"] or ["the GPU"]) if beside else ""
