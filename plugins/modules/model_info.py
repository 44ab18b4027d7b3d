#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a model needs: its layers, its weights, how they are stored."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_info
short_description: Read what a model needs
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns the facts of a model that a plan is made from, such as its layers by kind of attention, its experts, and
    the bytes of its weights by the way they are split over GPUs.
  - Reads a directory, a GGUF file, a repository of a hub, or a C(config.json) given inline. Weights are never
    downloaded or read. From a hub come C(config.json) and the headers of the weight files, a few megabytes at most.
  - With the files at hand the sizes are the true ones of the checkpoint, quantized or not. From a C(config.json)
    alone they follow from the formulas of the architecture.
  - Also says whether a directory is complete.
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
options:
  source:
    description:
      - A directory on the host, a C(.gguf) file on the host, or a repository of the hub as C(org/name).
      - A file may bear another name when it begins as GGUF does, as the blobs in Ollama's store.
      - What begins with V(/), V(./), V(../) or V(~), and whatever exists on the host, is a path.
      - One of O(source), O(config) and O(manifest) is required.
    type: str
  config:
    description:
      - The content of a C(config.json), for planning without any file.
    type: dict
  quantize:
    description:
      - Return the facts of the GGUF that llama-quantize would make of a 16-bit model, for example V(Q4_K_M), V(Q8_0) or
        V(MXFP4). Types and sizes of the tensors follow llama.cpp's rules.
      - What a model has beside text becomes RV(model.projector_bytes).
    type: str
  manifest:
    description:
      - The manifest of a model in an Ollama registry or store, as a dictionary. It says how large the model and its
        projector are before anything is downloaded.
      - With O(source) naming the model's own GGUF file, or O(config) being the original model's C(config.json),
        layers and heads are known too. Without either they are assumed from the size, and a warning says so.
    type: dict
  manifest_config:
    description:
      - The config blob that O(manifest) names, with family, parameters and quantization.
    type: dict
  file:
    description:
      - The GGUF file in O(source), where there are several. Of a split model, any of its files.
    type: str
  revision:
    description:
      - A branch, a tag or a commit of the hub.
    type: str
    default: main
  endpoint:
    description:
      - URL of the hub or of a mirror that speaks its API.
      - By default the environment variable E(HF_ENDPOINT) of the host, else V(https://huggingface.co).
    type: str
  token_file:
    description:
      - A file on the host with an access token of the hub, for gated and private repositories.
      - Without O(token_file) and O(token), what huggingface_hub itself finds is used, such as E(HF_TOKEN).
    type: path
  token:
    description:
      - The access token itself. Prefer O(token_file).
    type: str
  check:
    description:
      - Whether to check that a directory is complete. Looks at names, sizes and headers, and hashes nothing.
    type: bool
    default: true
  offline:
    description:
      - Never use the network. A model of the hub is then looked for in the hub's cache of the host.
    type: bool
    default: false
  timeout:
    description:
      - Seconds without an answer after which a request to the hub has failed.
    type: int
    default: 30
  tools_python:
    description:
      - The Python that has huggingface_hub, where the one that runs the module has not.
      - The role P(gpufleet.llm.tools#role) installs it.
    type: path
    default: /opt/gpufleet/tools/bin/python
notes:
  - A directory, a file and O(config) need no library.
  - A model that is incomplete is an answer and not an error. See RV(model.complete) and RV(model.problems).
requirements:
  - huggingface_hub for a model of the hub
seealso:
  - module: gpufleet.llm.model_download
  - module: gpufleet.llm.ollama_plan
"""

EXAMPLES = r"""
- name: A model of the hub, without downloading it
  gpufleet.llm.model_info:
    source: Qwen/Qwen3-8B
  register: result

- name: Its size
  ansible.builtin.debug:
    msg: "{{ (result.model.weight_bytes.total / 2**30) | round(2) }} GiB"

- name: A directory of the store has to be complete
  gpufleet.llm.model_info:
    source: /srv/models/huggingface/Qwen/Qwen3-8B/main
  register: result
  failed_when: not result.model.complete

- name: A configuration at hand
  gpufleet.llm.model_info:
    config: "{{ lookup('ansible.builtin.file', 'config.json') | from_json }}"

- name: One quantization of a GGUF repository
  gpufleet.llm.model_info:
    source: Qwen/Qwen3-8B-GGUF
    file: Qwen3-8B-Q4_K_M.gguf

- name: A model that an Ollama server has pulled, by the manifest in its store
  gpufleet.llm.model_info:
    source: /srv/models/ollama/qwen3-8b.gguf
    manifest: "{{ lookup('ansible.builtin.file', 'manifest.json') | from_json }}"

- name: The GGUF that would come of a model of the hub
  gpufleet.llm.model_info:
    source: Qwen/Qwen3-8B
    quantize: Q4_K_M
"""

RETURN = r"""
model:
  description: The model's facts. Sizes are in bytes, lengths in tokens.
  type: dict
  returned: success
  contains:
    schema:
      description: V(gpufleet.model/1).
      type: str
    architecture:
      description: First of C(architectures) in C(config.json); of a GGUF file its C(general.architecture).
      type: str
      sample: LlamaForCausalLM
    model_type:
      description: The model type of C(config.json).
      type: str
      sample: llama
    format:
      description: V(safetensors), V(gguf), V(pytorch), or V(config) when only O(config) is known.
      type: str
    task:
      description: V(generate) or V(embed).
      type: str
    dtype:
      description: The type that the checkpoint computes in.
      type: str
      sample: bfloat16
    layers:
      description:
        - How many layers there are, C(total) and by kind. C(full) attends to everything, C(sliding) to a window,
          C(chunked) to a chunk, C(mla) to compressed keys and values, C(linear) keeps a state of fixed size, C(none)
          keeps nothing.
      type: dict
      sample: {chunked: 0, full: 32, linear: 0, mla: 0, none: 0, sliding: 0, total: 32}
    layer_kinds:
      description: The kind of each layer.
      type: list
      elements: str
    hidden_size:
      description: Width of the hidden state.
      type: int
    intermediate_size:
      description: Width of the dense feed-forward network.
      type: int
    attention_heads:
      description: Query heads.
      type: int
    kv_heads:
      description: Key and value heads.
      type: int
    head_size:
      description: Width of a head of the queries and keys.
      type: int
    value_head_size:
      description: Width of a head of the values.
      type: int
    rotary_size:
      description: How much of a head is rotated by the token's position.
      type: int
    logit_softcap:
      description: Whether the logits go through a tanh that bounds them.
      type: bool
    per_layer:
      description:
        - Where layers differ, C(attention_heads), C(kv_heads), C(head_size) and C(value_head_size) by layer index.
      type: dict
    vocab_size:
      description: Rows of the embedding before any padding.
      type: int
    max_position:
      description: The longest context, rope scaling included, as vLLM derives it.
      type: int
    default_context:
      description:
        - The context that vLLM takes when none is set, where that is less than RV(model.max_position). Else null.
      type: int
    sliding_window:
      description: Tokens of the window of the C(sliding) layers, or null.
      type: int
    attention_chunk:
      description: Tokens of the chunk of the C(chunked) layers, or null.
      type: int
    kv_shared_layers:
      description: How many layers, counted from the last, use the keys and values of earlier ones.
      type: int
    tied_embeddings:
      description: Whether the output layer is the embedding.
      type: bool
    mla:
      description:
        - For latent attention, C(q_lora_rank), C(kv_lora_rank), C(qk_nope_head_size), C(qk_rope_head_size),
          C(v_head_size), and for sparse attention C(index_heads), C(index_head_size) and C(index_layers).
          C(compressed_cache) is false for a GGUF file from before April 2025, whose keys and values llama.cpp keeps
          uncompressed. Else null.
      type: dict
    moe:
      description:
        - For experts, C(experts), C(experts_per_token), C(intermediate_size), C(shared_experts),
          C(shared_intermediate_size) and C(layers), the indices of the layers that have them. Else null.
      type: dict
    linear_attention:
      description:
        - For layers with a state, C(variant) (V(gdn), V(kda), V(mamba1), V(mamba2), V(conv)), C(conv_kernel),
          C(key_heads), C(value_heads), C(key_head_size), C(value_head_size), C(groups), C(inner_size), C(state_size),
          C(time_step_rank), C(state_dtype), C(gated_norm), and C(beside_attention) where every attention layer keeps a
          state as well. Else null.
      type: dict
    multimodal:
      description: Whether the model takes more than text.
      type: bool
    modalities:
      description: What it takes.
      type: list
      elements: str
      sample: [text, image]
    encoder:
      description:
        - A vision tower as far as its activations go, null without one. Its C(hidden_size) and C(intermediate_size),
          whether its MLP is C(gated), how many vectors per token it hands over (C(outputs)), the tokens of the largest
          image its processor makes (C(largest_item_tokens)) and C(patches_per_token).
      type: dict
    parameters:
      description: Parameters of what an engine loads.
      type: int
    parameters_source:
      description:
        - V(headers) of the weight files, V(config) when they follow from formulas, or V(manifest) when the shape is
          assumed.
      type: str
    tensor_groups:
      description: The weights by the way they are split over GPUs. Sizes are those of one layer, all experts together.
      type: list
      elements: dict
      contains:
        name:
          description: What it is, for instance V(attention.q), V(attention.kv), V(mlp.down), V(moe.experts), V(embed).
          type: str
        place:
          description:
            - V(layers), or V(embed), V(final), V(head), V(vision) for what exists once, or V(skipped) for what an
              engine does not load.
          type: str
        layers:
          description:
            - The indices of the layers that have it. Empty when RV(model.tensor_groups[].place) is not V(layers).
          type: list
          elements: int
        parameters:
          description: Parameters of one instance.
          type: int
        bytes:
          description: Bytes of one instance as stored.
          type: int
        loaded_bytes:
          description:
            - Bytes of one instance once vLLM holds it. Differs from the stored ones where vLLM uses another type, or
              holds something twice.
          type: int
        dtype:
          description: The type it is stored in.
          type: str
        quantized:
          description: Whether it is quantized.
          type: bool
        sharding:
          description:
            - V(tp) is divided by the tensor parallel size, V(kv) by the smaller of that and C(heads),
              V(vocab) after padding the rows to a multiple of 64, V(expert) by the tensor or expert parallel size,
              V(replicated) is whole on every GPU.
          type: str
        rows:
          description: Rows before padding, for V(vocab). Else null.
          type: int
        heads:
          description: Key and value heads, for V(kv). Else null.
          type: int
        dims:
          description:
            - Inputs C(in) and outputs C(out) of a matrix, whose shares have to be whole groups or blocks of a
              quantization. For V(expert) these are the hidden size and the size of one expert. Null where not known.
          type: dict
    weight_bytes:
      description:
        - C(total) bytes as stored of what an engine loads, C(by_dtype), and C(by_file) where the files are known.
      type: dict
    quantization:
      description:
        - C(method), C(bits), C(group_size) (-1 is one group per channel), C(block_size), C(format),
          C(kv_cache_dtype), and C(unquantized), the modules left as they were. Null without quantization.
      type: dict
    projector_bytes:
      description: Bytes of the multimodal projector's own file, or null. Only with O(manifest) or O(quantize).
      type: int
    extra_layers:
      description: Layers for multi-token prediction, which are loaded only for speculative decoding.
      type: int
    generation:
      description: The content of C(generation_config.json), or null.
      type: dict
    chat_template:
      description: Whether the model has a chat template.
      type: bool
    source:
      description: Where the facts come from.
      type: str
    revision:
      description: The commit of the hub, or null.
      type: str
    files:
      description: The model's files with C(path) and C(size), or null.
      type: list
      elements: dict
    complete:
      description: Whether a directory is complete. Null when that was not checked.
      type: bool
    problems:
      description: What is missing, truncated, or closed to other users, with the numbers and what to do.
      type: list
      elements: str
    warnings:
      description: What had to be assumed or could not be counted.
      type: list
      elements: str
missing_key:
  description: The key that the model's C(config.json) lacks.
  type: str
  returned: when the model cannot be sized without it
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import TOOLS_PYTHON, need_tools, run
    from ansible_collections.gpufleet.llm.plugins.module_utils.models import source
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import TOOLS_PYTHON, need_tools, run
    from module_utils.models import source

ARGUMENT_SPEC = {
    "source": {"type": "str"},
    "config": {"type": "dict"},
    "quantize": {"type": "str"},
    "manifest": {"type": "dict"},
    "manifest_config": {"type": "dict"},
    "file": {"type": "str"},
    "revision": {"type": "str", "default": "main"},
    "endpoint": {"type": "str"},
    "token_file": {"type": "path", "no_log": False},
    "token": {"type": "str", "no_log": True},
    "check": {"type": "bool", "default": True},
    "offline": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 30},
    "tools_python": {"type": "path", "default": TOOLS_PYTHON},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    model = source.answer(
        module.params, need_client=lambda: need_tools(module.params["tools_python"], "huggingface_hub")
    )
    return {"changed": False, "model": model}


def main() -> None:
    run(
        work,
        ARGUMENT_SPEC,
        supports_check_mode=True,
        required_one_of=[("source", "config", "manifest")],
        required_by={"manifest_config": "manifest"},
        mutually_exclusive=[
            ("source", "config"),
            ("config", "file"),
            ("token", "token_file"),
            ("manifest", "quantize"),
        ],
    )


if __name__ == "__main__":
    main()
