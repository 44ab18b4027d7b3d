# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server's errors mean, and what to do about them. Its own words are always quoted."""

from __future__ import annotations

import re
import typing as t

from ...errors import GpufleetError
from ...models.ollama_names import Name
from .api import Refused

_NETWORK = re.compile(
    r"dial tcp|no such host|connection refused|connection reset|i/o timeout|network is unreachable|unexpected EOF|"
    r"TLS handshake timeout|proxyconnect|deadline exceeded|http2: "
)
_PROXY = (
    "the server (not this host's user) fetches it, so a proxy belongs into the service's environment as HTTPS_PROXY"
)
# What the server says while it pulls -> what it means. {name} and {host} are filled in; the first that matches counts.
_PULL: t.Tuple[t.Tuple[t.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        (r"permission denied|read-only file system",
         "the server's user may not write to the directory of its models (OLLAMA_MODELS): look at its owner"),
        (r"file does not exist|manifest unknown|\b404\b",
         "there is no such model {name} in {host}: look at its name and tag"),
        (r"\b401\b|\b403\b|unauthorized|denied|sign.?in",
         "{host} does not give {name} to this server: a private model needs the server's public key "
         "($HOME/.ollama/id_ed25519.pub of its user) in the owner's account"),
        (r"\b412\b|newer version|requires? .*version",
         "{name} needs a newer Ollama: install it first"),
        (r"sharded GGUF|not support.*shard",
         "{host} cannot serve {name}, whose GGUF is split: download the files (model_download) and give them as gguf"),
        (r"no space left|disk quota",
         "the disk of the server's models is full: free some space; what was downloaded is kept for an hour"),
        (r"digest mismatch",
         "what came from {host} was damaged on the way and was removed: run again"),
        (r"no Location header",
         "{host} is no registry that Ollama can pull from: it must answer GET of a blob with a Location header"),
        (r"x509|certificate",
         "the server does not trust the certificate of {host}: put its authority into the system's trust store "
         "(insecure=true means plain http, not this)"),
        (r"insecure protocol http|server gave HTTP response to HTTPS client",
         "{host} speaks plain http: set insecure=true to allow it"),
        (_NETWORK.pattern, "the server does not reach {host}: " + _PROXY),
        (r"max retries exceeded", "{host} kept failing; what is there is kept: run again"),
        (r"\b429\b|too many requests", "{host} wants fewer requests: run again later, or with fewer hosts at a time"),
        (r"\b50[0-9]\b|internal server error|bad gateway", "{host} has failed: run again later"),
    )
)  # fmt: skip
_CREATE: t.Tuple[t.Tuple[t.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        (r"no space left|disk quota",
         "the disk of the server's models is full: creating takes two to three times the size of the files"),
        (r"permission denied|read-only file system",
         "the server's user may not write to the directory of its models (OLLAMA_MODELS): look at its owner"),
        (r"unsupported architecture|unknown architecture",
         "Ollama cannot convert this architecture: convert it with llama.cpp's convert_hf_to_gguf.py and give gguf"),
        (r"split GGUF",
         "the set of files is not whole, or its files belong to different sets"),
        (r"quantization is only|unsupported quantization|unknown type",
         "this file cannot be quantized: give a source in F16, BF16 or F32, or leave quantize out"),
        (r"template error|template:",
         "template is no Go template that Ollama understands"),
        (r"not in GGUF format|invalid file magic",
         "the server does not take it for a GGUF file; an older Ollama may not know it: upgrade it"),
        (r"binary not found",
         "this installation of Ollama lacks a program in lib/ollama: install the whole release"),
    )
)  # fmt: skip


def of_pull(error: GpufleetError, name: Name) -> GpufleetError:
    return _explained(error, _PULL, "%s cannot be pulled" % name, {"name": name.short, "host": name.host})


def of_create(error: GpufleetError, name: Name) -> GpufleetError:
    return _explained(error, _CREATE, "%s cannot be created" % name, {})


def of_upload(error: GpufleetError, path: str) -> GpufleetError:
    return _explained(error, _CREATE, "%s cannot be uploaded" % path, {})


def of_load(error: GpufleetError, name: Name) -> GpufleetError:
    if isinstance(error, Refused) and error.status == 503:
        hint = "the server is busy: its queue (OLLAMA_MAX_QUEUE) is full"
    else:
        hint = "its log says more"
    return _explained(error, (), "%s cannot be loaded" % name, {}, hint)


def _explained(
    error: GpufleetError,
    table: t.Tuple[t.Tuple[t.Pattern[str], str], ...],
    what: str,
    names: t.Mapping[str, str],
    hint: str = "",
) -> GpufleetError:
    if not isinstance(error, Refused):
        return error
    meaning = next((text for pattern, text in table if pattern.search(error.said)), hint).format(**names)
    return GpufleetError(
        "%s%s. %s." % (what, ": " + meaning if meaning else "", str(error).rstrip(".")), **error.details
    )
