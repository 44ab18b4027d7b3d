# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is a model's directory whole? Names every file that is missing, too short, or closed to the engine's user."""

from __future__ import annotations

import os
import stat
import typing as t

from ..errors import GpufleetError
from .gguf import split_names
from .trees import LocalTree, Tree

INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_TOKENIZERS: t.Tuple[t.Tuple[str, ...], ...] = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("tekken.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("source.spm",),
)
_TOKENIZER_ENDINGS = (".tiktoken", ".spm", "tiktoken.model", ".bpe.model")
_PARTIAL_ENDINGS = (".incomplete", ".aria2", ".part", ".tmp", ".download")


def weight_files(tree: Tree, problems: t.List[str]) -> t.Tuple[str, t.List[str]]:
    """(format, the files that an engine would load). Shards that the index names and nobody has go to ``problems``."""
    files = tree.files()
    for index in INDEX_FILES:
        contents = tree.json(index)
        if contents is None:
            continue
        named = contents.get("weight_map")
        if not isinstance(named, dict) or not named:
            raise GpufleetError("%s has no weight_map. Download the file again." % tree.place(index), file=index)
        shards = sorted({str(name) for name in named.values()})
        for name in shards:
            if name not in files:
                problems.append("%s is missing: %s names it." % (tree.place(name), index))
        return ("safetensors" if "safetensors" in index else "pytorch"), [name for name in shards if name in files]
    top = [name for name in files if "/" not in name and os.sep not in name]
    found = sorted(name for name in top if name.endswith(".safetensors") and not name.startswith("adapter_"))
    if found:
        if len(found) > 1:  # Mistral's repositories hold the weights twice
            found = [name for name in found if not name.startswith("consolidated")] or found
        problems += _missing_shards(tree, found)
        return "safetensors", found
    found = sorted(name for name in top if name.endswith(".gguf") and not name.startswith("mmproj"))
    if found:
        return "gguf", found
    found = sorted(name for name in top if name.endswith((".bin", ".pth", ".pt")) and "training_args" not in name)
    return "pytorch", [name for name in found if name.startswith(("pytorch_model", "model", "consolidated"))]


def _missing_shards(tree: Tree, found: t.List[str]) -> t.List[str]:
    """Shards whose names count up to a number that is not there, where the index is lost too."""
    problems = []
    for name in found:
        stem, separator, rest = name.rpartition("-of-")
        number = rest[: -len(".safetensors")]
        if not separator or not number.isdigit() or not stem[-5:].isdigit():
            continue
        problems.append("%s is missing: %s is a shard and needs it." % (tree.place(INDEX_FILES[0]), name))
        for shard in range(1, int(number) + 1):
            other = "%s%05d-of-%s.safetensors" % (stem[:-5], shard, number)
            if other not in found:
                problems.append("%s is missing." % tree.place(other))
        break
    return problems


def tokenizer_problems(tree: Tree) -> t.List[str]:
    files = tree.files()
    if any(all(name in files for name in form) for form in _TOKENIZERS):
        return []
    if any(name.endswith(_TOKENIZER_ENDINGS) for name in files):
        return []
    forms = ", ".join(" with ".join(form) for form in _TOKENIZERS[:4])
    return ["%s has no tokenizer: none of %s, *.tiktoken, spiece.model." % (tree.source, forms)]


def size_problem(tree: Tree, name: str, expected: int) -> t.Optional[str]:
    """A weight file that ends before, or far after, its header says."""
    found = tree.files()[name]
    if found == expected:
        return None
    word = "truncated" if found < expected else "longer than its header says"
    return "%s is %s: %d bytes expected, %d found. Download the file again." % (
        tree.place(name),
        word,
        expected,
        found,
    )


def partial_downloads(tree: Tree) -> t.List[str]:
    return [
        "%s is a download that has not finished." % tree.place(name)
        for name in sorted(tree.files())
        if name.endswith(_PARTIAL_ENDINGS)
    ]


def access_problems(tree: LocalTree) -> t.List[str]:
    """Files that only their owner reads: root downloads them, another user serves them."""
    closed = [
        name for name in sorted(tree.files()) if not os.stat(os.path.join(tree.path, name)).st_mode & stat.S_IROTH
    ]
    problems = []
    if closed:
        problems.append(
            "%d files, %s first, cannot be read by other users than owner and group: an engine that runs as its own "
            "user fails on them. Run chmod -R o+rX %s, or give the directory to that user's group."
            % (len(closed), closed[0], tree.path)
        )
    if not os.stat(tree.path).st_mode & stat.S_IXOTH:
        problems.append(
            "The directory %s cannot be entered by other users: run chmod o+rx %s." % (tree.path, tree.path)
        )
    return problems


def gguf_set(files: t.Iterable[str], name: str) -> t.Tuple[t.List[str], t.List[str]]:
    """(the set's names, those that are missing) of a split GGUF model."""
    known = set(files)
    folder, slash, base = name.rpartition("/")
    names = [folder + slash + part for part in split_names(base)]
    return names, [part for part in names if part not in known]
