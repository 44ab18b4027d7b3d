# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception of the collection."""

from __future__ import annotations

import typing as t


class GpufleetError(Exception):
    """Something the user has to know: what is wrong, with the numbers, and what to set.

    A module turns it into ``fail_json(msg=str(error), **error.details)``.
    ``details`` must be JSON-serialisable and must hold no secret.
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.details = details
