# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of Ollama on a host, checked as a whole: its instances, their variables, their models. Pure.

Everything that is wrong is found at once, so that it can be said at once, before anything is touched.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import json
import re
import typing as t

from ..engines.ollama.wish import ADDITIONS, SOURCES, Wish
from ..errors import GpufleetError
from ..planning.facts import read_host
from ..planning.ollama import values
from ..planning.ollama.variables import MAPPED, PLANNER_VERSION, VARIABLES
from ..planning.ollama.wishes import read_settings
from ..planning.units import GIB

MODEL_OPTIONS = tuple(
    sorted(SOURCES + ADDITIONS + ("name", "state", "digest", "keep_alive", "insecure", "timeout", "stall_timeout"))
)
ADDONS = ("rocm", "jetpack5", "jetpack6", "mlx")
# An account's home may be one of these, which is no place to own or to write into; nor is it one to keep models in.
SYSTEM = frozenset(
    "/ /bin /boot /dev /etc /home /lib /media /mnt /nonexistent /opt /proc /root /run /sbin /srv /sys /tmp /usr /usr/bin "
    "/usr/lib /usr/local /usr/share /var /var/cache /var/lib /var/log /var/tmp".split()
)
DEFAULT_NAME = "ollama"

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_VERSION = re.compile(r"^\d+\.\d+\.\d+(-rc\d+)?$")
_KEYS = ("env", "gpus", "host", "models", "models_path", "name", "port", "settings")
# What the role says by variables of its own, and how.
_OWNED = {
    "OLLAMA_HOST": "host and port",
    "OLLAMA_MODELS": "models_path",
    "HOME": "ollama_home",
    "PATH": "nothing: the service's PATH is the system's",
    "HTTPS_PROXY": "ollama_https_proxy",
    "HTTP_PROXY": "ollama_http_proxy",
    "NO_PROXY": "ollama_no_proxy",
    "SSL_CERT_FILE": "ollama_ca_file",
    "CUDA_VISIBLE_DEVICES": "gpus",
    "ROCR_VISIBLE_DEVICES": "gpus",
    "GGML_VK_VISIBLE_DEVICES": "gpus",
}
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETTING = re.compile(r"\bsettings\.([A-Za-z_-]+)")


def read_service(wanted: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """``{instances, problems, warnings}`` for the role's variables: an instance with every default filled in.

    ``wanted``: version, instances, settings (of all instances, by short names), env, host, port, gpus, models_path,
    models, expose, https_proxy, http_proxy, no_proxy, ca_file. Values that make no sense are problems, not errors.
    """
    reader = _Reader(wanted)
    reader.read()
    return {"instances": reader.instances, "problems": reader.problems, "warnings": reader.warnings}


def problems(service: t.Mapping[str, t.Any], role: t.Mapping[str, t.Any]) -> t.List[str]:
    """What makes no sense among the models and the role's own switches, as sentences."""
    found = []
    if role["home"] in SYSTEM or not str(role["home"] or "/").startswith("/"):
        found.append("ollama_home=%s: give an absolute path, of a directory that belongs to Ollama alone." % role["home"])
    if isinstance(role["keep"], bool) or not str(role["keep"]).isdigit():
        found.append("ollama_keep_versions=%s: give how many earlier versions stay, 0 or more." % role["keep"])
    if role["addons"] != "auto" and not set(listed(role["addons"] or [])) <= set(ADDONS):
        found.append("ollama_addons=%s: give auto or a list of %s." % (role["addons"], ", ".join(ADDONS)))
    for instance in service["instances"]:
        if instance["models_path"] in SYSTEM:
            found.append(
                "models_path=%s of instance %s belongs to the system, and a store to its service: give a directory in it."
                % (instance["models_path"], instance["name"])
            )
        keys: t.Dict[str, str] = {}
        for model in instance["models"]:
            try:
                unknown = sorted(set(model) - set(MODEL_OPTIONS))
                if unknown:
                    known = ", ".join(MODEL_OPTIONS)
                    raise GpufleetError("%s: a model has no such option. There are: %s." % (unknown[0], known))
                key = Wish.parse(model).name.key
                if key in keys:
                    raise GpufleetError("%s is the same model. Once is enough." % keys[key])
                keys[key] = model["name"]
            except GpufleetError as error:
                found.append("ollama_models[%s]: %s" % (model["name"], error))
    return found


def listed(value: t.Any) -> t.List[str]:
    """A list, which on a command line is text with commas."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else list(value)


class _Reader:
    def __init__(self, wanted: t.Mapping[str, t.Any]) -> None:
        self.wanted = wanted
        self.instances: t.List[t.Dict[str, t.Any]] = []
        self.problems: t.List[str] = []
        self.warnings: t.List[str] = []

    def read(self) -> None:
        version = str(self.wanted.get("version") or "")
        if not _VERSION.match(version):
            self.problems.append("ollama_version=%s: give a release such as 0.33.2 or 0.34.0-rc1." % version)
        common = self._settings(self.wanted.get("settings") or {}, "")
        network = self._network()
        entries = self.wanted.get("instances") or [{}]
        for entry in entries:
            self._instance(entry, common, network)
        self._meetings()

    def _instance(self, entry: t.Mapping[str, t.Any], common: t.Dict[str, t.Any], network: t.Dict[str, str]) -> None:
        name = str(entry.get("name") or DEFAULT_NAME)
        where = "ollama_instances[%s]" % name
        if not _NAME.match(name):
            self.problems.append("%s: a name consists of lower-case letters, digits and dashes." % where)
        for key in sorted(set(entry) - set(_KEYS)):
            close = difflib.get_close_matches(str(key), _KEYS, 1, 0.6)
            hint = "Did you mean %s?" % close[0] if close else "There are: %s." % ", ".join(_KEYS)
            self.problems.append("%s.%s: an instance has no such key. %s" % (where, key, hint))
        env, settings = self._env(entry, where)
        settings = dict(common, **settings)
        settings.update(self._settings(entry.get("settings") or {}, where + "."))
        host, port = str(self._of(entry, "host") or "127.0.0.1").strip(), self._port(entry, where)
        self._address(host, self._said(entry, "host", where))
        self.instances.append(
            {
                "name": name,
                "unit": "%s.service" % name if name == DEFAULT_NAME else "ollama-%s.service" % name,
                "host": host,
                "port": port,
                "address": "%s:%s" % (_bracketed(host), port),
                "url": "http://%s:%s" % (_bracketed(_reachable(host)), port),
                "gpus": self._of(entry, "gpus"),
                "models_path": self._path(entry, where),
                "models": self._models(entry, where),
                "settings": settings,
                "environment": dict(network, **env),
            }
        )

    @staticmethod
    def _said(entry: t.Mapping[str, t.Any], key: str, where: str) -> str:
        return "%s.%s" % (where, key) if entry.get(key) not in (None, "") else "ollama_%s" % key

    def _of(self, entry: t.Mapping[str, t.Any], key: str) -> t.Any:
        return entry[key] if entry.get(key) not in (None, "") else self.wanted.get(key)

    def _settings(self, settings: t.Mapping[str, t.Any], where: str) -> t.Dict[str, t.Any]:
        """The variables as given, when they make sense: the plan reads them again."""
        given = {key: value for key, value in settings.items() if value is not None and value != ""}
        for key in sorted(given, key=str):
            try:
                fixed, old, notes = read_settings({key: given[key]})
            except GpufleetError as error:
                text = str(error)
                self.problems.append(text.replace("settings.", where + "settings.") if where else _by_role_name(text))
                continue
            taken = [name for name in fixed if name in _OWNED]
            if taken:
                said = where + "settings." + str(key) if where else _by_role_name("settings." + str(key))
                self.problems.append("%s: it is set by %s." % (said, _OWNED[taken[0]]))
            self._warn(old, notes)
        return given

    def _warn(self, old: t.Mapping[str, int], notes: t.Sequence[str]) -> None:
        """What is to be said about variables, once."""
        mapped = ["%s %s: LLAMA_ARG_FIT_TARGET is set instead." % (name, MAPPED[name]) for name in old]
        self.warnings += [note for note in [*notes, *mapped] if note not in self.warnings]

    def _port(self, entry: t.Mapping[str, t.Any], where: str) -> int:
        value = self._of(entry, "port")
        value = 11434 if value in (None, "") else value
        if isinstance(value, bool) or not re.match(r"^\d+$", str(value)) or not 0 < int(value) < 65536:
            self.problems.append("%s=%s: give a number from 1 to 65535." % (self._said(entry, "port", where), value))
            return 11434
        return int(value)

    def _address(self, host: str, said: str) -> None:
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            if not re.match(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", host) or re.match(r"^[\d.]+$", host):
                self.problems.append(
                    "%s=%s: give an address to listen on, such as 127.0.0.1, 0.0.0.0 or ::1. The port is in port."
                    % (said, host)
                )
                return
        if not _loopback(host) and not self.wanted.get("expose"):
            self.problems.append(
                "%s=%s is reachable from outside, and Ollama asks nobody for a key: whoever reaches the port can "
                "use, pull and delete models. Put a gateway or a firewall in front and set ollama_expose to true, or "
                "leave it at 127.0.0.1." % (said, host)
            )

    def _path(self, entry: t.Mapping[str, t.Any], where: str) -> str:
        path = str(self._of(entry, "models_path") or "")
        if path and (not path.startswith("/") or "\n" in path or ".." in path.split("/")):
            self.problems.append("%s=%s: give an absolute path." % (self._said(entry, "models_path", where), path))
        return path.rstrip("/") if path != "/" else path

    def _models(self, entry: t.Mapping[str, t.Any], where: str) -> t.List[t.Dict[str, t.Any]]:
        found: t.List[t.Dict[str, t.Any]] = []
        given = entry.get("models") if entry.get("models") is not None else self.wanted.get("models") or []
        if isinstance(given, str):  # as on a command line
            given = [name.strip() for name in given.split(",") if name.strip()]
        said = self._said(entry, "models", where)
        for model in given:
            model = {"name": model} if isinstance(model, str) else dict(model)
            name = str(model.get("name") or "")
            if not name:
                self.problems.append("%s: an entry has no name. Give the one that clients ask for." % said)
            elif any(name == other["name"] for other in found):
                self.problems.append("%s: %s is there twice. Once is enough." % (said, name))
            else:
                found.append(model)
        return found

    def _env(self, entry: t.Mapping[str, t.Any], where: str) -> t.Tuple[t.Dict[str, str], t.Dict[str, t.Any]]:
        """Variables that are nothing to Ollama, and those of Ollama that the role has none for, which are settings."""
        merged = dict(self.wanted.get("env") or {}, **(entry.get("env") or {}))
        found: t.Dict[str, str] = {}
        settings: t.Dict[str, t.Any] = {}
        for name in sorted(merged, key=str):
            value = merged[name]
            if not _VARIABLE.match(str(name)):
                self.problems.append("ollama_env: %s is no name of an environment variable." % name)
            elif name in _OWNED:
                self.problems.append("ollama_env.%s: it is set by %s." % (name, _OWNED[name]))
            elif name in VARIABLES and _role_variable(name):
                instead = _role_variable(name)
                self.problems.append("ollama_env.%s: set %s, which is checked and planned with." % (name, instead))
            elif name in VARIABLES or str(name).startswith("OLLAMA_"):
                try:
                    self._warn(*read_settings({name: value})[1:])
                    settings[str(name)] = value
                except GpufleetError as error:
                    self.problems.append(str(error).replace("settings.", "ollama_env."))
            elif isinstance(value, (dict, list)) or any(sign in str(value) for sign in "\n\r\0"):
                self.problems.append("ollama_env.%s: give text of one line." % name)
            else:
                found[str(name)] = "1" if value is True else "0" if value is False else str(value)
        return found, settings

    def _network(self) -> t.Dict[str, str]:
        found = {}
        for option, name in (("https_proxy", "HTTPS_PROXY"), ("http_proxy", "HTTP_PROXY")):
            value = str(self.wanted.get(option) or "")
            if not value:
                continue
            if not re.match(r"^(https?|socks5h?)://[^\s/]+/?$", value):
                self.problems.append("ollama_%s: give a URL such as http://proxy.example.org:3128." % option)
            elif "@" in value:
                # Ollama logs its configuration when it starts, proxies included.
                self.problems.append(
                    "ollama_%s holds a password, and Ollama writes its proxies into its log, where many can read them. "
                    "Give a proxy that knows the host by its address, or a forwarder on the host." % option
                )
            else:
                found[name] = value
        if "HTTP_PROXY" in found:
            self.warnings.append(
                "ollama_http_proxy: Ollama pulls by HTTPS, so HTTPS_PROXY is enough; HTTP_PROXY can come between the "
                "server and its own model processes."
            )
        if found:
            local = ["localhost", "127.0.0.1", "::1"]
            more = self.wanted.get("no_proxy") or []
            more = more if isinstance(more, list) else str(more).split(",")
            found["NO_PROXY"] = ",".join(local + [str(item).strip() for item in more if str(item).strip() not in local])
        ca_file = str(self.wanted.get("ca_file") or "")
        if ca_file and not ca_file.startswith("/"):
            self.problems.append("ollama_ca_file=%s: give an absolute path on the host." % ca_file)
        elif ca_file:
            found["SSL_CERT_FILE"] = ca_file
        return found

    def _meetings(self) -> None:
        """What each of two instances may be alone."""
        names = [instance["name"] for instance in self.instances]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.problems.append("ollama_instances: there are two named %s. Give each a name of its own." % name)
        ports = [instance["port"] for instance in self.instances]
        for port in sorted({port for port in ports if ports.count(port) > 1}):
            self.problems.append("ollama_instances: two want port %d. Give each its own." % port)


def environment(instance: t.Mapping[str, t.Any], plan: t.Optional[t.Mapping[str, t.Any]], home: str, store: str,
                prunes: bool) -> t.Dict[str, str]:  # fmt: skip
    """The whole environment of an instance: the plan's, or without one just what was fixed."""
    planned = dict(plan["environment"]) if plan else unplanned(instance["settings"])
    if not prunes:
        planned.setdefault("OLLAMA_NOPRUNE", "1")
    found = {
        "HOME": home,
        "PATH": _SYSTEM_PATH,
        "OLLAMA_HOST": instance["address"],
        "OLLAMA_MODELS": store,
    }
    found.update(planned)
    found.update(instance["environment"])
    return dict(sorted(found.items()))


def unplanned(settings: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """What was fixed, and what is good without knowing a model."""
    fixed, old, _notes = read_settings(settings)
    if "OLLAMA_GPU_OVERHEAD" in old:
        fixed.setdefault("LLAMA_ARG_FIT_TARGET", [max(1, old["OLLAMA_GPU_OVERHEAD"] >> 20)])
    fixed.setdefault("OLLAMA_NO_CLOUD", True)
    return {name: values.text(VARIABLES[name], value) for name, value in fixed.items()}


def plan_key(instance: t.Mapping[str, t.Any], version: str, hardware: t.Mapping[str, t.Any],
             models: t.Sequence[t.Any], reserved: t.Sequence[t.Any]) -> str:  # fmt: skip
    """Equal as long as a kept plan is good: same wishes, models (by digest), hardware and planner."""
    host = read_host(hardware)
    stable = [
        PLANNER_VERSION,
        version,
        instance["settings"],
        instance["gpus"],
        models,
        reserved,
        [[device.id, device.name, device.capability, device.total_bytes] for device in host.devices],
        [host.cpu_model, host.cores, host.memory_total_bytes // GIB],
    ]
    return hashlib.sha256(json.dumps(stable, sort_keys=True, default=str).encode()).hexdigest()


def _role_variable(name: str) -> str:
    """The role's variable for one of Ollama's, if it has one."""
    if name.startswith("OLLAMA_"):
        return name.lower()
    return {"LLAMA_ARG_FIT": "ollama_fit", "LLAMA_ARG_FIT_TARGET": "ollama_fit_target"}.get(name, "")


def _by_role_name(text: str) -> str:
    """settings.keep_alive is the variable ollama_keep_alive; names in capitals are from ollama_old_settings."""
    return _SETTING.sub(
        lambda match: ("ollama_old_settings." if match.group(1).isupper() else "ollama_") + match.group(1), text
    )


def _bracketed(host: str) -> str:
    return "[%s]" % host.strip("[]") if ":" in host else host


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(host, host)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
