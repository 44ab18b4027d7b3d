# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what is wished to what the server is asked: a Modelfile read, files found whole, types checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import typing as t
from dataclasses import dataclass, field

from ...errors import GpufleetError
from ...models.ollama_names import Name
from . import modelfile, parameters, sources
from .sources import FLOATS, Source
from .wish import Wish, local_name, quantization

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_SPLIT_SINCE = (0, 30, 0)
_PATH_LIKE = ("/", "./", "../", "~")
_FILE_LIKE = (".gguf", ".safetensors", ".bin", ".pth")


@dataclass
class Recipe:
    """Everything that makes a model but the hashes of its files."""

    base: t.Optional[Name] = None
    files: t.List[Source] = field(default_factory=list)
    adapters: t.List[Source] = field(default_factory=list)
    draft: t.List[Source] = field(default_factory=list)
    fields: t.Dict[str, t.Any] = field(default_factory=dict)  # of the request, as they are
    modelfile: t.Optional[str] = None  # path of the Modelfile
    written: str = ""  # as a Modelfile, to be shown
    warnings: t.List[str] = field(default_factory=list)

    def sources(self) -> t.List[Source]:
        unique = {one.path: one for one in self.files + self.adapters + self.draft}
        return [unique[path] for path in sorted(unique)]

    @property
    def split(self) -> bool:
        return any(sources.SPLIT_NAME.match(one.name) for one in self.files)

    def request(self, name: Name, hashes: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
        """The body of /api/create."""
        body = dict(self.fields, model=name.short)
        if self.base:
            body["from"] = self.base.short
        for key, files in (("files", self.files), ("adapters", self.adapters), ("draft_files", self.draft)):
            if files:
                body[key] = {one.name: "sha256:" + hashes[one.path] for one in files}
        return body


def fingerprint(request: t.Mapping[str, t.Any], base_digest: t.Optional[str]) -> str:
    """Equal for the same model made of the same bytes, wherever its files lie."""
    said = json.dumps([request, base_digest], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()


def read(wish: Wish, version: str) -> Recipe:
    """The recipe of a model that is created; GpufleetError for what the server could not do with it."""
    content = wish.content
    plain, where, folder = _plain(content)
    recipe = Recipe(modelfile=content.get("modelfile"))
    _sources(recipe, content, plain, where, folder, wish.name)
    fields = recipe.fields
    given, warnings = parameters.check(
        plain.get("parameters") or {}, "%s: PARAMETER" % where if where else "parameters"
    )
    recipe.warnings += warnings
    given.update(content.get("parameters") or {})
    if given:
        fields["parameters"] = given
    for key in ("template", "system", "license", "messages", "renderer", "parser", "requires"):
        value = content.get(key, plain.get(key))
        if value:
            fields[key] = value
    if content.get("quantize"):
        fields["quantize"] = _checked_quantize(content["quantize"], recipe)
    _check_version(recipe, version)
    recipe.written = _written(recipe)
    return recipe


def _plain(content: t.Mapping[str, t.Any]) -> t.Tuple[t.Dict[str, t.Any], str, t.Optional[str]]:
    """(what the Modelfile says, how to call it, the directory that its paths start from)."""
    if "modelfile" in content:
        where = "modelfile=%s" % content["modelfile"]
        text = modelfile.decode(sources.read_text(content["modelfile"], "modelfile"), where)
        return modelfile.parse(text, where), where, os.path.dirname(content["modelfile"])
    if "modelfile_content" in content:
        return modelfile.parse(content["modelfile_content"], "modelfile_content"), "modelfile_content", None
    return {}, "", None


def _sources(
    recipe: Recipe,
    content: t.Mapping[str, t.Any],
    plain: t.Mapping[str, t.Any],
    where: str,
    folder: t.Optional[str],
    name: Name,
) -> None:
    if "from" in content:
        recipe.base = local_name(content["from"], "from")
    elif "gguf" in content:
        recipe.files = sources.gguf(content["gguf"], "gguf")
    elif "safetensors" in content:
        recipe.files = sources.safetensors(content["safetensors"], "safetensors")
    else:
        _starting_points(recipe, plain["from"], where, folder, name)
    adapters = content.get("adapters") or [_path(one, where, "ADAPTER", folder) for one in plain.get("adapters") or ()]
    for path in adapters:
        recipe.adapters += sources.adapter(path, "%s: ADAPTER" % where if "adapters" not in content else "adapters")
    for one in plain.get("draft") or ():
        recipe.draft += sources.model(_path(one, where, "DRAFT", folder), "%s: DRAFT" % where)


def _starting_points(recipe: Recipe, values: t.Sequence[str], where: str, folder: t.Optional[str], name: Name) -> None:
    paths = []
    for value in values:
        looks = value.startswith(_PATH_LIKE) or value.endswith(_FILE_LIKE)
        if looks or (folder and os.path.exists(os.path.join(folder, value))):
            paths.append(_path(value, where, "FROM", folder))
            continue
        recipe.base = local_name(value, "%s: FROM" % where)
        if recipe.base.key == name.key:
            raise GpufleetError("%s: FROM %s is the model itself: give the new one another name." % (where, value))
    if recipe.base and len(values) > 1:
        raise GpufleetError("%s: FROM %s: only files can be named in several FROM lines." % (where, recipe.base))
    gguf = [path for path in paths if path.endswith(".gguf") and not os.path.isdir(path)]
    if gguf and len(gguf) == len(paths):
        recipe.files = sources.gguf(gguf, "%s: FROM" % where)
        return
    if len(paths) > 1:
        raise GpufleetError("%s: several FROM lines are for GGUF files, and %s is none." % (where, paths[-1]))
    for path in paths:
        recipe.files = sources.model(path, "%s: FROM" % where)


def _path(value: str, where: str, command: str, folder: t.Optional[str]) -> str:
    if value.startswith("~") or (folder is None and not os.path.isabs(value)):
        raise GpufleetError("%s: %s %s: give an absolute path on the managed host." % (where, command, value))
    return os.path.normpath(os.path.join(folder or "/", value))


def _checked_quantize(wanted: str, recipe: Recipe) -> str:
    for one in recipe.files:
        if one.file_type and one.file_type not in FLOATS:
            raise GpufleetError(
                "quantize=%s: %s is quantized already (%s), and Ollama quantizes from %s only. Give the 16-bit file, "
                "or leave quantize out." % (wanted, one.path, one.file_type, ", ".join(FLOATS))
            )
    return quantization(wanted)


def _check_version(recipe: Recipe, version: str) -> None:
    found = _VERSION.match(version)
    has = tuple(int(part) for part in found.groups()) if found else (0, 0, 0)
    if has == (0, 0, 0):  # built from source: it says nothing
        return
    if recipe.split and has < _SPLIT_SINCE:
        raise GpufleetError(
            "Ollama %s takes no split GGUF, 0.30.0 is the first that does. Upgrade it, or merge the files with "
            "llama-gguf-split --merge." % version
        )
    needs = _VERSION.match(recipe.fields.get("requires") or "")
    if needs and has < tuple(int(part) for part in needs.groups()):
        raise GpufleetError("REQUIRES %s: the server has Ollama %s." % (recipe.fields["requires"], version))


def _written(recipe: Recipe) -> str:
    shown = dict(recipe.fields)
    shown["from"] = [recipe.base.short] if recipe.base else _heads(recipe.files)
    shown["adapters"] = _heads(recipe.adapters)
    shown["draft"] = _heads(recipe.draft)
    text = modelfile.render(shown)
    return text + ("# quantized to %s\n" % shown["quantize"] if "quantize" in shown else "")


def _heads(files: t.Sequence[Source]) -> t.List[str]:
    """The directory of a checkpoint, or the files themselves."""
    if any(one.name.endswith(".safetensors") for one in files):
        return [os.path.dirname(next(one for one in files if one.name.endswith(".safetensors")).path)]
    return [one.path for one in files]
