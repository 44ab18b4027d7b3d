# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit of an Ollama instance, or the drop-in that supersedes the unit of somebody else. Pure.

Not a template of the role: every run compares it with what the host has, and Ansible's templating of it took longer than
all the rest of a run that finds all well.
"""

from __future__ import annotations

import re
import typing as t

from ..services.systemd_words import quote
from .device_nodes import wait_command

MARK = "X-GpufleetInstance="
_AT_HOME = re.compile(r"^/(home|root)(/|$)")

_UNIT = """\
# Written by gpufleet.llm: a change in here is undone by the next run.
{source}[Unit]
Description=Ollama {version}, instance {name}
Documentation=https://docs.ollama.com
{mark}{name}
Wants=network-online.target
After=network-online.target
RequiresMountsFor={mounts}
{order}# Ten failures in an hour are no accident any more.
StartLimitIntervalSec=3600
StartLimitBurst=10

[Service]
{resets}Type=exec
User={user}
Group={group}
{environment}{wait}ExecStart={install_path}/{version}/bin/ollama serve
TimeoutStartSec={start_s}
TimeoutStopSec=30
KillMode=mixed
Restart=always
RestartSec=3
LogRateLimitIntervalSec=30
LogRateLimitBurst={log_lines}

WorkingDirectory={home}
UMask=0022
LimitNOFILE=1048576
LimitMEMLOCK=infinity
TasksMax=infinity

AmbientCapabilities=
CapabilityBoundingSet=
{devices}LockPersonality=true
# No MemoryDenyWriteExecute: CUDA compiles at run time.
NoNewPrivileges=true
PrivateTmp=true
ProtectClock={protect_clock}
ProtectControlGroups=true
ProtectHome={protect_home}
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
ProtectSystem=strict
ReadWritePaths={writable}
RemoveIPC=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service @resources get_mempolicy set_mempolicy_home_node
{install}"""

_INSTALL = """
[Install]
WantedBy=multi-user.target
"""

_RESETS = """\
# The unit under this file stays as it is, and what it says of these is forgotten.
ExecStartPre=
ExecStart=
ExecStartPost=
Environment=
EnvironmentFile=
SupplementaryGroups=
"""

_ORDER = {
    "nvidia": """\
# A sandboxed service cannot load the module or make its device files.
Wants=modprobe@nvidia_uvm.service
After=modprobe@nvidia_uvm.service nvidia-persistenced.service
""",
    "amd": "After=modprobe@amdgpu.service\n",
}

_DEVICES = "DevicePolicy=closed\nDeviceAllow=char-nvidia* rw\nDeviceAllow=char-drm rw\nDeviceAllow=char-kfd rw\n"
_MORE_DEVICES = {
    "wsl": "DeviceAllow=/dev/dxg rw\n",
    "jetson": "DeviceAllow=char-nvhost* rw\nDeviceAllow=char-nvmap rw\n",
}

_WAIT = """\
# Ollama looks for GPUs once, when it starts: without them it would serve from the CPU until it is restarted.
ExecStartPre=%s
"""


def text(instance: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any], place: str) -> str:
    """``place`` is where the host runs (``environment`` of the hardware facts): WSL and Jetson have devices of their own."""
    gpu, paths = instance["gpu"], list(dict.fromkeys((instance["store"], instance["home"])))
    at_home = any(_AT_HOME.match(path) for path in paths + [role["ca_file"]] if path)
    return _UNIT.format(
        source="# The settings are from the plan in %s.\n" % instance["plan_path"] if instance["plan"] else "",
        version=role["version"],
        name=instance["name"],
        mark=MARK,
        mounts=" ".join(quote(path) for path in [role["install_path"]] + paths),
        order=_ORDER.get(gpu, ""),
        resets=_RESETS if instance["adopted"] else "",
        user=role["user"],
        group=role["group"],
        environment="".join("Environment=%s\n" % quote("%s=%s" % pair) for pair in instance["environment"].items()),
        wait=_wait(instance, role),
        install_path=role["install_path"],
        start_s=int(role["gpu_wait_s"]) + 60,
        log_lines=int(role["log_lines"]),
        home=instance["home"],
        devices=_DEVICES + _MORE_DEVICES.get(place, "") if gpu else "PrivateDevices=true\n",
        protect_clock="false" if gpu else "true",
        protect_home="false" if at_home else "true",
        writable=" ".join(quote(path) for path in paths),
        install="" if instance["adopted"] else _INSTALL,
    )


def _wait(instance: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any]) -> str:
    before = "ExecStartPre=+-/usr/bin/nvidia-modprobe -u -c 0\n" if instance["gpu"] == "nvidia" else ""
    if not instance["devices"]:
        return before
    return before + _WAIT % wait_command(instance["devices"], int(role["gpu_wait_s"]), go_on=role["allow_cpu"])
