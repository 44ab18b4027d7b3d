# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a pull would bring, without one: the digest of the manifest that the registry has now."""

from __future__ import annotations

import http.client
import typing as t
import urllib.error

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...transfer.ollama.manifest import MAX_BYTES, MEDIA_TYPE, Manifest

_PER_CLIENT = ("hf.co", "huggingface.co")  # make a manifest for each client that asks


def digest(name: Name, insecure: bool, timeout_s: float) -> t.Tuple[t.Optional[str], str]:
    """(hex digest, ""), or (None, why it is not known). Proxies of this process's environment are used."""
    from ansible.module_utils.urls import open_url  # late: half of this module's start, and rarely needed

    if name.host.lower() in _PER_CLIENT:
        return None, "%s makes a manifest for each client" % name.host
    scheme = "http" if insecure else "https"
    url = "%s://%s/v2/%s/%s/manifests/%s" % (scheme, name.host, name.namespace, name.model, name.tag)
    try:
        answer = open_url(url, headers={"Accept": MEDIA_TYPE}, timeout=timeout_s, http_agent="gpufleet-ollama-model")
        data = answer.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        return None, "%s answered %d" % (url, error.code)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return None, "%s: %s" % (url, error)
    try:
        return Manifest.parse(data, url).digest, ""
    except GpufleetError as error:
        return None, str(error)
