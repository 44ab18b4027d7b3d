# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``/api/create``: a model from files or from another model."""

from __future__ import annotations

import json
import re
import struct
import time
import typing as t

from . import gguf_file, names, templates
from .model import Model
from .store import CONFIG_TYPE, MANIFEST_TYPE, Store, go_json

SPLIT = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")
# What llama-quantize makes here: file type -> the type of its matrices, numbers in a block.
QUANTIZED = {"F32": 0, "F16": 1, "BF16": 30, "Q8_0": 8, "Q4_K_S": 12, "Q4_K_M": 12}
ALIASES = {"Q4_K": "Q4_K_M"}
EMBEDDED = ("v.", "mm.", "a.", "s.", "mtp.")
ARCHITECTURES = {
    "LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "MixtralForCausalLM": "llama",
    "Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3", "Phi3ForCausalLM": "phi3",
    "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3", "BertModel": "bert", "GptOssForCausalLM": "gptoss",
}  # fmt: skip
_TENSOR_NAMES = (
    (r"^model\.embed_tokens", "token_embd"), (r"^model\.norm", "output_norm"), (r"^lm_head", "output"),
    (r"^model\.layers\.(\d+)\.", r"blk.\1."), (r"self_attn\.q_proj", "attn_q"), (r"self_attn\.k_proj", "attn_k"),
    (r"self_attn\.v_proj", "attn_v"), (r"self_attn\.o_proj", "attn_output"), (r"mlp\.gate_proj", "ffn_gate"),
    (r"mlp\.up_proj", "ffn_up"), (r"mlp\.down_proj", "ffn_down"), (r"input_layernorm", "attn_norm"),
    (r"post_attention_layernorm", "ffn_norm"),
)  # fmt: skip
CHATML = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
NO_DIGEST = "0" * 19


class CreateError(Exception):
    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


Say = t.Callable[..., None]
Layer = t.Dict[str, t.Any]


def human(count: int) -> str:
    """Go's format.HumanNumber."""
    for size, letter, places in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0)):
        if count >= size:
            number = count / size
            return "%.*f%s" % (0 if number == int(number) else places, number, letter)
    return str(count)


class Creation:
    def __init__(self, store: Store, request: t.Mapping[str, t.Any], say: Say, release: t.Tuple[int, ...]) -> None:
        self.store, self.request, self.say, self.release = store, request, say, release
        self.layers: t.List[Layer] = []
        self.config: t.Dict[str, t.Any] = {}
        self.base: t.Optional[Model] = None

    def run(self, name: names.Name, base: t.Optional[Model]) -> None:
        request = self.request
        before = self.store.manifest(name)
        self.base = base
        if base is not None:
            self._from_model(base)
        elif request.get("files"):
            self._from_files(request["files"])
        else:
            raise CreateError("neither 'from' or 'files' was specified", 400)
        if request.get("adapters"):
            self._adapters(request["adapters"])
        self._texts()
        delay = self.store.modes.number("create_seconds")
        if delay:
            time.sleep(delay)
        self.config.update(architecture="amd64", os="linux")
        if self.release < (0, 32, 7):
            digests = [layer["digest"] for layer in self.layers]
            self.config["rootfs"] = {"type": "layers", "diff_ids": digests}
        for word in ("renderer", "parser", "requires"):
            if request.get(word):
                self.config[word] = request[word]
        config = self._add(go_json(self.config), CONFIG_TYPE)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": self.layers}
        self.say(status="writing manifest")
        self.store.write_manifest(name, go_json(manifest))
        if before and not self.store.noprune:
            self.store.remove_unused(layer["digest"] for layer in before.everything)
        self.say(status="success")

    def _add(self, content: bytes, kind: str) -> Layer:
        layer, there = self.store.add(content, kind)
        self.say(status="%s layer %s" % ("using existing" if there else "creating new", layer["digest"]))
        return layer

    # --- where the weights come from ----------------------------------------------------------------

    def _from_model(self, base: Model) -> None:
        self.layers = [dict(layer) for layer in base.manifest.layers]
        self.config = {key: value for key, value in base.config.items() if key != "rootfs"}
        if base.name.short != names.parse(self.request.get("model") or self.request.get("name")).short:
            for layer in self.layers:
                layer.setdefault("from", base.name.short)
        if self.request.get("quantize"):
            model = next(layer for layer in self.layers if layer["mediaType"].endswith(".model"))
            made = self._quantized(base.gguf())
            self.layers[self.layers.index(model)] = self._add(made.pack(), "model")
            self.config["file_type"] = made.file_type

    def _from_files(self, files: t.Mapping[str, str]) -> None:
        contents = {}
        for name, digest in files.items():
            try:
                path = self.store.blob(digest)
            except ValueError as error:
                raise CreateError(str(error), 400) from error
            try:
                contents[name] = path.read_bytes()
            except FileNotFoundError as error:
                raise CreateError("open %s: no such file or directory" % path, 500) from error
        if any(name.endswith(".safetensors") for name in files):
            self.say(status="converting model")
            found = [self._converted(contents)]
        elif all(content[:4] == gguf_file.MAGIC for content in contents.values()):
            self.say(status="parsing GGUF")
            found = self._read_all(contents)
        elif any(name.endswith(".gguf") for name in files):
            raise CreateError("supplied file was not in GGUF format", 400)
        else:
            raise CreateError("unknown type", 400)
        for gguf in found:
            self._weights(gguf)

    def _read_all(self, contents: t.Mapping[str, bytes]) -> t.List[gguf_file.Gguf]:
        try:
            read = {name: gguf_file.unpack(content) for name, content in contents.items()}
        except gguf_file.BadGguf as error:
            raise CreateError(str(error), 400) from error
        shards = {name: gguf for name, gguf in read.items() if (gguf.get("split.count") or 0) > 1}
        whole = [gguf for name, gguf in read.items() if name not in shards]
        return whole + ([self._merged(shards)] if shards else [])

    def _merged(self, shards: t.Mapping[str, gguf_file.Gguf]) -> gguf_file.Gguf:
        ordered = sorted(shards)
        first = ordered[0]
        expected = shards[first].get("split.count")
        stems = set()
        for name in ordered:
            match = SPLIT.match(name)
            if not match:
                raise CreateError('split GGUF "%s" does not match expected shard filename pattern' % name, 400)
            stems.add(match.group(1))
            number, count = shards[name].get("split.no"), shards[name].get("split.count")
            if count != expected or int(match.group(3)) != count or int(match.group(2)) != number + 1:
                raise CreateError('split GGUF "%s" metadata does not match its filename' % name, 400)
        if len(stems) > 1 or len(ordered) != expected:
            stem = SPLIT.match(first)
            raise CreateError(
                'split GGUF "%s" has %d shards, expected %d'
                % (stem.group(1) if stem else first, len(ordered), expected),
                400,
            )
        merged = gguf_file.Gguf()
        merged.values = {key: value for key, value in shards[first].values.items() if not key.startswith("split.")}
        for name in ordered:
            merged.tensors += shards[name].tensors
        return merged

    def _weights(self, gguf: gguf_file.Gguf) -> None:
        architecture = gguf.architecture
        if architecture == "clip":
            self.layers.append(self._add(gguf.pack(), "projector"))
            self.config.setdefault("model_families", []).append("clip")
            return
        if self.request.get("quantize"):
            made = self._quantized(gguf)
        elif any(tensor.name.startswith(EMBEDDED) for tensor in gguf.tensors):
            made = gguf
        else:
            made = self._copied(gguf)
        self.say(status="verifying conversion")
        content = made.pack()
        self.layers.insert(0, self._add(content, "model"))
        self.config.update(
            model_format="gguf",
            model_family=architecture,
            model_families=[architecture] + self.config.get("model_families", []),
            model_type=human(gguf.parameters),
            file_type=made.file_type,
        )
        for key in ("context_length", "embedding_length"):
            if gguf.get(key):
                self.config[key] = gguf.get(key)
        if "<|im_start|>" in str(gguf.get("tokenizer.chat_template", "")):
            self.say(status="using autodetected template chatml")
            self._replace("template", CHATML.encode())

    def _copied(self, gguf: gguf_file.Gguf) -> gguf_file.Gguf:
        """What llama-quantize COPY makes: the same model in a file of its own."""
        total = len(gguf.pack())
        for part in (0, total // 2, total):
            line = {"status": "validating GGUF model", "digest": NO_DIGEST, "total": total}
            if part:
                line["completed"] = part
            self.say(**line)
        values = {key: value for key, value in gguf.values.items() if key != "general.quantization_version"}
        values["general.quantization_version"] = (gguf_file.UINT32, 2)
        return gguf_file.Gguf(values, gguf.tensors)

    def _quantized(self, gguf: gguf_file.Gguf) -> gguf_file.Gguf:
        wanted = str(self.request["quantize"]).upper()
        wanted = ALIASES.get(wanted, wanted)
        if wanted not in QUANTIZED:
            raise CreateError(
                "unsupported quantization type %s - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0" % wanted, 400
            )
        source = gguf.file_type
        if source == wanted:
            return self._copied(gguf)
        if source not in ("F16", "BF16", "F32"):
            raise CreateError("quantization is only supported for F16, BF16 and F32 models", 400)
        kind = QUANTIZED[wanted]
        _name, numbers, _size = gguf_file.TYPES[kind]
        tensors, total = [], sum(len(tensor.data) for tensor in gguf.tensors)
        for tensor in gguf.tensors:
            if len(tensor.shape) > 1 and tensor.shape[0] % numbers == 0:
                fill = (tensor.data[:1] or b"\0") * gguf_file.bytes_of(kind, tensor.shape)
                tensor = gguf_file.Tensor(tensor.name, kind, tensor.shape, fill)
            tensors.append(tensor)
        status = "quantizing %s model to %s" % (source, wanted)
        self.say(status=status, digest=NO_DIGEST, total=total)
        self.say(status=status, digest=NO_DIGEST, total=total, completed=total)
        values = dict(gguf.values)
        values["general.file_type"] = (gguf_file.UINT32, gguf_file.FILE_TYPE_NUMBERS[wanted])
        values["general.quantization_version"] = (gguf_file.UINT32, 2)
        return gguf_file.Gguf(values, tensors)

    def _converted(self, contents: t.Mapping[str, bytes]) -> gguf_file.Gguf:
        """One GGUF from a directory of safetensors."""
        if "config.json" not in contents:
            raise CreateError("open config.json: no such file or directory", 500)
        config = json.loads(contents["config.json"])
        names_ = config.get("architectures") or []
        if not names_:
            raise CreateError("unknown architecture", 500)
        if names_[0] not in ARCHITECTURES:
            raise CreateError('unsupported architecture "%s"' % names_[0], 500)
        if not any(name in contents for name in ("tokenizer.json", "tokenizer.model")):
            raise CreateError("open tokenizer.json: no such file or directory", 500)
        architecture = ARCHITECTURES[names_[0]]
        made = gguf_file.Gguf({"general.architecture": (gguf_file.STRING, architecture)})
        for key, source in (
            ("block_count", "num_hidden_layers"), ("context_length", "max_position_embeddings"),
            ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
            ("attention.head_count", "num_attention_heads"), ("attention.head_count_kv", "num_key_value_heads"),
            ("vocab_size", "vocab_size"),
        ):  # fmt: skip
            if config.get(source) is not None:
                made.values["%s.%s" % (architecture, key)] = (gguf_file.UINT32, int(config[source]))
        kinds = set()
        for name in sorted(contents):
            if name.endswith(".safetensors"):
                for tensor in _safetensors(contents[name]):
                    kinds.add(tensor.kind)
                    made.tensors.append(tensor)
        file_type = "BF16" if 30 in kinds else "F16" if 1 in kinds else "F32"
        made.values["general.file_type"] = (gguf_file.UINT32, gguf_file.FILE_TYPE_NUMBERS[file_type])
        return made

    def _adapters(self, adapters: t.Mapping[str, str]) -> None:
        for name, digest in adapters.items():
            try:
                content = self.store.blob(digest).read_bytes()
            except ValueError as error:
                raise CreateError(str(error), 400) from error
            except FileNotFoundError as error:
                raise CreateError("open %s: no such file or directory" % error.filename) from error
            if name.endswith(".safetensors"):
                self.say(status="converting adapter")
                values = {"general.architecture": (gguf_file.STRING, self.config.get("model_family", "llama")),
                          "general.type": (gguf_file.STRING, "adapter")}  # fmt: skip
                content = gguf_file.Gguf(values, list(_safetensors(content))).pack()
            elif name.endswith((".json", ".model")):
                continue
            elif content[:4] != gguf_file.MAGIC:
                raise CreateError("supplied file was not in GGUF format", 400)
            self.layers.append(self._add(content, "adapter"))

    # --- what is said about it ----------------------------------------------------------------------

    def _texts(self) -> None:
        request = self.request
        if request.get("template"):
            try:
                templates.check(request["template"])
            except templates.TemplateError as error:
                raise CreateError("template error: %s" % error, 400) from error
            self._replace("template", request["template"].encode())
        if request.get("system"):
            self._replace("system", request["system"].encode())
        licenses = request.get("license") or []
        for number, text in enumerate([licenses] if isinstance(licenses, str) else licenses):
            if number == 0:
                self._remove("license")
            self.layers.append(self._add(str(text).encode(), "license"))
        if request.get("parameters"):
            merged = dict(self.base.parameters if self.base else {})
            merged.update(request["parameters"])
            self._replace("params", go_json(dict(sorted(merged.items()))))
        if request.get("messages"):
            for message in request["messages"]:
                if message.get("role") not in ("system", "user", "assistant"):
                    raise CreateError('invalid role "%s"' % message.get("role"), 400)
            self._replace("messages", go_json(request["messages"]))

    def _remove(self, kind: str) -> None:
        self.layers = [layer for layer in self.layers if not layer["mediaType"].endswith("." + kind)]

    def _replace(self, kind: str, content: bytes) -> None:
        self._remove(kind)
        self.layers.append(self._add(content, kind))


def _safetensors(content: bytes) -> t.Iterator[gguf_file.Tensor]:
    kinds = {"F32": 0, "F16": 1, "BF16": 30}
    try:
        length = struct.unpack_from("<Q", content)[0]
        header = json.loads(content[8 : 8 + length])
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            data = content[8 + length + first : 8 + length + last]
            if len(data) != last - first:
                raise CreateError("unexpected EOF")
            for pattern, replacement in _TENSOR_NAMES:
                name = re.sub(pattern, replacement, name)
            yield gguf_file.Tensor(name, kinds[entry["dtype"]], tuple(reversed(entry["shape"])), data)
    except (struct.error, ValueError, KeyError) as error:
        raise CreateError("invalid safetensors file: %s" % error) from error
