# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parameters of a model, checked here because the server stores whatever it is given (server/create.go)."""

from __future__ import annotations

import difflib
import typing as t

from ...errors import GpufleetError
from ...planning.ollama import values
from ...planning.ollama.variables import PARAMETERS

# Ollama's own client warns about these and leaves them out (parser/parser.go).
DROPPED = frozenset(
    "f16_kv logits_all low_vram mirostat mirostat_eta mirostat_tau penalize_newline use_mlock vocab_only".split()
)
REFUSED = ("numa", "tfs_z")


def check(given: t.Mapping[str, t.Any], where: str) -> t.Tuple[t.Dict[str, t.Any], t.List[str]]:
    """(the parameters in their own types, warnings); GpufleetError naming the one that is wrong."""
    found: t.Dict[str, t.Any] = {}
    warnings = []
    for name, value in sorted(given.items()):
        option = "%s.%s" % (where, name)
        if name in DROPPED:
            warnings.append("%s=%s is left out: Ollama no longer has this parameter." % (option, value))
        elif name in REFUSED:
            raise GpufleetError("%s=%s: Ollama has removed this parameter; leave it out." % (option, value))
        elif name not in PARAMETERS:
            raise GpufleetError("%s=%s is no parameter of Ollama.%s" % (option, value, _hint(str(name))))
        elif name == "stop":
            found[name] = _stop(option, value)
        else:
            found[name] = values.read(option, PARAMETERS[name], value)
    return found, warnings


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), PARAMETERS, 1, 0.6)
    return " Did you mean %s?" % close[0] if close else " It knows: %s." % ", ".join(sorted(PARAMETERS))


def _stop(option: str, value: t.Any) -> t.List[str]:
    """Texts that end an answer, kept as they are: blanks, commas and line ends may belong to them."""
    texts = list(value) if isinstance(value, (list, tuple)) else [value]
    for text in texts:
        if isinstance(text, (dict, list, bool)) or text is None or text == "":
            raise GpufleetError("%s=%s: give a text or a list of texts, none of them empty." % (option, value))
    return [str(text) for text in texts]
