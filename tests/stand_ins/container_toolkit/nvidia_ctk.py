# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nvidia-ctk, in the options that the role uses. Plays the documented behaviour of 1.19 and 1.20.

Source: NVIDIA/nvidia-container-toolkit v1.20.0, cmd/nvidia-ctk. It writes its files anew at every call, as that one does.
The devices are /dev/nvidia0 and so on, whatever they are.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import sys

RUNTIME = "nvidia-container-runtime"
DEFAULT_CONFIG = """\
accept-nvidia-visible-devices-envvar-when-unprivileged = true

[nvidia-container-runtime]
mode = "auto"
runtimes = ["runc", "crun"]
"""


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = path + ".part"
    with open(part, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(part, path)


def config(arguments):
    """Writes the configuration that is there, or the default one, with what --set says."""
    path = arguments.config_file
    text = DEFAULT_CONFIG
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    for pair in arguments.set or []:
        name, _equals, value = pair.partition("=")
        key = name.rpartition(".")[2]
        if not re.search(r"(?m)^%s = " % re.escape(key), text):
            sys.exit("nvidia-ctk: unknown option %s" % name)
        text = re.sub(r"(?m)^(%s = ).*$" % re.escape(key), lambda match: match[1] + json.dumps(value), text)
    if arguments.in_place:
        write(path, text)
    else:
        sys.stdout.write(text)


def generate(arguments):
    """The specification in YAML: 0.7.0 for the groups of device files, an older one without them."""
    flags = arguments.feature_flag or os.environ.get("NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS", "").split(",")
    devices = sorted(path for path in glob.glob("/dev/nvidia*") if re.match(r"^/dev/nvidia\d+$", path))
    if not devices:
        sys.exit("nvidia-ctk: failed to generate CDI spec: no NVIDIA device found")
    old = "no-additional-gids-for-device-nodes" in flags
    lines = ["---", "cdiVersion: %s" % ("0.5.0" if old else "0.7.0"), "containerEdits:"]
    if not old:
        lines += ["  additionalGids:", "  - 44"]
    lines += ["  env:", "  - NVIDIA_CTK_LIBCUDA_DIR=/usr/lib/x86_64-linux-gnu", "  - NVIDIA_VISIBLE_DEVICES=void"]
    lines += ["  hooks:", "  - args:", "    - nvidia-cdi-hook", "    - update-ldcache", "    hookName: createContainer"]
    lines += ["    path: /usr/bin/nvidia-cdi-hook", "  mounts:"]
    for path in ("/usr/bin/nvidia-smi", "/opt/nvidia-smi.xml"):
        if os.path.exists(path):
            lines += ["  - containerPath: %s" % path, "    hostPath: %s" % path, "    options:", "    - ro", "    - nosuid"]
            lines += ["    - rbind", "    - rprivate"]
    lines.append("devices:")
    for name, paths in [(path[len("/dev/nvidia") :], [path]) for path in devices] + [("all", devices)]:
        lines += ["- containerEdits:", "    deviceNodes:"] + ["    - path: %s" % path for path in paths]
        lines.append('  name: "%s"' % name if name.isdigit() else "  name: %s" % name)
    text = "\n".join([*lines, "kind: nvidia.com/gpu", ""])
    output = arguments.output or os.environ.get("NVIDIA_CTK_CDI_OUTPUT_FILE_PATH", "")
    if output:
        write(output, text)
    else:
        sys.stdout.write(text)


def listed(_arguments):
    for path in sorted(glob.glob("/etc/cdi/*") + glob.glob("/var/run/cdi/*")):
        with open(path, encoding="utf-8") as stream:
            for name in re.findall(r"(?m)^  name: \"?([^\"\n]+)", stream.read()):
                print("nvidia.com/gpu=%s" % name)


def configure(arguments):
    """Docker's daemon.json is written anew, indented by four; containerd and CRI-O get a drop-in."""
    runtime = arguments.runtime
    if runtime == "docker":
        path = arguments.config or "/etc/docker/daemon.json"
        said = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                said = json.loads(stream.read() or "{}")
        said.setdefault("runtimes", {})["nvidia"] = {"args": [], "path": RUNTIME}
        if arguments.cdi_enabled:
            said.setdefault("features", {})["cdi"] = True
        if arguments.set_as_default:
            said["default-runtime"] = "nvidia"
        text = json.dumps(said, indent=4, sort_keys=True)
    elif runtime == "containerd":
        path = arguments.drop_in_config or "/etc/containerd/conf.d/99-nvidia.toml"
        plugin = "plugins.'io.containerd.grpc.v1.cri'"
        text = "version = 2\n\n[%s]\n  enable_cdi = %s\n" % (plugin, str(arguments.cdi_enabled).lower())
        text += '  [%s.containerd.runtimes.nvidia]\n    runtime_type = "io.containerd.runc.v2"\n' % plugin
        text += '    [%s.containerd.runtimes.nvidia.options]\n      BinaryName = "/usr/bin/%s"\n' % (plugin, RUNTIME)
    else:
        path = arguments.drop_in_config or "/etc/crio/crio.conf.d/99-nvidia.toml"
        text = '[crio.runtime.runtimes.nvidia]\nruntime_path = "/usr/bin/%s"\nruntime_type = "oci"\n' % RUNTIME
    if arguments.dry_run:
        sys.stdout.write(text)
        return
    write(path, text)
    if runtime == "containerd":
        top = arguments.config or "/etc/containerd/config.toml"
        before = "version = 2\n"
        if os.path.exists(top):
            with open(top, encoding="utf-8") as stream:
                before = stream.read()
        before = re.sub(r"(?m)^imports\s*=.*\n", "", before)
        write(top, 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + before)
    print('level=info msg="It is recommended that %s daemon be restarted."' % runtime)


def parser():
    top = argparse.ArgumentParser(prog="nvidia-ctk")
    top.add_argument("--version", action="version", version="NVIDIA Container Toolkit CLI version @VERSION@")
    top.add_argument("--quiet", action="store_true")
    top.add_argument("--debug", action="store_true")
    commands = top.add_subparsers(required=True)
    command = commands.add_parser("config")
    command.add_argument("--config-file", default="/etc/nvidia-container-runtime/config.toml")
    command.add_argument("--in-place", action="store_true")
    command.add_argument("--set", action="append")
    command.set_defaults(run=config)
    cdi = commands.add_parser("cdi").add_subparsers(required=True)
    command = cdi.add_parser("generate")
    command.add_argument("--output")
    command.add_argument("--feature-flag", action="append")
    command.set_defaults(run=generate)
    cdi.add_parser("list").set_defaults(run=listed)
    command = commands.add_parser("runtime").add_subparsers(required=True).add_parser("configure")
    command.add_argument("--runtime", choices=["docker", "containerd", "crio"], default="docker")
    for name in ("--config", "--drop-in-config"):
        command.add_argument(name)
    for name in ("--dry-run", "--set-as-default"):
        command.add_argument(name, action="store_true")
    command.add_argument("--cdi.enabled", dest="cdi_enabled", action="store_true")
    command.set_defaults(run=configure)
    command = commands.add_parser("system").add_subparsers(required=True).add_parser("create-device-nodes")
    for name in ("--control-devices", "--load-kernel-modules"):
        command.add_argument(name, action="store_true")
    command.set_defaults(run=lambda _arguments: None)
    return top


if __name__ == "__main__":
    found = parser().parse_args()
    found.run(found)
