# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state that recurrent layers (gated delta net, KDA, Mamba, short convolutions) keep per request. Exact.

Source: vllm 0.33 model_executor/layers/mamba/mamba_utils.py, MambaStateShapeCalculator and MambaStateDtypeCalculator;
v1/kv_cache_interface.py MambaSpec.
"""

from __future__ import annotations

import typing as t

from .facts import element_bytes


def state_bytes(linear: t.Mapping[str, t.Any], tp: int, dtype: str, wished_dtype: t.Optional[str] = None) -> int:
    """Bytes of one layer's state of one request on one rank.

    A convolution's window in the compute dtype, and the recurrent state in the state's own dtype:
    the compute dtype, or what the model states, or ``mamba_ssm_cache_dtype``; KDA's is float32 by default.
    """
    variant = linear.get("variant") or "gdn"
    stated = wished_dtype if wished_dtype not in (None, "auto") else linear.get("state_dtype")
    state_element = element_bytes(stated or ("float32" if variant == "kda" else dtype))
    channels, state = _SIZES[variant](linear, tp)
    return channels * (int(linear.get("conv_kernel") or 1) - 1) * element_bytes(dtype) + state * state_element


def states_per_request(linear: t.Mapping[str, t.Any], prefix_caching: bool, checkpoints: bool = False) -> int:
    """How many states of one layer a request holds at once.

    With prefix caching (cache mode "align") a second one at the end of the cached prefix, and a third where the kernel
    writes one in the middle of a prompt (num_prefill_checkpoint_blocks): Mamba 2's does (layers/mamba/mamba_mixer2.py),
    that of the gated delta net with ``checkpoints``.
    """
    if not prefix_caching:
        return 1
    return 3 if checkpoints or linear.get("variant") == "mamba2" else 2


def writes_checkpoints(linear: t.Mapping[str, t.Any], capability: t.Tuple[int, int]) -> bool:
    """Whether FlashInfer's kernel does a gated delta net's prompts, as it does by itself since vLLM 0.33.

    Source: layers/mamba/gdn/qwen_gdn_linear_attn.py _resolve_gdn_prefill_backend: Hopper; Blackwell with keys of 128.
    """
    if (linear.get("variant") or "gdn") != "gdn":
        return False
    return capability == (9, 0) or (capability[0] in (10, 12) and _number(linear, "key_head_size") == 128)


def _number(linear: t.Mapping[str, t.Any], key: str) -> int:
    return int(linear.get(key) or 0)


def _delta_net(linear: t.Mapping[str, t.Any], tp: int) -> t.Tuple[int, int]:
    keys = _number(linear, "key_heads") * _number(linear, "key_head_size")
    values = _number(linear, "value_heads") * _number(linear, "value_head_size")
    return (2 * keys + values) // tp, values // tp * _number(linear, "key_head_size")


def _kda(linear: t.Mapping[str, t.Any], tp: int) -> t.Tuple[int, int]:
    channels, _state = _delta_net(linear, tp)
    size = _number(linear, "value_head_size")
    return channels, _number(linear, "value_heads") // tp * size * size


def _mamba1(linear: t.Mapping[str, t.Any], tp: int) -> t.Tuple[int, int]:
    inner = _number(linear, "inner_size") // tp
    return inner, inner * _number(linear, "state_size")


def _mamba2(linear: t.Mapping[str, t.Any], tp: int) -> t.Tuple[int, int]:
    groups = _number(linear, "groups")
    if groups % tp:
        groups = tp  # groups are repeated so that each rank has those of its heads
    channels = (_number(linear, "inner_size") + 2 * groups * _number(linear, "state_size")) // tp
    heads = _number(linear, "value_heads") // tp
    return channels, heads * _number(linear, "value_head_size") * _number(linear, "state_size")


def _convolution(linear: t.Mapping[str, t.Any], tp: int) -> t.Tuple[int, int]:
    return _number(linear, "inner_size") // tp, 0


_SIZES: t.Dict[str, t.Callable[[t.Mapping[str, t.Any], int], t.Tuple[int, int]]] = {
    "gdn": _delta_net,
    "kda": _kda,
    "mamba1": _mamba1,
    "mamba2": _mamba2,
    "conv": _convolution,
}
