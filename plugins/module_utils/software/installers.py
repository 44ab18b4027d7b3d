# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""uv and pip, doing the same thing: a new environment with these packages and without those."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass, field

from ..errors import GpufleetError
from .pip_config import PackageSources, redact
from .virtualenv import Request, normalise

TAIL_LINES = 40
# uv brings certificates of its own; where the system has some, a site may have added its own to those.
SYSTEM_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
# How uv and pip say that the sources they were given cannot satisfy the request.
UNRESOLVED = ("No solution found", "No matching distribution found", "ResolutionImpossible")


@dataclass(frozen=True)
class Tuning:
    """How the packages are fetched and laid down."""

    cache_dir: t.Optional[str] = None
    link_mode: t.Optional[str] = None
    index_strategy: str = "unsafe-best-match"


@dataclass
class Commands:
    """Runs commands, remembers them, and shows the end of what a failed one said."""

    environment: t.Dict[str, str]
    lock: int
    done: t.List[str] = field(default_factory=list)

    def run(self, arguments: t.Sequence[str], environment: t.Mapping[str, str]) -> None:
        self.done.append(redact(" ".join(arguments)))
        try:
            # run_command cannot hand the lock down: an installer that outlives a killed playbook must keep it.
            process = subprocess.run(  # pylint: disable=ansible-bad-function
                arguments,
                env=dict(self.environment, **environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                pass_fds=(self.lock,),
                check=False,
            )
        except OSError as error:
            raise GpufleetError("%s cannot be run: %s" % (arguments[0], error)) from None
        output = redact(process.stdout.decode(errors="replace"))
        if process.returncode != 0:
            tail = "\n".join(output.strip().splitlines()[-TAIL_LINES:])
            raise CommandFailed(
                "%s ended with %d:\n%s" % (self.done[-1], process.returncode, tail),
                output=output,
            )


class CommandFailed(GpufleetError):
    """A command ended with an error; its whole output is kept for whoever can do better than fail."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output

    @property
    def unresolved(self) -> bool:
        return any(text in self.output for text in UNRESOLVED)


def find_uv(configured: t.Optional[str], tools_uv: str, path: str) -> t.Optional[str]:
    """The uv to use, or None: the configured one, the tools environment's, or one on the PATH.

    Never one inside the environment at ``path`` itself, which may be about to be replaced.
    """
    if configured:
        if not os.access(configured, os.X_OK):
            raise GpufleetError("uv=%s is not a program that can be run: set uv to one, or installer to pip" % configured)
        return configured
    for candidate in (tools_uv, shutil.which("uv")):
        if candidate and os.access(candidate, os.X_OK) and not candidate.startswith(os.path.join(path, "")):
            return candidate
    return None


class Uv:
    """Environments by uv."""

    name = "uv"

    def __init__(self, program: str, request: Request, tuning: Tuning, commands: Commands) -> None:
        self.program = program
        self.request = request
        self.commands = commands
        self.options = {
            "UV_INDEX_STRATEGY": tuning.index_strategy,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
        }
        if any(os.path.exists(path) for path in SYSTEM_CERTIFICATES):
            self.options["UV_SYSTEM_CERTS"] = "1"
            self.options["UV_NATIVE_TLS"] = "1"  # its name in older versions
        if tuning.cache_dir:
            self.options["UV_CACHE_DIR"] = tuning.cache_dir
        if tuning.link_mode:
            self.options["UV_LINK_MODE"] = tuning.link_mode

    def create(self, path: str) -> None:
        self.commands.run([self.program, "venv", "--python", self.request.python, path], self.options)

    def install(self, path: str, sources: PackageSources) -> None:
        arguments = [self.program, "pip", "install", "--exact", "--python", os.path.join(path, "bin", "python")]
        if sources.no_index:
            arguments.append("--no-index")
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as overrides:
            if self.request.exclude:
                overrides.writelines("%s ; sys_platform == 'never'\n" % name for name in self.request.exclude)
                overrides.flush()
                arguments += ["--overrides", overrides.name]
            self.commands.run(arguments + list(self.request.packages), dict(self.options, **sources.uv_environment()))


class Pip:
    """Environments by the interpreter's own venv and pip."""

    name = "pip"

    def __init__(self, request: Request, tuning: Tuning, commands: Commands) -> None:
        self.request = request
        self.commands = commands
        self.options = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        if tuning.cache_dir:
            self.options["PIP_CACHE_DIR"] = os.path.join(tuning.cache_dir, "pip")

    def create(self, path: str) -> None:
        try:
            self.commands.run([self.request.python, "-m", "venv", path], self.options)
        except CommandFailed as error:
            if "ensurepip" not in error.output:
                raise
            raise GpufleetError(
                "%s cannot make virtual environments: its ensurepip module is missing. "
                "Install it (Debian, Ubuntu: the package python3-venv of that version), or set uv." % self.request.python
            ) from None

    def install(self, path: str, sources: PackageSources) -> None:
        options = dict(self.options, **sources.pip_environment())
        pip = [os.path.join(path, "bin", "python"), "-m", "pip", "install", "--progress-bar", "off", "--no-compile"]
        wanted = list(self.request.packages)
        if self.request.exclude:
            wanted = ["--no-deps"] + self._resolve_without(pip, options)
        self.commands.run(pip + wanted, options)

    def _resolve_without(self, pip: t.List[str], options: t.Dict[str, str]) -> t.List[str]:
        """pip cannot leave a requirement out, but it can say what it would install; that list can be cut."""
        with tempfile.TemporaryDirectory() as directory:
            report = os.path.join(directory, "report.json")
            dry_run = ["--dry-run", "--quiet", "--ignore-installed", "--report", report]
            self.commands.run(pip + dry_run + list(self.request.packages), options)
            with open(report, encoding="utf-8") as stream:
                found = [item["metadata"] for item in json.load(stream)["install"]]
        dropped = {normalise(name) for name in self.request.exclude}
        return ["%s==%s" % (item["name"], item["version"]) for item in found if normalise(item["name"]) not in dropped]
