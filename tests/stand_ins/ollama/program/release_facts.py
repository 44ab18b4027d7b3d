# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release is: the archive's builder writes this file anew for each of them."""

from __future__ import annotations

import typing as t

VERSION = "0.33.1"
MODES: t.Dict[str, str] = {}  # modes that are built in: what is broken in this release
