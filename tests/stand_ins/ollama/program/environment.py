# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's environment variables, parsed with Ollama's quirks, and its log lines."""

from __future__ import annotations

import datetime
import re
import sys
import typing as t
from dataclasses import dataclass

MAX_DURATION_NS = 2**63 - 1
SECOND_NS = 10**9
_BOOLS = {name: True for name in ("1", "t", "T", "true", "TRUE", "True")}
_BOOLS.update({name: False for name in ("0", "f", "F", "false", "FALSE", "False")})
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_LOCAL_ORIGINS = ("localhost", "127.0.0.1", "0.0.0.0")
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_GPU_NAMES = (
    "CUDA_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION", "ROCR_VISIBLE_DEVICES",
)  # fmt: skip


class Panic(Exception):
    """What makes Go print a panic and exit with status 2."""


class Fatal(Exception):
    """What makes ``ollama`` print ``Error: ...`` and exit with status 1."""


def log(level: str, source: str, message: str, **fields: t.Any) -> None:
    """One line as Go's slog text handler writes it, to standard error."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
    pairs = [("time", now), ("level", level), ("source", source), ("msg", message)] + list(fields.items())
    sys.stderr.write(" ".join("%s=%s" % (name, _quoted(value)) for name, value in pairs) + "\n")
    sys.stderr.flush()


def _quoted(value: t.Any) -> str:
    text = str(value)
    if text and not re.search(r'[\s"=]', text) and text.isprintable():
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def parse_duration(text: str) -> int:
    """Go's time.ParseDuration, in nanoseconds; ValueError."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest):
        term = _TERM.match(rest, position)
        if not term:
            break
        total += int(float(term.group(1)) * _UNITS[term.group(2)])
        position = term.end()
    if not rest or position != len(rest) or total > MAX_DURATION_NS:
        raise ValueError('time: invalid duration "%s"' % text)
    return sign * total


def format_duration(nanoseconds: int) -> str:
    """Go's Duration.String for what a variable may hold."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < SECOND_NS:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if rest >= size:
                return "%s%s%s" % (sign, ("%.6f" % (rest / size)).rstrip("0").rstrip("."), unit)
    seconds, fraction = divmod(rest, SECOND_NS)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = "%d" % seconds + (".%09d" % fraction).rstrip("0").rstrip(".") + "s"
    if hours:
        return "%s%dh%dm%s" % (sign, hours, minutes, text)
    return "%s%dm%s" % (sign, minutes, text) if minutes else sign + text


@dataclass(frozen=True)
class Host:
    scheme: str
    host: str
    port: int

    @property
    def address(self) -> str:
        return "%s:%d" % ("[%s]" % self.host if ":" in self.host else self.host, self.port)

    def __str__(self) -> str:
        return "%s://%s" % (self.scheme, self.address)


class Environment:
    """The variables of a process, as Ollama reads them."""

    def __init__(self, variables: t.Mapping[str, str]) -> None:
        self._variables = variables

    def var(self, name: str) -> str:
        return self._variables.get(name, "").strip().strip("\"'")

    def flag(self, name: str, default: bool = False) -> bool:
        text = self.var(name)
        # Any other text means true.
        return _BOOLS.get(text, True) if text else default

    def tristate(self, name: str) -> str:
        text = self.var(name)
        return str(self.flag(name)).lower() if text else ""

    def uint(self, name: str, default: int) -> int:
        text = self.var(name)
        if not text:
            return default
        if not re.fullmatch(r"\d+", text) or int(text) >= 2**64:
            log("WARN", "config.go:265", "invalid environment variable, using default", key=name, value=text,
                default=default)  # fmt: skip
            return default
        return int(text)

    def _duration(self, name: str) -> int:
        text, value = self.var(name), 5 * 60 * SECOND_NS
        if text:
            try:
                value = parse_duration(text)
            except ValueError:
                if re.fullmatch(r"[+-]?\d+", text):
                    value = int(text) * SECOND_NS
        return value

    def keep_alive(self) -> int:
        value = self._duration("OLLAMA_KEEP_ALIVE")
        return MAX_DURATION_NS if value < 0 else value

    def load_timeout(self) -> int:
        value = self._duration("OLLAMA_LOAD_TIMEOUT")
        return MAX_DURATION_NS if value <= 0 else value

    def home(self) -> str:
        home = self._variables.get("HOME", "")
        if not home:
            raise Fatal("$HOME is not defined")
        return home

    def models(self) -> str:
        text = self.var("OLLAMA_MODELS")
        if text:
            return text
        if not self._variables.get("HOME"):
            raise Panic("$HOME is not defined")
        return self.home() + "/.ollama/models"

    def host(self) -> Host:
        text, default_port = self.var("OLLAMA_HOST"), 11434
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "http", text
        elif scheme == "http":
            default_port = 80
        elif scheme == "https":
            default_port = 443
        rest = rest.partition("/")[0]
        host, port = rest, str(default_port)
        bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", rest)
        if bracketed:
            host, port = bracketed.group(1), bracketed.group(2) or port
        elif rest.count(":") == 1:
            host, _colon, port = rest.partition(":")
            port = port or str(default_port)
        elif not rest:
            host = "127.0.0.1"
        if not re.fullmatch(r"\d+", port) or int(port) > 65535:
            log("WARN", "config.go:52", "invalid port, using default", port=port, default=default_port)
            port = str(default_port)
        return Host(scheme, host, int(port))

    def proxy(self, scheme: str, host: str) -> str:
        """The proxy for a host by Go's rules, or nothing: never for this machine, nor for what NO_PROXY names."""
        name = scheme.upper() + "_PROXY"
        proxy = self.var(name) or self.var(name.lower())
        if not proxy or host == "localhost" or host.startswith("127.") or host == "::1":
            return ""
        for entry in (self.var("NO_PROXY") or self.var("no_proxy")).split(","):
            entry = entry.strip().partition(":")[0]
            domain = entry.lstrip("*").lstrip(".").lower()
            if entry == "*" or (domain and (host == domain or host.endswith("." + domain))):
                return ""
        return proxy if "://" in proxy else "http://" + proxy

    def extra_origins(self) -> t.List[str]:
        return [origin for origin in self.var("OLLAMA_ORIGINS").split(",") if origin]

    def origins(self) -> t.List[str]:
        local = []
        for name in _LOCAL_ORIGINS:
            local += ["http://" + name, "https://" + name, "http://%s:*" % name, "https://%s:*" % name]
        return self.extra_origins() + local + list(_APP_ORIGINS)

    def debug_level(self) -> str:
        text = self.var("OLLAMA_DEBUG")
        if text in _BOOLS:
            return "DEBUG" if _BOOLS[text] else "INFO"
        if re.fullmatch(r"-?\d+", text):
            return {0: "INFO", 1: "DEBUG", 2: "DEBUG-4"}.get(int(text), "DEBUG%+d" % (4 - 4 * int(text)))
        return "INFO"

    def values(self) -> t.Dict[str, str]:
        """What the line ``server config`` shows."""
        shown = {name: self.var(name) for name in _PROXIES + _GPU_NAMES}
        for name in ("OLLAMA_KV_CACHE_TYPE", "OLLAMA_LLM_LIBRARY", "LLAMA_ARG_FIT_TARGET"):
            shown[name] = self.var(name)
        for name, flag in (
            ("OLLAMA_DEBUG_LOG_REQUESTS", False), ("OLLAMA_GO_TEMPLATE", True), ("OLLAMA_NOHISTORY", False),
            ("OLLAMA_NOPRUNE", False), ("OLLAMA_NO_CLOUD", False), ("OLLAMA_SCHED_SPREAD", False),
            ("OLLAMA_VULKAN", True),
        ):  # fmt: skip
            shown[name] = str(self.flag(name, flag)).lower()
        for name in ("OLLAMA_FLASH_ATTENTION", "OLLAMA_IGPU_ENABLE"):
            shown[name] = self.tristate(name)
        for name, number in (
            ("OLLAMA_CONTEXT_LENGTH", 0), ("OLLAMA_GPU_OVERHEAD", 0), ("OLLAMA_MAX_LOADED_MODELS", 0),
            ("OLLAMA_MAX_QUEUE", 512), ("OLLAMA_MAX_TRANSFER_STREAMS", 4), ("OLLAMA_NUM_PARALLEL", 1),
        ):  # fmt: skip
            shown[name] = str(self.uint(name, number))
        shown["LLAMA_ARG_FIT"] = self.var("LLAMA_ARG_FIT") or "on"
        shown["OLLAMA_DEBUG"] = self.debug_level()
        shown["OLLAMA_HOST"] = str(self.host())
        shown["OLLAMA_KEEP_ALIVE"] = format_duration(self.keep_alive())
        shown["OLLAMA_LOAD_TIMEOUT"] = format_duration(self.load_timeout())
        shown["OLLAMA_MODELS"] = self.models()
        shown["OLLAMA_ORIGINS"] = "[%s]" % " ".join(self.origins())
        shown["OLLAMA_REMOTES"] = "[%s]" % " ".join((self.var("OLLAMA_REMOTES") or "ollama.com").split(","))
        return shown

    def shown(self) -> str:
        return "map[%s]" % " ".join("%s:%s" % pair for pair in sorted(self.values().items()))
