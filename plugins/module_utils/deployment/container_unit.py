# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One container as a service: for Docker and older Podmans as a unit, for Podman as a Quadlet, and for Compose. Pure.

A service is a dictionary::

    name          of the container, and of its unit without .service
    description   one line
    image         reference by digest, or image id: what runs is never looked up by a tag
    command       words, instead of the image's own entrypoint and command
    environment   {name: value}; `docker inspect` shows it to everybody who may use Docker, so no secrets
    secrets       {name: file on the host, which root can read}: they become environment variables inside, by START_SCRIPT
    start_script  where START_SCRIPT lies on the host
    umask         of the program, in octal
    mounts        [{path, writable}], under the same name inside as on the host where there is no `inside`
    directories   [{path, mode}], of the user, made anew at every start (what lies in /run is gone after a boot)
    user, group   names on the host; uid, gid: their numbers, which are all that the container knows
    publish       [{host, port}]; network, alias: a network of the engine's, and a name there that others may share
    gpus          CDI names such as nvidia.com/gpu=GPU-...
    before        commands as one word list each, run on the host before the start; a failure of the first word "-" is none
    shm_size, memory, cpus, pids   limits as the engine takes them, or empty
    ulimits       ["memlock=-1", "nofile=1024:4096"], the second soft and hard; without the key memlock=-1 where there are GPUs,
                  for NCCL and RDMA pin memory
    read_only     whether the image's file system is; /tmp is memory then
    start_s, stop_s   seconds
"""

from __future__ import annotations

import typing as t

from ..services.systemd_words import quote

Service = t.Mapping[str, t.Any]

SECRETS = "/run/gpufleet/secrets"  # (not /run/secrets, where RHEL's engines put files of their own)
START = "/run/gpufleet/start"
MARK = "X-GpufleetImage="

# Inside, so that no engine knows the secrets: what is given as a variable can be read with `inspect`.
START_SCRIPT = """\
#!/bin/sh
# Written by gpufleet.llm: umask, program and arguments. Files in %(secrets)s become variables of the program.
umask "$1"
shift
for file in %(secrets)s/*; do
    [ ! -f "$file" ] || export "${file##*/}=$(cat "$file")"
done
exec "$@"
""" % {"secrets": SECRETS}

_HEAD = """\
# Written by gpufleet.llm: a change in here is undone by the next run.
[Unit]
Description={description}
Wants=network-online.target{wants}
After=network-online.target{after}
# Ten failures in an hour are no accident any more.
StartLimitIntervalSec=3600
StartLimitBurst=10
{mark}{image}
"""

_SERVICE = """
[Service]
{kind}{before}{start}TimeoutStartSec={start_s}
TimeoutStopSec={stop_s}
Restart=always
RestartSec=10
"""

_INSTALL = """
[Install]
WantedBy=multi-user.target
"""


def unit_path(service: Service, kind: str) -> str:
    """The file that makes the service, for ``docker``, ``podman`` or ``quadlet``."""
    if kind == "quadlet":
        return "/etc/containers/systemd/%s.container" % service["name"]
    return "/etc/systemd/system/%s.service" % service["name"]


def text(service: Service, kind: str) -> str:
    """The file's content."""
    if kind == "quadlet":
        return _head(service, "") + _container(service) + _service(service, "", "") + _INSTALL
    if kind == "docker":
        run = ["/usr/bin/docker", "run", "--rm", "--name", service["name"], *_options(service)]
        stop = ["/usr/bin/docker", "stop", "-t", str(max(1, service["stop_s"] - 5)), service["name"]]
        remove = "-/usr/bin/docker rm --force %s" % service["name"]
        # (What the client ends with when its container was told to stop.)
        start = "ExecStartPre=%s\nExecStart=%s\nExecStop=%s\nExecStopPost=%s\nSuccessExitStatus=137 143\n" % (
            remove, _words(run), _words(stop), remove,
        )  # fmt: skip
        return _head(service, "docker.service") + _service(service, "Type=exec\n", start) + _INSTALL
    # As `podman generate systemd --new` wrote them, while there was such a command.
    run = ["/usr/bin/podman", "run", "--name", service["name"], "--replace", "--rm", "--detach", "--sdnotify=conmon"]
    run += ["--cgroups=split", "--log-driver=journald", *_options(service)]
    stop = ["/usr/bin/podman", "stop", "--ignore", "-t", str(max(1, service["stop_s"] - 5)), service["name"]]
    start = "ExecStart=%s\nExecStop=%s\nExecStopPost=-/usr/bin/podman rm --force --ignore %s\n" % (
        _words(run), _words(stop), service["name"],
    )  # fmt: skip
    kind_of = "Type=notify\nNotifyAccess=all\nDelegate=yes\nKillMode=mixed\n"
    return _head(service, "") + _service(service, kind_of, start) + _INSTALL


def compose(services: t.Sequence[Service]) -> t.Dict[str, t.Any]:
    """The same as a Compose file, for those who want to start it by hand or elsewhere."""
    found: t.Dict[str, t.Any] = {}
    networks = {}
    for service in services:
        mounts = _mounts(service, secrets=False)
        # Without a unit nobody brings them into memory: the file itself has to be readable for the user.
        mounts += [(path, "%s/%s" % (SECRETS, name), False) for name, path in service["secrets"].items()]
        one: t.Dict[str, t.Any] = {
            "image": service["image"],
            "container_name": service["name"],
            "entrypoint": [_literal(word) for word in _command(service)],
            "command": [],
            "environment": {name: _literal(value) for name, value in service["environment"].items()},
            "volumes": ["%s:%s%s" % (source, target, "" if writable else ":ro") for source, target, writable in mounts],
            "user": "%s:%s" % (service["uid"], service["gid"]),
            "ports": _ports(service),
            "read_only": bool(service["read_only"]),
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true", "label:disable"],
            "shm_size": service["shm_size"],
            "stop_grace_period": "%ds" % service["stop_s"],
            "restart": "unless-stopped",
            "pull_policy": "never",
        }
        if service["read_only"]:
            one["tmpfs"] = ["/tmp"]
        for key, name in (("memory", "mem_limit"), ("cpus", "cpus"), ("pids", "pids_limit")):
            if service[key]:
                one[name] = service[key]
        if service["gpus"]:
            one["devices"] = list(service["gpus"])
        if _ulimits(service):
            one["ulimits"] = dict(map(_compose_limit, _ulimits(service)))
        if service["network"]:
            one["networks"] = {service["network"]: {"aliases": [service["alias"]]}}
            networks[service["network"]] = {"external": True}
        found[service["name"]] = one
    return dict({"services": found}, **({"networks": networks} if networks else {}))


def _compose_limit(limit: str) -> t.Tuple[str, t.Any]:
    name, _sign, value = limit.partition("=")
    soft, colon, hard = value.partition(":")
    return name, {"soft": int(soft), "hard": int(hard)} if colon else int(soft)


def _literal(word: t.Any) -> str:
    return str(word).replace("$", "$$")  # Compose would look for a variable


def _head(service: Service, engine: str) -> str:
    gpu = bool(service["gpus"])
    wants = (" " + engine if engine else "") + (" modprobe@nvidia_uvm.service" if gpu else "")
    after = wants + (" nvidia-persistenced.service nvidia-fabricmanager.service nvidia-cdi-refresh.service" if gpu else "")
    return _HEAD.format(description=service["description"], wants=wants, after=after, mark=MARK, image=service["image"])


def _service(service: Service, kind: str, start: str) -> str:
    owner = ["-o", service["user"], "-g", service["group"]]
    made = [["/usr/bin/install", "-d", "-m", one["mode"], *owner, one["path"]] for one in service["directories"]]
    # In memory and for this user alone, whoever may read the file that it comes from.
    if service["secrets"]:
        made.append(["/usr/bin/install", "-d", "-m", "0700", *owner, _secrets_directory(service)])
    for name, path in service["secrets"].items():
        made.append(["/usr/bin/install", "-m", "0400", *owner, path, "%s/%s" % (_secrets_directory(service), name)])
    before = ""
    for words in [*service["before"], *made]:
        ignored = words[0] == "-"
        before += "ExecStartPre=%s%s\n" % ("-" if ignored else "", _words(words[1:] if ignored else words))
    return _SERVICE.format(
        kind=kind, before=before, start=start, start_s=service["start_s"], stop_s=service["stop_s"]
    )


def _container(service: Service) -> str:
    lines = ["ContainerName=" + service["name"], "Image=" + service["image"]]
    lines += ["PublishPort=" + port for port in _ports(service)]
    lines += ["User=%s" % service["uid"], "Group=%s" % service["gid"]]
    lines += ["DropCapability=all", "NoNewPrivileges=true", "SecurityLabelDisable=true"]
    lines += ["AddDevice=" + gpu for gpu in service["gpus"]]
    if service["network"]:
        lines += ["Network=" + service["network"]]
    # Keys for some of these came one by one with later versions. Those for volumes and variables do not know quotes, and a
    # dollar is one for systemd.
    more = ["--pull=never", "--log-driver=journald", "--stop-timeout=%d" % max(1, service["stop_s"] - 5)]
    more += ["--entrypoint=" + _command(service)[0], *_limits(service), *_volumes(service), *_variables(service)]
    if service["network"]:
        more.append("--network-alias=" + service["alias"])
    lines += ["PodmanArgs=" + _words(more), "Exec=" + _words(_command(service)[1:])]
    return "\n[Container]\n" + "".join(line + "\n" for line in lines)


def _options(service: Service) -> t.List[str]:
    """Of ``run``, with the image and the command: Docker and Podman say it in the same words."""
    found = ["--pull=never", "--user=%s:%s" % (service["uid"], service["gid"]), "--cap-drop=all"]
    # Where there is SELinux, it would keep a container from the GPUs and from files of the host that are not relabelled for it.
    # The models are not: services outside of containers read them too.
    found += ["--security-opt=no-new-privileges", "--security-opt=label=disable", *_limits(service)]
    found += ["--publish=" + port for port in _ports(service)]
    if service["network"]:
        found += ["--network=" + service["network"], "--network-alias=" + service["alias"]]
    found += ["--device=" + gpu for gpu in service["gpus"]]
    found += [*_volumes(service), *_variables(service)]
    command = _command(service)
    return found + ["--entrypoint=" + command[0], service["image"], *command[1:]]


def _ports(service: Service) -> t.List[str]:
    """The engines take addresses, and no names."""
    found = []
    for one in service["publish"]:
        host = {"localhost": "127.0.0.1"}.get(one["host"], one["host"])
        found.append("%s:%s:%s" % ("[%s]" % host if ":" in host else host, one["port"], one["port"]))
    return found


def _volumes(service: Service) -> t.List[str]:
    return ["--volume=%s:%s%s" % (source, target, "" if writable else ":ro") for source, target, writable in _mounts(service)]


def _variables(service: Service) -> t.List[str]:
    return ["--env=%s=%s" % pair for pair in service["environment"].items()]


def _limits(service: Service) -> t.List[str]:
    found = ["--shm-size=" + str(service["shm_size"])] if service["shm_size"] else []
    if service["read_only"]:
        found += ["--read-only", "--tmpfs=/tmp"]
    for key, option in (("memory", "--memory"), ("cpus", "--cpus"), ("pids", "--pids-limit")):
        if service[key]:
            found.append("%s=%s" % (option, service[key]))
    return found + ["--ulimit=" + limit for limit in _ulimits(service)]


def _ulimits(service: Service) -> t.List[str]:
    return [str(limit) for limit in service.get("ulimits", ["memlock=-1"] if service["gpus"] else [])]


def _mounts(service: Service, secrets: bool = True) -> t.List[t.Tuple[str, str, bool]]:
    found = [(one["path"], one.get("inside") or one["path"], bool(one["writable"])) for one in service["mounts"]]
    found += [(one["path"], one["path"], True) for one in service["directories"]]
    found.append((service["start_script"], START, False))
    if service["secrets"] and secrets:
        found.append((_secrets_directory(service), SECRETS, False))
    return found


def _secrets_directory(service: Service) -> str:
    return "/run/gpufleet-secrets/" + service["name"]


def _command(service: Service) -> t.List[str]:
    return ["/bin/sh", START, service["umask"], *(str(word) for word in service["command"])]


def _words(words: t.Sequence[str]) -> str:
    return " ".join(quote(word, command=True) for word in words)
