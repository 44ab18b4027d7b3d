# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control group in which the processes of a unit, or of a container, are."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError
from ..hardware.holders import groups_of
from .systemd_unit import Runner, run


def of_unit(unit: str, runner: Runner = run) -> t.Optional[str]:
    """None when it does not run."""
    return runner(["systemctl", "show", unit, "--property=ControlGroup", "--value"]).strip() or None


def of_container(engine: str, name: str, runner: Runner = run, root: str = "/") -> t.Optional[str]:
    """None when it does not run. Wherever the engine puts it: the group that its first process is in says so."""
    try:
        said = runner([engine, "inspect", "--type", "container", "--format", "{{.Id}} {{.State.Pid}}", name]).split()
    except GpufleetError as error:
        raise GpufleetError("container %s: %s" % (name, error)) from None
    if len(said) != 2 or not said[1].isdigit() or said[1] == "0":
        return None
    for path in groups_of(int(said[1]), root):
        parts = path.split("/")
        for depth, part in enumerate(parts, 1):
            if said[0] in part:  # what a systemd in the container makes below it is the container's too
                return "/".join(parts[:depth])
    return None
