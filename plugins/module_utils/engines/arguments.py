# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of every module that talks to an engine over HTTP, from the argument spec to the client."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError
from ..services import secret_files
from .connection import Address, Client, Security

ENDPOINT_ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "api_key": {"type": "str", "no_log": True},
    "api_key_file": {"type": "path", "no_log": False},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "timeout": {"type": "float", "default": 30},
    "url": {"type": "str", "required": True},
    "validate_certs": {"type": "bool", "default": True},
}
ENDPOINT_RULES: t.Dict[str, t.Any] = {
    "mutually_exclusive": [("api_key", "api_key_file")],
    "required_by": {"client_key": ("client_cert",)},
}


def client(options: t.Mapping[str, t.Any]) -> Client:
    """The client that these options describe."""
    if options["timeout"] <= 0:
        raise GpufleetError("timeout=%g: must be more than 0 seconds" % options["timeout"])
    address = Address.parse(options["url"])
    security = Security(
        key=_key(options["api_key"], options["api_key_file"]),
        ca_path=options["ca_path"],
        client_cert=options["client_cert"],
        client_key=options["client_key"],
        validate_certs=options["validate_certs"],
    )
    return Client(address, security, options["timeout"])


def _key(given: t.Optional[str], path: t.Optional[str]) -> t.Optional[str]:
    if path is None:
        return None if given is None else secret_files.check(given, "api_key")
    key = secret_files.read(path)
    if key is None:
        raise GpufleetError("api_key_file=%s does not exist on this host" % path)
    return key
