# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real environments from a directory of real wheels, with both installers."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.modules import python_env
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.software.wheels import build_wheel

UV = os.path.join(os.path.dirname(sys.executable), "uv")


@pytest.fixture
def wheels(tmp_path):
    directory = tmp_path / "wheels"
    directory.mkdir()
    build_wheel(directory, "engine", "1.0", ["library", "cuda-only==9"])
    build_wheel(directory, "engine", "2.0", ["library"])
    build_wheel(directory, "library", "1.5")
    build_wheel(directory, "extra", "0.1")
    build_wheel(directory, "broken", "1.0", source="raise SystemExit('broken on purpose')\n")
    return directory


@pytest.fixture(params=["uv"])
def ensure(request, tmp_path, wheels):
    """Runs the module in a process of its own, as Ansible does, with nothing of this machine's configuration."""
    path = tmp_path / "opt" / "env"

    def run(packages, check_mode=False, fails=False, **options):
        arguments = {
            "path": str(path),
            "packages": packages,
            "installer": request.param,
            "find_links": [str(wheels)],
            "offline": True,
            "python": sys.executable,
            "cache_dir": str(tmp_path / "cache"),
            "_ansible_check_mode": check_mode,
        }
        if request.param == "uv":
            arguments["uv"] = UV
        arguments.update(options)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        # Nobody will come to listen where a test lets it knock.
        environ.update(PIP_RETRIES="0", UV_HTTP_RETRIES="0")
        process = subprocess.run(
            [sys.executable, python_env.__file__],
            input=json.dumps(arguments), capture_output=True, text=True, check=False,
            env=dict(environ, HOME=str(tmp_path), PIP_CONFIG_FILE=os.devnull),
        )  # fmt: skip
        assert process.stdout, process.stderr
        result = json.loads(process.stdout)
        assert bool(result.get("failed")) == fails, result
        return result

    run.path = path
    run.installer = request.param
    return run


def packages_of(result):
    return {name: version for name, version in result["packages"].items() if name not in ("pip", "setuptools")}


def imports(path, module):
    return subprocess.run([path / "bin" / "python", "-c", "import " + module], check=False).returncode == 0


# pip's own environments take seconds each: only what differs between the two is tested with both.
with_pip = pytest.param("pip", marks=pytest.mark.slow)
with_both = pytest.mark.parametrize("ensure", ["uv", with_pip], indirect=True)


@with_both
def test_new_again_changed_again(ensure):
    first = ensure(["engine==2.0"], check_mode=True)
    assert first["changed"] and not ensure.path.exists()
    assert first["diff"]["after"] == "engine==2.0\n"

    assert ensure(["engine==2.0"])["changed"]
    assert imports(ensure.path, "engine") and imports(ensure.path, "library")
    record = (ensure.path / ".gpufleet-env.json").read_text()

    second = ensure(["engine==2.0"])
    assert not second["changed"] and second["commands"] == [] and second["reason"] is None
    assert packages_of(second) == {"engine": "2.0", "library": "1.5"}

    third = ensure(["engine==2.0", "extra==0.1"], check_mode=True)
    assert third["changed"] and not imports(ensure.path, "extra")
    assert (ensure.path / ".gpufleet-env.json").read_text() == record

    fourth = ensure(["engine==2.0", "extra==0.1"])
    assert fourth["changed"] and fourth["reason"] == "other packages are asked for"
    assert imports(ensure.path, "extra")
    assert not ensure(["engine==2.0", "extra==0.1"])["changed"]


def test_excluded_packages_are_not_looked_for(ensure):
    assert "cuda-only" in ensure(["engine==1.0"], fails=True)["msg"]
    result = ensure(["engine==1.0"], exclude=["cuda_only"])
    assert packages_of(result) == {"engine": "1.0", "library": "1.5"}


@pytest.mark.parametrize("ensure", [with_pip], indirect=True)
def test_excluded_packages_are_not_installed_by_pip(ensure, wheels):
    build_wheel(wheels, "cuda-only", "9")
    result = ensure(["engine==1.0"], exclude=["cuda_only"])
    assert packages_of(result) == {"engine": "1.0", "library": "1.5"}


def test_a_second_run_is_quick(ensure):
    ensure(["engine==2.0"])
    request = python_env.virtualenv.Request(sys.executable, ("engine==2.0",))
    before = time.perf_counter()
    assert python_env.virtualenv.difference(str(ensure.path), request) is None
    assert time.perf_counter() - before < 0.2


def test_what_was_interrupted_is_built_anew(ensure):
    ensure(["engine==2.0"])
    (ensure.path / ".gpufleet-env.json").unlink()
    (ensure.path / "pyvenv.cfg").unlink()
    (ensure.path.parent / ".env.started").touch()
    result = ensure(["engine==2.0"])
    assert result["reason"] == "it was never finished" and imports(ensure.path, "engine")
    assert not (ensure.path.parent / ".env.started").exists()


def test_packages_changed_by_something_else_are_put_right(ensure):
    ensure(["engine==2.0"])
    site = next(ensure.path.glob("lib/python*/site-packages"))
    (site / "library-1.5.dist-info").rename(site / "library-1.4.dist-info")
    result = ensure(["engine==2.0"])
    assert result["changed"] and result["reason"] == "packages in it were changed by something else"


@with_both
def test_a_wish_that_cannot_be_met_leaves_a_good_environment_as_it_was(ensure):
    ensure(["engine==2.0"])
    failed = ensure(["engine==2.0", "extra==7"], fails=True)
    assert "extra" in failed["msg"]
    assert not ensure(["engine==2.0"])["changed"]


def test_an_environment_that_does_not_verify_is_not_finished(ensure):
    failed = ensure(["broken==1.0"], verify="import broken", fails=True)
    assert "broken on purpose" in failed["msg"]
    assert not (ensure.path / ".gpufleet-env.json").exists()
    assert ensure(["engine==2.0"], verify="import engine")["changed"]


def test_bytecode_is_compiled_when_asked_for(ensure):
    ensure(["engine==2.0"])
    assert not list(ensure.path.glob("lib/python*/site-packages/__pycache__/engine.*"))
    assert ensure(["engine==2.0"], compile_bytecode=True)["changed"]
    assert list(ensure.path.glob("lib/python*/site-packages/__pycache__/engine.*"))


@with_both
def test_fallback_index_is_used_only_when_needed(ensure, tmp_path, wheels):
    index = tmp_path / "index" / "simple" / "only-there"
    index.mkdir(parents=True)
    wheel = build_wheel(index, "only-there", "1.0")
    (index / "index.html").write_text('<a href="%s">%s</a>' % (wheel.name, wheel.name))
    empty = tmp_path / "empty" / "simple"
    empty.mkdir(parents=True)
    options = {
        "offline": False,
        "index_url": empty.as_uri(),
        "fallback_index_urls": [(tmp_path / "index" / "simple").as_uri()],
    }
    result = ensure(["only-there==1.0"], **options)
    assert packages_of(result) == {"only-there": "1.0"}
    installs = [command for command in result["commands"] if " install " in command]
    assert len(installs) == 2


@with_both
def test_credentials_are_shown_nowhere(ensure):
    result = ensure(
        ["engine==7"], fails=True, offline=False,
        index_url="http://me:hunter2@127.0.0.1:9/simple", find_links=["http://you:hunter2@127.0.0.1:9/links"],
    )  # fmt: skip
    assert "hunter2" not in json.dumps(result)


def test_a_directory_of_someone_else_is_not_replaced(ensure):
    ensure.path.mkdir(parents=True)
    (ensure.path / "precious").write_text("data")
    failed = ensure(["engine==2.0"], fails=True)
    assert "is not a virtual environment" in failed["msg"]
    assert (ensure.path / "precious").exists()


def test_two_runs_do_not_meet(ensure):
    ensure.path.parent.mkdir(parents=True)
    with open(ensure.path.parent / ".env.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failed = ensure(["engine==2.0"], lock_timeout=1, fails=True)
    assert "lock_timeout=1" in failed["msg"]
    assert ensure(["engine==2.0"])["changed"]


def test_nothing_in_it_is_writable_for_everyone(ensure):
    ensure(["engine==2.0"])
    for folder, _folders, files in os.walk(ensure.path):
        for name in files:
            path = os.path.join(folder, name)
            assert os.path.islink(path) or not os.stat(path).st_mode & 0o022, path


@pytest.mark.parametrize("path", ["//env", "/", "/env"])
def test_paths_that_are_refused(ensure, path):
    assert "absolute path" in ensure(["engine==2.0"], path=path, fails=True)["msg"]
