# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the user names (a directory, a .gguf file, a hub id) to the model's facts."""

from __future__ import annotations

import os
import re
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..errors import GpufleetError
from . import completeness, gguf_types, hub, ollama_manifest
from .facts import facts_from_config, facts_from_gguf
from .gguf import GgufHeader, read_gguf
from .safetensors import Tensor, read_header
from .trees import LocalTree, Tree

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")


def describe_local(source: str, file: t.Optional[str] = None, check: bool = True) -> dict:
    """The facts of a directory, or of a .gguf file."""
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isfile(path):
        if not path.endswith(".gguf") and not _begins_as_gguf(path):  # (Ollama's blobs bear no such name.)
            raise GpufleetError("source=%s is a file but not a .gguf file: name its directory instead." % source)
        return describe(LocalTree(os.path.dirname(path)), os.path.basename(path), check, source=path)
    if not os.path.isdir(path):
        raise GpufleetError("source=%s does not exist on the host." % source)
    return describe(LocalTree(path), file, check)


def _begins_as_gguf(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(4) == b"GGUF"
    except OSError:
        return False


def describe(tree: Tree, file: t.Optional[str] = None, check: bool = True, source: t.Optional[str] = None) -> dict:
    """The facts of the model in ``tree``. ``file`` picks one of several GGUF files."""
    problems: t.List[str] = []
    if file:
        if file not in tree.files():
            listed = sorted(name for name in tree.files() if name.endswith(".gguf"))
            raise GpufleetError(
                "file=%s is not in %s. GGUF files there: %s." % (file, tree.source, ", ".join(listed) or "none")
            )
        facts = _gguf(tree, file, problems)
    else:
        facts = _repository(tree, problems)
    local = isinstance(tree, LocalTree)
    facts["source"] = source or tree.source
    facts["revision"] = tree.revision
    if check and local:
        if not file and facts["format"] != "gguf":
            problems += completeness.tokenizer_problems(tree)
        problems += completeness.partial_downloads(tree)
        facts["complete"] = not problems
        problems += completeness.access_problems(t.cast(LocalTree, tree))
    facts["problems"] = problems
    return facts


def _repository(tree: Tree, problems: t.List[str]) -> dict:
    config = tree.json("config.json")
    kind, names = completeness.weight_files(tree, problems)
    if config is None and kind == "gguf":
        return _gguf(tree, _only_gguf(tree, names), problems)
    if config is None:
        beside = (
            " It has params.json only: use the repository's Transformers files."
            if "params.json" in tree.files()
            else ""
        )
        raise GpufleetError("%s has no config.json: that is not a model's directory.%s" % (tree.source, beside))
    if not names:
        problems.append("%s has no weights: no *.safetensors, *.gguf or pytorch_model*.bin." % tree.source)
    if kind == "gguf":
        return _gguf(tree, _only_gguf(tree, names), problems)
    tensors: t.Optional[t.Dict[str, t.List[Tensor]]] = None
    if kind == "safetensors" and names:
        tensors = {}
        with ThreadPoolExecutor(tree.parallel) as pool:  # a large model has hundreds of files
            headers = pool.map(lambda name: read_header(tree.reader(name), tree.place(name)), names)
            for name, header in zip(names, headers):
                problem = completeness.size_problem(tree, name, header.file_bytes)
                if problem:
                    problems.append(problem)
                tensors[name] = header.tensors
        if any("missing" in problem for problem in problems):
            tensors = None  # part of the weights would be taken for all of them
    facts = facts_from_config(config, tree.json("hf_quant_config.json"), tensors)
    files = tree.files()
    facts["format"] = kind
    facts["files"] = [{"path": name, "size": files[name]} for name in sorted(files)]
    if kind == "pytorch":
        facts["weight_bytes"]["by_file"] = {name: files[name] for name in names}
        facts["warnings"].append("The weights are PyTorch files: sizes of tensors come from the config's formulas.")
    _companions(tree, facts)
    return facts


def _companions(tree: Tree, facts: dict) -> None:
    """What the small files beside the weights say."""
    generation = tree.json("generation_config.json")
    if generation:
        facts["generation"] = {
            key: value for key, value in generation.items() if key not in ("transformers_version", "_from_model_config")
        }
    files = tree.files()
    template = any(name in files for name in ("chat_template.jinja", "chat_template.json"))
    if not template:
        template = bool((tree.json("tokenizer_config.json") or {}).get("chat_template"))
    facts["chat_template"] = template
    if "modules.json" in files:  # sentence-transformers
        facts["task"] = "embed"


def _only_gguf(tree: Tree, names: t.List[str]) -> str:
    sets = {completeness.gguf_set(names, name)[0][0]: name for name in names}
    if len(sets) != 1:
        raise GpufleetError(
            "%s holds %d GGUF models: set file to one of %s." % (tree.source, len(sets), ", ".join(sorted(sets)))
        )
    return next(iter(sets))


def _gguf(tree: Tree, name: str, problems: t.List[str]) -> dict:
    names, missing = completeness.gguf_set(tree.files(), name)
    for part in missing:
        problems.append("%s is missing: the model is split into %d files." % (tree.place(part), len(names)))
    if names[0] in missing:
        raise GpufleetError(
            "%s is missing: the first file of a split GGUF model says what the model is." % tree.place(names[0])
        )
    headers: t.Dict[str, GgufHeader] = {}
    for part in names:
        if part in missing:
            continue
        header = read_gguf(tree.reader(part), tree.place(part))
        headers[part] = header
        if tree.files()[part] < header.file_bytes:
            problems.append(
                "%s is truncated: %d bytes expected, %d found. Download the file again."
                % (tree.place(part), header.file_bytes, tree.files()[part])
            )
    first = headers[names[0]]
    count = first.metadata.get("split.count") or 1
    if count > len(names):
        raise GpufleetError(
            "%s is one of %d pieces of a split model, and its name does not say so. Pieces that were joined with cat, "
            "or renamed, cannot be used: keep the names NAME-00001-of-%05d.gguf." % (tree.place(name), count, count)
        )
    facts = facts_from_gguf(headers, tree.place(names[0]))
    files = tree.files()
    facts["files"] = [{"path": part, "size": files[part]} for part in names if part in files]
    return facts


def answer(options: dict, need_client: t.Callable[[], None]) -> dict:
    """The facts for a module's options. ``need_client`` makes huggingface_hub importable; only a hub needs it."""
    if options.get("manifest") is not None:
        shapes = options.get("source") or options.get("config") is not None
        known = _known(dict(options, quantize=None), need_client) if shapes else None
        return ollama_manifest.facts_from_manifest(options["manifest"], options.get("manifest_config"), known)
    return _known(options, need_client)


def _known(options: dict, need_client: t.Callable[[], None]) -> dict:
    """The facts of a config or of files, as they are or as the GGUF that quantize names."""
    if options.get("config") is not None:
        facts = facts_from_config(options["config"])
    else:
        facts = _of_source(options, need_client)
    facts.setdefault("projector_bytes", None)
    return gguf_types.quantized(facts, options["quantize"]) if options.get("quantize") else facts


def _of_source(options: dict, need_client: t.Callable[[], None]) -> dict:
    name = str(options["source"]).strip()
    if not name:
        raise GpufleetError("source is empty: set it to a directory, a .gguf file or a hub id such as Qwen/Qwen3-8B.")
    if name.startswith(("/", "./", "../", "~")) or os.path.exists(os.path.expanduser(name)):
        return describe_local(name, options.get("file"), options.get("check", True))
    if not _HUB_ID.match(name):
        raise GpufleetError(
            "source=%s is neither a path on the host nor a hub id: want a directory, a .gguf file, or org/name." % name
        )
    revision = options.get("revision") or "main"
    token = _token(options)
    need_client()
    if options.get("offline"):
        facts = describe_local(hub.cached_directory(name, revision), options.get("file"), options.get("check", True))
        return dict(facts, source=name, revision=revision)
    endpoint = options.get("endpoint") or os.environ.get("HF_ENDPOINT") or hub.DEFAULT_ENDPOINT
    tree = hub.HubTree(name, revision, endpoint, token, float(options.get("timeout") or 30))
    return describe(tree, options.get("file"), options.get("check", True))


def _token(options: dict) -> t.Optional[str]:
    path = options.get("token_file")
    if not path:
        return options.get("token") or None
    try:
        with open(path, encoding="utf-8") as stream:
            token = stream.read().strip()
    except OSError as error:
        raise GpufleetError("token_file=%s cannot be read: %s." % (path, error.strerror)) from None
    if not token:
        raise GpufleetError("token_file=%s is empty: put the access token into it." % path)
    return token
