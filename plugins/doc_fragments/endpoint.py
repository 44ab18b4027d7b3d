# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of every module that talks to an engine over HTTP."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_key:
    description:
      - The server's API key. Prefer O(api_key_file).
    type: str
  api_key_file:
    description:
      - File on the managed host that holds the server's API key and nothing else.
      - The key goes into the request's header only, and is hidden wherever the server or its log repeats it.
    type: path
  ca_path:
    description:
      - File or directory with the certificates of the authorities that may have signed the server's certificate.
      - Without it, the authorities that the host trusts.
    type: path
  client_cert:
    description:
      - File with the certificate to show to the server. It may hold the key too.
    type: path
  client_key:
    description:
      - File with the unencrypted key of O(client_cert).
    type: path
  timeout:
    description:
      - The longest silence in seconds, for each request, of the connection, the headers, the first token and each
        further one.
      - Lines that only keep a proxy's connection open do not count as a sign of life.
    type: float
    default: 30
  url:
    description:
      - Address of the server as V(http://HOST:PORT), V(https://HOST:PORT) or V(unix:///PATH/OF/THE/SOCKET).
      - What stands before C(/v1) in its paths may follow the port; C(/v1) itself may be given or left out.
      - Proxies named in the environment are not used.
    type: str
    required: true
  validate_certs:
    description:
      - Whether the server's certificate must be valid.
    type: bool
    default: true
"""
