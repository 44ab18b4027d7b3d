# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables that `ollama serve` reads, by kind of value, and what became of the old ones.

Source: envconfig/config.go of github.com/ollama/ollama at v0.33. A variable that Ollama does not know is ignored by it
without a word, and a boolean that it cannot read counts as true: so every name and every value is checked here.
"""

from __future__ import annotations

import typing as t

# Raised whenever the same inputs would give another plan.
PLANNER_VERSION = "1"

# name -> kind of value. values.py says what each kind accepts and how it is written.
VARIABLES: t.Dict[str, str] = {
    "OLLAMA_HOST": "host",
    "OLLAMA_MODELS": "path",
    "OLLAMA_KEEP_ALIVE": "duration",
    "OLLAMA_LOAD_TIMEOUT": "duration",
    "OLLAMA_MAX_LOADED_MODELS": "uint",
    "OLLAMA_NUM_PARALLEL": "uint",
    "OLLAMA_MAX_QUEUE": "uint",
    "OLLAMA_CONTEXT_LENGTH": "uint",
    "OLLAMA_FLASH_ATTENTION": "bool",
    "OLLAMA_KV_CACHE_TYPE": "kv_type",
    "OLLAMA_SCHED_SPREAD": "bool",
    "OLLAMA_LLM_LIBRARY": "text",
    "OLLAMA_VULKAN": "bool",
    "OLLAMA_IGPU_ENABLE": "bool",
    "OLLAMA_ORIGINS": "origins",
    "OLLAMA_NOPRUNE": "bool",
    "OLLAMA_NO_CLOUD": "bool",
    "OLLAMA_REMOTES": "csv",
    "OLLAMA_MAX_TRANSFER_STREAMS": "uint",
    "OLLAMA_GO_TEMPLATE": "bool",
    "OLLAMA_DEBUG": "debug",
    "OLLAMA_DEBUG_LOG_REQUESTS": "bool",
    "CUDA_VISIBLE_DEVICES": "csv",
    "ROCR_VISIBLE_DEVICES": "csv",
    "HIP_VISIBLE_DEVICES": "csv",
    "GPU_DEVICE_ORDINAL": "csv",
    "GGML_VK_VISIBLE_DEVICES": "csv",
    "HSA_OVERRIDE_GFX_VERSION": "text",
    "HTTPS_PROXY": "text",
    "HTTP_PROXY": "text",
    "NO_PROXY": "csv",
    # Read by the llama-server processes that Ollama starts; they inherit the service's environment.
    "LLAMA_ARG_FIT": "onoff",
    "LLAMA_ARG_FIT_TARGET": "mib",
    "LLAMA_ARG_N_GPU_LAYERS": "uint",
    "LLAMA_ARG_THREADS": "uint",
    "LLAMA_ARG_N_CPU_MOE": "uint",
    "LLAMA_ARG_TENSOR_SPLIT": "csv",
    "LLAMA_ARG_CACHE_RAM": "uint",
}

# What the mapped old names turn into, and the sentence that says so.
MAPPED: t.Dict[str, str] = {
    "OLLAMA_MAX_VRAM": "has had no effect since Ollama 0.1.45",
    "OLLAMA_GPU_OVERHEAD": "reserves nothing for GGUF models since Ollama 0.30",
    "OLLAMA_GPU_LAYERS": "never was a variable of Ollama",
    "OLLAMA_NUM_GPU": "never was a variable of Ollama (num_gpu is a parameter of a model)",
    "OLLAMA_NUM_CTX": "never was a variable of Ollama (num_ctx is a parameter of a model)",
    "OLLAMA_NUM_THREADS": "never was a variable of Ollama (num_thread is a parameter of a model)",
    "OLLAMA_INTEL_GPU": "was removed in Ollama 0.12.11",
}

# Left out of the plan with a warning: there is nothing to map them to.
GONE: t.Dict[str, str] = {
    "OLLAMA_TMPDIR": "was removed in Ollama 0.6.6",
    "OLLAMA_RUNNERS_DIR": "was removed in Ollama 0.3.11",
    "OLLAMA_NEW_ESTIMATES": "was removed in Ollama 0.11.11",
    "OLLAMA_NEW_ENGINE": "was removed in Ollama 0.30",
    "OLLAMA_MULTIUSER_CACHE": "was removed in Ollama 0.30",
}

# Names that people look for, and what to set instead.
INSTEAD: t.Dict[str, str] = {
    "OLLAMA_PORT": "OLLAMA_HOST takes address and port, for example 0.0.0.0:11434",
    "OLLAMA_HOME": "OLLAMA_MODELS is the directory of the models; HOME holds the server's key",
    "OLLAMA_REGISTRY": "a registry is part of a model's name: host/namespace/model:tag",
    "OLLAMA_REGISTRIES": "a registry is part of a model's name: host/namespace/model:tag",
    "OLLAMA_API_KEY": "it belongs to clients of ollama.com; the server does not read it",
    "OLLAMA_AUTH": "it makes a client sign its requests; the server checks nothing, so put a gateway before it",
}

# Bytes of one element in the KV cache: ggml's block sizes, a block of 32 elements with its scale.
# Source: ggml/src/ggml-common.h of llama.cpp. Numerator and denominator.
KV_TYPES: t.Dict[str, t.Tuple[int, int]] = {
    "f32": (4, 1),
    "f16": (2, 1),
    "bf16": (2, 1),
    "q8_0": (34, 32),
    "q5_1": (24, 32),
    "q5_0": (22, 32),
    "q4_1": (20, 32),
    "q4_0": (18, 32),
    "iq4_nl": (18, 32),
}
QUANTIZED_KV = tuple(name for name, (size, count) in KV_TYPES.items() if count > 1)

# Parameters of a model (PARAMETER in a Modelfile, `options` of a request) and the kind of value. Source: api/types.go.
PARAMETERS: t.Dict[str, str] = {
    "num_ctx": "uint",
    "num_batch": "uint",
    "num_gpu": "int",
    "main_gpu": "uint",
    "use_mmap": "bool",
    "num_thread": "uint",
    "draft_num_predict": "uint",
    "num_keep": "int",
    "seed": "int",
    "num_predict": "int",
    "top_k": "uint",
    "top_p": "float",
    "min_p": "float",
    "typical_p": "float",
    "repeat_last_n": "int",
    "temperature": "float",
    "repeat_penalty": "float",
    "presence_penalty": "float",
    "frequency_penalty": "float",
    "stop": "csv",
}
