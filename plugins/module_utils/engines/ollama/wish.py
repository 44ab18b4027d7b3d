# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wished of one model, checked before anything is asked or touched. Does no I/O."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...planning.ollama import values
from . import parameters
from .modelfile import ROLES

STATES = ("absent", "latest", "loaded", "present", "unloaded")
SOURCES = ("from", "gguf", "modelfile", "modelfile_content", "safetensors")
ADDITIONS = ("adapters", "license", "messages", "parameters", "quantize", "system", "template")
QUANTIZATIONS = ("F32", "F16", "BF16", "Q8_0", "Q4_K_S", "Q4_K_M")  # fs/ggml/type.go
_DIGEST = re.compile(r"(?:sha256[:-])?([0-9a-f]{12,64})")


@dataclass(frozen=True)
class Wish:
    name: Name
    state: str
    content: t.Dict[str, t.Any]  # the options that make it, in one form; empty for a model that is pulled
    digest: t.Optional[str] = None  # the first 12 to 64 hex digits
    insecure: bool = False
    keep_alive: t.Optional[float] = None  # seconds; negative is for ever
    warnings: t.Tuple[str, ...] = ()

    @classmethod
    def parse(cls, options: t.Mapping[str, t.Any]) -> Wish:
        """The wish that the options of ollama_model stand for; GpufleetError naming the one that is wrong."""
        state = options.get("state") or "present"
        if state not in STATES:
            raise GpufleetError("state=%s: give one of %s." % (state, ", ".join(STATES)))
        name = local_name(options.get("name"), "name")
        content, warnings = _content(options, name)
        digest = _digest(options.get("digest"))
        if digest and (content or state == "latest"):
            why = "what is created here depends on the server's version" if content else "state=latest wants another"
            raise GpufleetError("digest=%s pins a model that is pulled, and %s: leave one out." % (digest, why))
        if state == "latest" and content:
            raise GpufleetError(
                "state=latest asks the registry for a newer %s, and this one is created from %s: give state=present."
                % (name, ", ".join(key for key in SOURCES if key in content))
            )
        return cls(
            name, state, content, digest, bool(options.get("insecure")),
            _keep_alive(options.get("keep_alive"), state), tuple(warnings),
        )  # fmt: skip

    @property
    def base(self) -> t.Optional[Name]:
        """The model that it is made from, as far as the options say (a Modelfile may name one too)."""
        return Name.parse(self.content["from"], "from") if "from" in self.content else None


def local_name(text: t.Any, option: str) -> Name:
    """A name of a model that can be on this host."""
    name = Name.parse(text, option)
    tag = name.tag.lower()
    if tag == "cloud" or tag.endswith("-cloud"):
        raise GpufleetError(
            "%s=%s is a model of Ollama's cloud, which is never on this host: give the name of one that can be "
            "downloaded." % (option, text)
        )
    if tag == "local":
        raise GpufleetError(
            "%s=%s: Ollama takes :local for a sign and not for a tag; give another one." % (option, text)
        )
    return name


def quantization(value: str, option: str = "quantize") -> str:
    label = str(value).strip().upper()
    label = "Q4_K_M" if label == "Q4_K" else label
    if label not in QUANTIZATIONS:
        raise GpufleetError(
            "%s=%s: Ollama can make %s. For other types, quantize with llama-quantize and give the file as gguf."
            % (option, value, ", ".join(QUANTIZATIONS))
        )
    return label


def _content(options: t.Mapping[str, t.Any], name: Name) -> t.Tuple[t.Dict[str, t.Any], t.List[str]]:
    given = {key: options[key] for key in SOURCES + ADDITIONS if options.get(key) not in (None, "", [], {})}
    sources = [key for key in SOURCES if key in given]
    if len(sources) > 1:
        raise GpufleetError("%s are both given for %s: a model has one source." % (" and ".join(sources), name))
    additions = [key for key in ADDITIONS if key in given]
    if additions and not sources:
        raise GpufleetError(
            "%s is given for %s and nothing to start from: name the model it starts from in from= (a model that is "
            "pulled stays as its registry has it), or give gguf, safetensors or a Modelfile."
            % (" and ".join(additions), name)
        )
    found: t.Dict[str, t.Any] = {}
    warnings: t.List[str] = []
    for key, value in given.items():
        if key == "from":
            found[key] = _base(value, name)
        elif key == "parameters":
            if not isinstance(value, t.Mapping):
                raise GpufleetError("parameters=%r: give a dictionary of parameters and their values." % (value,))
            checked, said = parameters.check(value, "parameters")
            warnings += said
            if checked:
                found[key] = checked
        elif key == "messages":
            found[key] = [_message(one, number) for number, one in enumerate(value, 1)]
        elif key == "license":
            found[key] = [str(one) for one in _listed(value)]
        elif key in ("gguf", "adapters"):
            found[key] = [_path(one, key) for one in _listed(value)]
        elif key in ("safetensors", "modelfile"):
            found[key] = _path(value, key)
        elif key == "quantize":
            found[key] = quantization(value)
        else:
            found[key] = str(value)
    return found, warnings


def _base(value: t.Any, name: Name) -> str:
    base = local_name(value, "from")
    if base.key == name.key:
        raise GpufleetError(
            "from=%s is the model itself, so it would change with every run: give the new one a name of its own."
            % value
        )
    return base.short


def _message(one: t.Any, number: int) -> t.Dict[str, str]:
    role = one.get("role") if isinstance(one, t.Mapping) else None
    if role not in ROLES or not isinstance(one.get("content"), str):
        raise GpufleetError("messages[%d]=%r: give role (%s) and content, a text." % (number, one, ", ".join(ROLES)))
    return {"role": role, "content": one["content"]}


def _listed(value: t.Any) -> t.List[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _path(value: t.Any, option: str) -> str:
    if not isinstance(value, str) or not os.path.isabs(value) or "\0" in value:
        raise GpufleetError("%s=%s: give an absolute path on the managed host." % (option, value))
    return os.path.normpath(value)


def _digest(value: t.Any) -> t.Optional[str]:
    if value in (None, ""):
        return None
    match = _DIGEST.fullmatch(str(value).strip().lower())
    if not match:
        raise GpufleetError(
            "digest=%s: give the sha256 of the manifest, 64 hex digits, or the 12 that `ollama list` shows." % value
        )
    return match.group(1)


def _keep_alive(value: t.Any, state: str) -> t.Optional[float]:
    if value in (None, ""):
        return None
    seconds = values.read("keep_alive", "duration", value)
    if seconds == 0 and state == "loaded":
        raise GpufleetError("keep_alive=%s with state=loaded: it would be unloaded at once. Give -1 for ever." % value)
    return seconds
