# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module, and with progress_file a line every ten seconds that says how far it is."""

from __future__ import annotations

from ansible_collections.gpufleet.llm.plugins.plugin_utils import watched


class ActionModule(watched.WatchedModule):
    LIMIT_S = 14 * 24 * 3600.0  # it has none of its own
    SILENCE_S = 120.0
