# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of Ollama's variables and parameters: checked, and written as Go reads them.

Ollama takes a boolean that it does not know for true, and a duration that it does not know for five minutes
(envconfig/config.go), without an error. So nothing is passed on that it would misread.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import GpufleetError
from .variables import KV_TYPES
from ..units import parse_number

FOREVER = -1.0

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"^([+-]?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)$")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_TRUE = ("1", "t", "true", "yes", "on")
_FALSE = ("0", "f", "false", "no", "off")
_HOST = re.compile(r"^(?:(https?)://)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]*)(?::(\d+))?$")
_ORIGIN = re.compile(r"^[a-z][a-z0-9+.-]*://[^\s/,]+$")
_SIZES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$", re.IGNORECASE)


def read(option: str, kind: str, value: t.Any) -> t.Any:
    """The value in its own type; GpufleetError naming ``option``, the value and what is accepted."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise GpufleetError("%s is empty: leave it out to get Ollama's default." % option)
    return _READERS[kind](option, value.strip() if isinstance(value, str) else value)


def text(kind: str, value: t.Any) -> str:
    """The value as it stands in an environment file: booleans 1 and 0, durations in Go's form, lists with commas."""
    if kind == "bool":
        return "1" if value else "0"
    if kind == "onoff":
        return "on" if value else "off"
    if kind == "duration":
        return duration(value)
    if kind in ("csv", "mib", "origins"):
        return ",".join(str(item) for item in value)
    if kind == "debug":
        return str(int(value))
    return str(value)


def duration(seconds: float) -> str:
    """Seconds as Go writes a duration, without the parts that are zero: 90 -> 1m30s. Negative is for ever: -1s."""
    if seconds < 0:
        return "-1s"
    if seconds != int(seconds):
        milliseconds = round(seconds * 1000)
        return "%dms" % milliseconds if milliseconds == seconds * 1000 else "%dns" % round(seconds * 1e9)
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "m"), (left, "s")]
    return "".join("%d%s" % part for part in parts if part[0]) or "0s"


def size(option: str, value: t.Any) -> int:
    """Bytes: a plain number, or with K, M, G, T (powers of 1024)."""
    match = _SIZE.match(str(value).strip()) if not isinstance(value, bool) else None
    if not match:
        raise _wrong(option, value, "a number of bytes, also as 512M or 2G")
    return int(float(match.group(1)) * _SIZES[match.group(2).upper()])


def _bool(option: str, value: t.Any) -> bool:
    word = str(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _wrong(option, value, "true or false (Ollama would take this for true)")


def _duration(option: str, value: t.Any) -> float:
    wanted = "a duration such as 30s, 5m, 1h30m or 24h, a number of seconds, or -1 for ever"
    if isinstance(value, bool):
        raise _wrong(option, value, wanted)
    if isinstance(value, (int, float)) or re.match(r"^-?\d+$", str(value)):
        return FOREVER if float(value) < 0 else float(value)
    if str(value).lower() in ("forever", "infinite", "never"):
        return FOREVER
    match = _DURATION.match(str(value))
    if not match:
        if re.search(r"\d\s*d", str(value)):
            wanted += "; Go knows no days: write 24h"
        raise _wrong(option, value, wanted)
    if match.group(1) == "-":
        return FOREVER
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(match.group(2)))


def _uint(option: str, value: t.Any) -> int:
    if isinstance(value, bool):
        raise _wrong(option, value, "a whole number from 0 on")
    try:
        return parse_number(option, value)
    except GpufleetError:
        raise _wrong(option, value, "a whole number from 0 on") from None


def _int(option: str, value: t.Any) -> int:
    if isinstance(value, bool) or not re.match(r"^-?\d+$", str(value)):
        raise _wrong(option, value, "a whole number")
    return int(value)


def _float(option: str, value: t.Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise _wrong(option, value, "a number") from None


def _text(option: str, value: t.Any) -> str:
    word = str(value)
    if isinstance(value, (dict, list)) or any(sign in word for sign in "\n\r\0"):
        raise _wrong(option, value, "text of one line")
    return word


def _csv(option: str, value: t.Any) -> t.List[str]:
    items = list(value) if isinstance(value, (list, tuple)) else str(value).split(",")
    words = [_text(option, item).strip() for item in items]
    if not all(words):
        raise _wrong(option, value, "a list without empty items")
    return words


def _origins(option: str, value: t.Any) -> t.List[str]:
    """As gin-contrib/cors takes them: anything else makes the server panic when it starts."""
    found = _csv(option, value)
    for word in found:
        if word != "*" and (not _ORIGIN.match(word) or word.count("*") > 1):
            raise _wrong(option, word, "origins such as https://chat.example.org or http://192.168.*, or *")
    return found


def _mib(option: str, value: t.Any) -> t.List[int]:
    words = _csv(option, [value] if isinstance(value, int) else value)
    if not all(word.isdigit() for word in words):
        raise _wrong(option, value, "MiB as a whole number, or one for each GPU with commas")
    return [int(word) for word in words]


def _path(option: str, value: t.Any) -> str:
    path = _text(option, value)
    if not path.startswith("/"):
        raise _wrong(option, value, "an absolute path")
    return path.rstrip("/") or "/"


def _host(option: str, value: t.Any) -> str:
    match = _HOST.match(_text(option, value).rstrip("/"))
    if not match or (match.group(3) and not 0 < int(match.group(3)) < 65536):
        raise _wrong(option, value, "address:port, for example 127.0.0.1:11434 or 0.0.0.0:11434")
    scheme, address, port = match.groups()
    if scheme and not port:
        taken = 443 if scheme == "https" else 80
        raise _wrong(option, value, "address:port; with %s:// and no port Ollama listens on port %d" % (scheme, taken))
    return "%s:%s" % (address, port or 11434)


def _kv_type(option: str, value: t.Any) -> str:
    word = str(value).lower()
    if word not in KV_TYPES:
        raise _wrong(option, value, "one of %s" % ", ".join(sorted(KV_TYPES)))
    return word


def _debug(option: str, value: t.Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        level = value
    elif str(value).isdigit():
        level = int(value)
    else:
        level = int(_bool(option, value))
    if level > 2:
        raise _wrong(option, value, "0, 1 (debug) or 2 (trace)")
    return level


def _wrong(option: str, value: t.Any, wanted: str) -> GpufleetError:
    return GpufleetError("%s=%s: give %s." % (option, value, wanted))


_READERS: t.Dict[str, t.Callable[[str, t.Any], t.Any]] = {
    "bool": _bool,
    "onoff": _bool,
    "duration": _duration,
    "uint": _uint,
    "int": _int,
    "float": _float,
    "text": _text,
    "csv": _csv,
    "origins": _origins,
    "mib": _mib,
    "path": _path,
    "host": _host,
    "kv_type": _kv_type,
    "debug": _debug,
}
