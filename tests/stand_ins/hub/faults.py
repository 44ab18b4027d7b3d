# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that the hub stand-in commits on request."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass
class Fault:
    """What goes wrong, for which answers and how often.

    ``path`` is a pattern over the file's path in its repository or over the URL's path; ``times`` < 0 is for ever.
    Kinds: ``status`` (answer ``status``, with ``code`` as X-Error-Code), ``drop`` (close the connection after the
    fraction ``at`` of the file), ``stall`` (go silent there for ``seconds``), ``slow`` (``rate`` bytes a second),
    ``corrupt`` (one wrong byte at ``at``), ``html`` (a page with status 200 instead of the file).
    """

    kind: str
    path: str = "*"
    method: str = "GET"
    times: int = 1
    at: float = 0.5
    seconds: float = 3600.0
    rate: float = 1e6
    status: int = 503
    code: str = ""
    retry_after: t.Optional[int] = None
    ratelimit: t.Optional[int] = None  # seconds left of the window, as the hub's RateLimit header says it

    KINDS: t.ClassVar[t.Tuple[str, ...]] = ("status", "drop", "stall", "slow", "corrupt", "html")

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise ValueError("fault %r: want one of %s" % (self.kind, ", ".join(self.KINDS)))

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From the command line: ``drop,path=*.safetensors,times=2,at=0.5``."""
        kind, *pairs = text.split(",")
        values: t.Dict[str, t.Any] = {}
        for pair in pairs:
            name, _equals, value = pair.partition("=")
            if name in ("times", "status", "retry_after", "ratelimit"):
                values[name] = int(value)
            elif name in ("at", "seconds", "rate"):
                values[name] = float(value)
            else:
                values[name] = value
        return cls(kind, **values)

    def headers(self) -> t.Dict[str, str]:
        headers = {}
        if self.code:
            headers["X-Error-Code"] = self.code
            headers["X-Error-Message"] = "stand-in: %s" % self.code
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.ratelimit is not None:
            headers["RateLimit"] = '"resolvers";r=0;t=%d' % self.ratelimit
            headers["RateLimit-Policy"] = '"fixed window";"resolvers";q=3000;w=300'
        return headers
