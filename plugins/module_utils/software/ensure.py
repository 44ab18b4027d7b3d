# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring one environment to what was asked for."""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass, replace

from . import virtualenv
from .installers import CommandFailed, Commands, Pip, Tuning, Uv
from .pip_config import PackageSources

# Files that do not compile are templates or for other versions of Python, and there are always some.
COMPILE = "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, workers=0)"


@dataclass(frozen=True)
class Wish:
    """One call of the module."""

    path: str
    request: virtualenv.Request
    sources: PackageSources
    fallback_index_urls: t.Tuple[str, ...]
    tuning: Tuning
    uv: t.Optional[str]
    verify: t.Optional[str]
    bytecode_path: t.Optional[str]
    environment: t.Dict[str, str]
    lock_timeout_s: int


def ensure(wish: Wish, check_mode: bool) -> t.Dict[str, t.Any]:
    """The environment as asked for; says what was there before and what is there now."""
    virtualenv.check_path(wish.path)
    before = virtualenv.installed(wish.path)
    found = virtualenv.difference(wish.path, wish.request)
    if found is None:
        return _result(wish, False, None, before, before, [])
    if check_mode:
        # Which versions the sources would give for a requirement without one, only they know.
        asked = dict(_pin(package) for package in wish.request.packages)
        expected = asked if found.rebuild else dict(before, **asked)
        return _result(wish, True, found.reason, before, expected, [])
    with virtualenv.locked(wish.path, wish.lock_timeout_s) as lock:
        # Another run may have done it while this one waited.
        found = virtualenv.difference(wish.path, wish.request)
        if found is None:
            now = virtualenv.installed(wish.path)
            return _result(wish, before != now, None, before, now, [])
        commands = Commands(wish.environment, lock)
        installer = _installer(wish, commands)
        record = virtualenv.read_record(wish.path)
        pip_missing = record is not None and record["installer"] == Uv.name and installer.name == Pip.name
        if found.rebuild or pip_missing:
            virtualenv.clear(wish.path)
            installer.create(wish.path)
            _install(wish, installer)
        else:
            with _record_aside(wish.path):
                _install(wish, installer)
        _complete(wish, commands)
        now = virtualenv.write_record(wish.path, wish.request, installer.name)["packages"]
        virtualenv.finish(wish.path)
        return _result(wish, True, found.reason, before, now, commands.done)


def _installer(wish: Wish, commands: Commands) -> t.Union[Uv, Pip]:
    if wish.uv:
        return Uv(wish.uv, wish.request, wish.tuning, commands)
    return Pip(wish.request, wish.tuning, commands)


def _complete(wish: Wish, commands: Commands) -> None:
    """What remains when everything is installed."""
    python = [os.path.join(wish.path, "bin", "python")]
    if wish.bytecode_path:
        python += ["-X", "pycache_prefix=" + wish.bytecode_path]
    if wish.request.compile_bytecode:
        commands.run(python + ["-c", COMPILE, os.path.join(wish.path, "lib")], {})
    if wish.verify:
        commands.run(python + ["-I", "-c", wish.verify], {})


def _install(wish: Wish, installer: t.Union[Uv, Pip]) -> None:
    try:
        installer.install(wish.path, wish.sources)
    except CommandFailed as error:
        if not error.unresolved or not wish.fallback_index_urls or wish.sources.no_index:
            raise
        indexes = wish.sources.extra_index_urls + wish.fallback_index_urls
        installer.install(wish.path, replace(wish.sources, extra_index_urls=indexes))


@contextlib.contextmanager
def _record_aside(path: str) -> t.Iterator[None]:
    """Without the record while the content changes; it comes back if an installer refused before touching anything."""
    record = os.path.join(path, virtualenv.RECORD)
    aside = record + ".aside"
    os.rename(record, aside)
    before = virtualenv.installed(path)
    try:
        yield
    except CommandFailed:
        if virtualenv.installed(path) == before:
            os.rename(aside, record)
        raise
    os.unlink(aside)


def _pin(package: str) -> t.Tuple[str, str]:
    name, _equals, version = package.partition("==")
    return virtualenv.normalise(name.strip()), version.strip() or "(any version)"


def _lines(packages: t.Mapping[str, str]) -> str:
    return "".join("%s==%s\n" % item for item in sorted(packages.items()))


def _result(
    wish: Wish,
    changed: bool,
    reason: t.Optional[str],
    before: t.Mapping[str, str],
    now: t.Mapping[str, str],
    commands: t.Sequence[str],
) -> t.Dict[str, t.Any]:
    return {
        "changed": changed,
        "reason": reason,
        "path": wish.path,
        "python": os.path.join(wish.path, "bin", "python"),
        "packages": dict(now),
        "commands": list(commands),
        "diff": {
            "before_header": wish.path,
            "after_header": wish.path,
            "before": _lines(before),
            "after": _lines(now),
        },
    }
