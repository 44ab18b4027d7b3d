# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""quantization_config -> how each weight matrix is stored."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from .patterns import ModuleList

# Where checkpoints list the modules that stay as they were.
_IGNORE_KEYS = ("ignore", "ignored_layers", "modules_to_not_convert", "exclude_modules", "llm_int8_skip_modules")


@dataclass(frozen=True)
class Scheme:
    """How a weight matrix is stored: the numbers, one scale per group, channel, block or tensor, and the zero points."""

    dtype: str
    bits: int
    group_size: t.Optional[int] = None  # -1: one group per output channel; None: one per tensor
    block_size: t.Optional[t.Tuple[int, int]] = None
    scale_bytes: int = 4
    zero_bits: int = 0
    input_index_bytes: int = 0  # per input channel (g_idx of GPTQ), which vLLM does not load
    extra_bytes: int = 0  # per matrix

    def matrix_bytes(self, inputs: int, outputs: int) -> int:
        """As stored."""
        return self.loaded_bytes(inputs, outputs) + inputs * self.input_index_bytes

    def loaded_bytes(self, inputs: int, outputs: int) -> int:
        if self.block_size:
            scales = -(-outputs // self.block_size[0]) * -(-inputs // self.block_size[1])
        elif self.group_size is None:
            scales = 1
        else:
            scales = outputs * (-(-inputs // self.group_size) if self.group_size > 0 else 1)
        return (
            inputs * outputs * self.bits // 8
            + scales * self.scale_bytes
            + scales * self.zero_bits // 8
            + self.extra_bytes
        )


@dataclass
class Quantization:
    """A checkpoint's quantization: a scheme for the modules it covers."""

    method: str
    schemes: t.List[t.Tuple[t.Optional[ModuleList], Scheme]] = field(default_factory=list)
    unquantized: t.List[str] = field(default_factory=list)
    format: t.Optional[str] = None
    kv_cache_dtype: t.Optional[str] = None
    warnings: t.List[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ignored = ModuleList(self.unquantized)

    def scheme(self, module: str) -> t.Optional[Scheme]:
        """How ``module`` (model.layers.3.mlp.down_proj) is stored; None: like an unquantized checkpoint."""
        if module in self._ignored:
            return None
        for modules, scheme in self.schemes:
            if modules is None or module in modules:
                return scheme if scheme.bits < 16 else None
        return None

    def as_dict(self) -> dict:
        scheme = self.schemes[-1][1] if self.schemes else None
        return {
            "method": self.method,
            "bits": scheme.bits if scheme else None,
            "group_size": scheme.group_size if scheme else None,
            "block_size": list(scheme.block_size) if scheme and scheme.block_size else None,
            "format": self.format,
            "kv_cache_dtype": self.kv_cache_dtype,
            "unquantized": self.unquantized,
        }


def read_quantization(config: dict, hf_quant_config: t.Optional[dict] = None) -> t.Optional[Quantization]:
    """The quantization that config.json (or ModelOpt's hf_quant_config.json beside it) declares, None without one."""
    settings = _find(config)
    if settings is None and hf_quant_config:
        settings = hf_quant_config
    if settings is None:
        return None
    if not isinstance(settings, dict):
        raise GpufleetError("The model's quantization_config is a %s, a dict is needed." % type(settings).__name__)
    method = str(settings.get("quant_method") or "").lower().replace("_", "-")
    nested = settings.get("quantization")
    if isinstance(nested, dict) and "quant_algo" in nested:  # ModelOpt's own file
        settings, method = nested, "modelopt"
    if not method and settings.get("quant_algo"):
        method = "modelopt"
    reader = _READERS.get(method)
    if reader:
        found = reader(method, settings)
        if str(config.get("expert_dtype") or "").lower() == "fp4" and method == "fp8":  # DeepSeek-V4
            found.schemes.insert(0, (ModuleList(["experts"]), Scheme("uint8", 4, 32, scale_bytes=1)))
        return found
    unknown = Quantization(method or "unknown", [], _ignored(settings))
    unknown.warnings.append(
        "The quantization method %r is not known: the weights are counted in 16 bits. "
        "With the safetensors headers (a directory or a hub id as source) they are exact." % (method or "(none)")
    )
    return unknown


def _find(config: dict) -> t.Any:
    for part in [config] + [value for value in config.values() if isinstance(value, dict)]:
        for key in ("quantization_config", "compression_config"):
            if part.get(key) is not None:
                return part[key]
    return None


def _ignored(settings: dict) -> t.List[str]:
    for key in _IGNORE_KEYS:
        if isinstance(settings.get(key), list):
            return [str(name) for name in settings[key]]
    return []


def _number(settings: dict, *keys: str) -> int:
    for key in keys:
        if isinstance(settings.get(key), (int, float)) and not isinstance(settings[key], bool):
            return int(settings[key])
    raise GpufleetError("The model's quantization_config has no %s." % " nor ".join(keys))


def _fp8(method: str, settings: dict) -> Quantization:
    block = settings.get("weight_block_size")
    static = settings.get("activation_scheme") == "static"
    scheme = Scheme("float8_e4m3fn", 8, block_size=tuple(block) if block else None, extra_bytes=4 if static else 0)
    return Quantization(method, [(None, scheme)], _ignored(settings), settings.get("fmt"))


def _awq(method: str, settings: dict) -> Quantization:
    bits = _number(settings, "bits", "w_bit")
    group = _number(settings, "group_size", "q_group_size")
    zeros = bits if settings.get("zero_point", True) else 0
    scheme = Scheme("int32", bits, group, scale_bytes=2, zero_bits=zeros)
    return Quantization(method, [(None, scheme)], _ignored(settings), settings.get("version"))


def _gptq(method: str, settings: dict) -> Quantization:
    bits, group = _number(settings, "bits"), _number(settings, "group_size")
    scheme = Scheme("int32", bits, group, scale_bytes=2, zero_bits=bits, input_index_bytes=4)
    kept = _ignored(settings)
    for pattern in settings.get("dynamic") or {}:
        if str(pattern).startswith("-:"):
            kept.append("re:" + str(pattern)[2:])
    return Quantization(method, [(None, scheme)], kept, settings.get("checkpoint_format"))


def _auto_round(method: str, settings: dict) -> Quantization:
    bits, group = _number(settings, "bits"), _number(settings, "group_size")
    scheme = Scheme("int32", bits, group, scale_bytes=2, zero_bits=bits)
    kept = _ignored(settings)
    own: t.List[t.Tuple[t.Optional[ModuleList], Scheme]] = []
    for name, changed in (settings.get("extra_config") or {}).items():
        if not isinstance(changed, dict):
            continue
        if int(changed.get("bits", bits)) >= 16:
            kept.append(name)
        else:
            other = Scheme(
                "int32", int(changed.get("bits", bits)), int(changed.get("group_size", group)), None, 2, bits
            )
            own.append((ModuleList([name]), other))
    return Quantization(method, own + [(None, scheme)], kept, settings.get("packing_format"))


def _compressed_tensors(method: str, settings: dict) -> Quantization:
    schemes: t.List[t.Tuple[t.Optional[ModuleList], Scheme]] = []
    for group in (settings.get("config_groups") or {}).values():
        weights = group.get("weights") if isinstance(group, dict) else None
        if not isinstance(weights, dict):
            continue
        targets = [str(name) for name in group.get("targets") or ["Linear"]]
        everything = any(name[:1].isupper() for name in targets)  # a class of modules: "Linear"
        style = str(group.get("format") or settings.get("format") or "")
        scheme = _compressed_scheme(weights, style, bool(group.get("input_activations")))
        schemes.append((None if everything else ModuleList(targets), scheme))
    schemes.sort(key=lambda item: item[0] is None)
    cache = settings.get("kv_cache_scheme")
    kv_cache_dtype = "fp8" if isinstance(cache, dict) and cache.get("num_bits") == 8 else None
    return Quantization(method, schemes, _ignored(settings), settings.get("format"), kv_cache_dtype)


def _compressed_scheme(weights: dict, style: str, activations: bool) -> Scheme:
    bits = _number(weights, "num_bits")
    group = weights.get("group_size")
    strategy = weights.get("strategy") or ("group" if group else "tensor")
    if weights.get("type") == "float" and bits == 4:
        if "mxfp4" in style or group == 32:
            return Scheme("uint8", 4, 32, scale_bytes=1)
        return Scheme("uint8", 4, group or 16, scale_bytes=1, extra_bytes=8 if activations else 4)
    if strategy == "block":
        block = weights.get("block_structure") or [128, 128]
        if isinstance(block, str):
            block = block.split("x")
        return Scheme("float8_e4m3fn", bits, block_size=(int(block[0]), int(block[1])))
    group_size = {"tensor": None, "channel": -1}.get(strategy, group or -1)
    if bits == 8 and weights.get("type") == "float":
        return Scheme("float8_e4m3fn", 8, group_size, scale_bytes=1 if group == 32 else 4)
    if "pack" in style or bits < 8:
        zeros = 0 if weights.get("symmetric", True) else bits
        return Scheme("int32", bits, group_size, scale_bytes=2, zero_bits=zeros, extra_bytes=16)
    return Scheme("int8", bits, group_size)


def _mxfp4(method: str, settings: dict) -> Quantization:
    # Only experts are ever stored this way.
    experts = ModuleList(["experts"])
    return Quantization(method, [(experts, Scheme("uint8", 4, 32, scale_bytes=1))], _ignored(settings))


def _modelopt(method: str, settings: dict) -> Quantization:
    algorithm = str(settings.get("quant_algo") or "").upper()
    cache = settings.get("kv_cache_quant_algo") or settings.get("kv_cache_scheme")
    kv_cache_dtype = "fp8" if cache and "nvfp4" not in str(cache).lower() else ("nvfp4" if cache else None)
    kept = _ignored(settings)
    listed = settings.get("quantized_layers")
    if algorithm == "MIXED_PRECISION" and isinstance(listed, dict):
        own = [
            (ModuleList([name]), _modelopt_scheme(str(layer.get("quant_algo")).upper(), layer))
            for name, layer in listed.items()
        ]
        return Quantization(method, own, kept, algorithm, kv_cache_dtype)
    if not algorithm and settings.get("config_groups"):
        found = _compressed_tensors(method, settings)
        found.kv_cache_dtype = kv_cache_dtype
        return found
    return Quantization(method, [(None, _modelopt_scheme(algorithm, settings))], kept, algorithm, kv_cache_dtype)


def _modelopt_scheme(algorithm: str, settings: dict) -> Scheme:
    if "MXFP8" in algorithm:
        return Scheme("float8_e4m3fn", 8, 32, scale_bytes=1)
    if "NVFP4" in algorithm or "FP4" in algorithm:
        return Scheme("uint8", 4, int(settings.get("group_size") or 16), scale_bytes=1, extra_bytes=8)
    if "W4A16" in algorithm or "W4A8" in algorithm or "INT4" in algorithm:
        return Scheme("uint8", 4, int(settings.get("group_size") or 128), scale_bytes=2)
    if "PB" in algorithm:
        return Scheme("float8_e4m3fn", 8, block_size=(128, 128))
    return Scheme("float8_e4m3fn", 8, -1 if "PER_CHANNEL" in algorithm else None, extra_bytes=4)


def _bitsandbytes(method: str, settings: dict) -> Quantization:
    if settings.get("load_in_8bit") or settings.get("_load_in_8bit"):
        scheme = Scheme("int8", 8, -1)
    elif settings.get("bnb_4bit_use_double_quant", False):
        # One byte of scale per 64 numbers, of which 256 share a float32.
        scheme = Scheme("uint8", 4, 64, scale_bytes=1, extra_bytes=1200)
    else:
        scheme = Scheme("uint8", 4, 64, scale_bytes=4, extra_bytes=150)
    kept = _ignored(settings) + ["lm_head"]
    return Quantization(method, [(None, scheme)], kept, settings.get("bnb_4bit_quant_type"))


_READERS: t.Dict[str, t.Callable[[str, dict], Quantization]] = {
    "fp8": _fp8,
    "fbgemm-fp8": lambda method, settings: Quantization(
        method, [(None, Scheme("float8_e4m3fn", 8, -1))], _ignored(settings)
    ),
    "awq": _awq,
    "gptq": _gptq,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
    "compressed-tensors": _compressed_tensors,
    "mxfp4": _mxfp4,
    "modelopt": _modelopt,
    "modelopt-fp4": _modelopt,
    "modelopt-mixed": _modelopt,
    "bitsandbytes": _bitsandbytes,
}
