# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of a repository an engine needs. Pure."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import typing as t

from ..errors import GpufleetError
from ..sizes import human
from .files import ModelFile

RECORD = "gpufleet.json"

# Left out unless asked for by `include`: the same weights for other frameworks, and what only training needs.
OTHER_FRAMEWORKS = (
    "original/*",
    "metal/*",
    "onnx/*",
    "openvino/*",
    "coreml/*",
    "*.onnx",
    "*.onnx_data",
    "*openvino_model.*",
    "*.tflite",
    "*.mlmodel",
    "*.mlpackage/*",
    "*.h5",
    "*.msgpack",
    "*.ot",
)
TRAINING = ("training_args.bin", "optimizer.*", "scheduler.pt", "rng_state*.pth")
PICKLED = (".bin", ".pth", ".pt", ".ckpt")
WEIGHTS = (".safetensors", ".gguf") + PICKLED
_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def select(
    files: t.Sequence[ModelFile],
    include: t.Optional[t.Sequence[str]],
    exclude: t.Optional[t.Sequence[str]],
    source: str,
) -> t.List[ModelFile]:
    """The wanted files of a listing.

    ``include`` names all that is wanted and replaces the default; ``exclude`` takes away from either.
    Patterns are shell wildcards over the whole path, ``*`` matches slashes too, ``folder/`` means all below it.
    """
    files = [one for one in files if one.path != RECORD]
    if include:
        chosen = [one for one in files if _matches(one.path, include)]
    else:
        chosen = _default(files)
    chosen = [one for one in chosen if not _matches(one.path, exclude or ())]
    if not include:
        _refuse_many_ggufs(chosen, source)
    if not chosen:
        raise GpufleetError(
            "No file of %s is selected by include=%s, exclude=%s. It holds: %s"
            % (source, list(include or []), list(exclude or []), _some([one.path for one in files]))
        )
    return sorted(chosen, key=lambda one: one.path)


def unmatched(files: t.Sequence[ModelFile], include: t.Optional[t.Sequence[str]]) -> t.List[str]:
    """The include patterns that no file matches: most likely misspelt."""
    return [one for one in include or () if not any(_matches(file.path, [one]) for file in files)]


def _matches(path: str, patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, one + "*" if one.endswith("/") else one) for one in patterns)


def _default(files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
    usual = [one for one in files if not one.path.startswith(".") and "/." not in one.path]
    usual = [one for one in usual if not _matches(one.path, OTHER_FRAMEWORKS)]
    usual = [one for one in usual if not _matches(posixpath.basename(one.path), TRAINING)]
    folders: t.Dict[str, t.List[ModelFile]] = {}
    for one in usual:
        folders.setdefault(posixpath.dirname(one.path), []).append(one)
    # By folder: a part of a model (a dense head, a vision tower) may exist only in the old format.
    chosen = [one for folder in folders.values() for one in _one_format(folder)]
    if any(one.path.endswith((".safetensors",) + PICKLED) for one in chosen):
        chosen = [one for one in chosen if not one.path.endswith(".gguf")]
    return chosen


def _one_format(folder: t.List[ModelFile]) -> t.List[ModelFile]:
    """Of the same weights in several forms, the one that every engine reads best."""
    names = [posixpath.basename(one.path) for one in folder]
    dropped: t.Tuple[str, ...] = ()
    if any(fnmatch.fnmatchcase(name, "*.safetensors") for name in names):
        dropped = tuple("*" + suffix for suffix in PICKLED)
    elif any(fnmatch.fnmatchcase(name, "pytorch_model*.bin") for name in names):
        dropped = ("*.pth", "*.pt", "*.ckpt")
    if any(name.endswith(".safetensors") and not name.startswith("consolidated") for name in names):
        dropped += ("consolidated*",)
    return [one for one, name in zip(folder, names) if not _matches(name, dropped)]


def _refuse_many_ggufs(chosen: t.Sequence[ModelFile], source: str) -> None:
    """A GGUF repository holds one model in many quantizations: which one is the user's decision."""
    sets: t.Dict[str, int] = {}
    for one in chosen:
        name = posixpath.basename(one.path)
        if name.endswith(".gguf") and not name.startswith("mmproj"):
            key = _SPLIT.sub("-*.gguf", one.path)
            sets[key] = sets.get(key, 0) + one.size
    if len(sets) > 1:
        listed = ["%s (%s)" % (name, human(size)) for name, size in sorted(sets.items())]
        raise GpufleetError(
            "%s holds %d GGUF models. Set include to the one you want, with the other files it needs: %s"
            % (source, len(sets), _some(listed, 40))
        )


def _some(values: t.Sequence[str], most: int = 20) -> str:
    more = len(values) - most
    return ", ".join(values[:most]) + (", and %d more" % more if more > 0 else "") if values else "nothing"
