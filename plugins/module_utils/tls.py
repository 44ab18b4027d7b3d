# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a server is trusted, and what is shown to it."""

from __future__ import annotations

import os
import ssl
import typing as t
from dataclasses import dataclass

from .errors import GpufleetError


@dataclass(frozen=True)
class Security:
    """How the server is trusted and what is shown to it."""

    key: t.Optional[str] = None
    ca_path: t.Optional[str] = None
    client_cert: t.Optional[str] = None
    client_key: t.Optional[str] = None
    validate_certs: bool = True

    def context(self) -> ssl.SSLContext:
        try:
            directory = self.ca_path is not None and os.path.isdir(self.ca_path)
            context = ssl.create_default_context(
                cafile=None if directory else self.ca_path, capath=self.ca_path if directory else None
            )
        except OSError as error:
            raise GpufleetError("ca_path=%s cannot be used: %s" % (self.ca_path, error)) from None
        if not self.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert:
            try:
                # The empty password keeps OpenSSL from asking for one at the terminal.
                context.load_cert_chain(self.client_cert, self.client_key, password="")
            except OSError as error:
                text = "client_cert=%s with client_key=%s cannot be used: %s"
                raise GpufleetError(text % (self.client_cert, self.client_key, error)) from None
        return context
