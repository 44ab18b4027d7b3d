# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of container engines, and what each reads of CDI. Pure."""

from __future__ import annotations

import re
import typing as t

Version = t.Tuple[int, ...]

# The first version that takes devices by their CDI names, and the first that reads specification 0.7.0, which the toolkit
# writes from 1.19 on. Source: NVIDIA Container Toolkit, "Support for Container Device Interface".
READS_CDI: t.Dict[str, Version] = {"docker": (25, 0), "podman": (4, 1), "containerd": (1, 7), "crio": (1, 23)}
READS_07: t.Dict[str, Version] = {"docker": (26, 1), "podman": (5, 1), "containerd": (1, 7, 16), "crio": (1, 30)}


def parse(text: t.Any) -> Version:
    """The numbers that a version begins with, without a package's epoch: 5:28.1.1-1~debian -> (28, 1, 1)."""
    match = re.match(r"(?:\d+:)?v?(\d+(?:\.\d+)*)", str(text or ""))
    return tuple(int(number) for number in match.group(1).split(".")) if match else ()


def reads_cdi(engine: str, version: t.Any) -> bool:
    return parse(version) >= READS_CDI[engine]


def reads_07(engine: str, version: t.Any) -> bool:
    return parse(version) >= READS_07[engine]
