# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a running Docker may be restarted, and what is to be said before systemd reads its units again. Pure."""

from __future__ import annotations

import typing as t

Look = t.Mapping[str, t.Any]


def decide(docker: Look, allowed: bool, option: str, due: bool) -> t.Dict[str, t.Any]:
    """``restart_now``, ``restart_why`` and ``waits`` for a restart that is due: at once, or why it is left to the admin.

    ``docker``: what was seen of it, with info and containers. ``option``: the variable that allows it.
    """
    info = docker.get("info") or {}
    # live-restore keeps a container, and not the `docker run --rm` that waits for one and then removes it: so units start them.
    stopped = [one for one in docker.get("containers") or [] if one["auto_remove"] or not info.get("live_restore")]
    running = [one["name"] for one in stopped]
    on_gpu = [one["name"] for one in stopped if one["gpu"]]
    if not due or not running:
        return {"restart_now": due, "restart_why": "", "waits": False}
    if on_gpu and not allowed:
        return {
            "restart_now": False,
            "restart_why": "Docker has to be restarted for its new configuration, which would stop %d containers on GPUs (%s): "
            "live-restore is off, or they were started with --rm. Restart it when they may stop (systemctl restart docker), or "
            "set %s to true."
            % (len(on_gpu), ", ".join(on_gpu), option),
            "waits": True,
        }
    return {
        "restart_now": True,
        "restart_why": "Docker is restarted, which stops %d containers (%s): those with a restart policy come back."
        % (len(running), ", ".join(running)),
        "waits": False,
    }


def before_reload(engines: t.Mapping[str, Look]) -> str:
    """What a daemon-reload does to containers with GPUs, for those that it concerns; "" when there are none.

    systemd sets the devices of a container's cgroup anew, and knows nothing of those that a hook has added.
    """
    concerned = []
    for name, engine in sorted(engines.items()):
        info = engine.get("info") or {}
        if info.get("cgroup_driver", "systemd") == "systemd":
            concerned += ["%s (%s)" % (one["name"], name) for one in engine.get("containers") or [] if one["gpu"] == "legacy"]
    if not concerned:
        return ""
    return (
        "systemd reads its units again when packages are installed, and %d running containers that were given their GPUs by the "
        'old hook may lose them then ("Failed to initialize NVML: Unknown Error"): %s. Create them anew afterwards.'
        % (len(concerned), ", ".join(concerned))
    )
