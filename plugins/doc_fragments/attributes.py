# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module says about check mode, diff mode and idempotence."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and report what would change without changing it.
  diff_mode:
    description: Reports what changed, or in check mode would change, when run with C(--diff).
  idempotent:
    description: A second run with the same options on the same host changes nothing.
"""

    # Modules that only look.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Changes nothing, so check mode and a real run are the same.
  diff_mode:
    support: none
    details: Changes nothing, so there is nothing to show.
  idempotent:
    support: full
"""
