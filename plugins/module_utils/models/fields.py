# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading keys of a config.json: names differ between families, values may be null or of the wrong type."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError

# Where multimodal configs keep the language model.
TEXT_CONFIG_KEYS = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "text_model_config",
    "language_model_config",
)


def text_config(config: dict) -> dict:
    """The language model's own part of ``config`` (``config`` itself when nothing is nested)."""
    for key in TEXT_CONFIG_KEYS:
        nested = config.get(key)
        if isinstance(nested, dict):
            return text_config(nested)
    return config


class Fields:
    """The language model's keys, falling back to the root's for the few that live there."""

    def __init__(self, config: dict) -> None:
        self.root = config
        self.text = text_config(config)

    def get(self, *names: str, default: t.Any = None) -> t.Any:
        """The first of ``names`` that is set (not null)."""
        for name in names:
            if self.text.get(name) is not None:
                return self.text[name]
        return default

    def anywhere(self, *names: str, default: t.Any = None) -> t.Any:
        """Like get(), but a key of the root counts too."""
        value = self.get(*names)
        if value is None:
            value = next((self.root[name] for name in names if self.root.get(name) is not None), default)
        return value

    def integer(self, *names: str, default: t.Optional[int] = None) -> int:
        """A whole number; a GpufleetError names the key when it is missing and there is no default."""
        value = self.get(*names)
        if value is None:
            if default is None:
                others = ", nor %s" % " nor ".join(names[1:]) if len(names) > 1 else ""
                raise GpufleetError(
                    "The model's config has no %s%s: the model cannot be sized without it. "
                    "Pass the model's complete config.json." % (names[0], others),
                    missing_key=names[0],
                )
            return default
        if isinstance(value, list):  # some remote code repeats one number per modality
            value = value[0] if value else 0
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < 0:
            raise GpufleetError("The model's config has %s: %r, a whole number is needed." % (names[0], value))
        return int(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        value = self.get(*names)
        return default if value is None else bool(value)

    def names(self, key: str, count: int) -> t.Optional[t.List[t.Any]]:
        """A list with one entry per layer, or None when it is not set."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) < count:
            raise GpufleetError(
                "The model's config has %s with %s entries for %d layers."
                % (key, len(value) if isinstance(value, list) else "no", count)
            )
        return value[:count]
