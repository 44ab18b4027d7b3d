# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exports and imports that are killed at every step that they take in the file system, and continued."""

from __future__ import annotations

import os
import random
import shutil
import signal
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.members import Member
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.ollama.store import Store
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer import ollama_stores as stores
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.ollama_stores import answer

LIBRARY = "registry.ollama.ai/library/"
MODEL, OLD = (random.Random(seed).randbytes(9000) for seed in (11, 12))
STEPS = ("replace", "rename", "mkdir", "rmdir", "unlink", "fsync", "utime", "fchown", "fchmod", "open")


def killed_after(steps: int, work: t.Callable[[], t.Any]) -> bool:
    """Do the work in a process that kills itself before its next step; False when it had no more to do."""
    process = os.fork()
    if process:
        status = os.waitpid(process, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed"
        return os.WIFSIGNALED(status)
    try:
        left = [steps]

        def counted(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
            def step(*arguments: t.Any, **options: t.Any) -> t.Any:
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*arguments, **options)

            return step

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        Member.pieces = counted(Member.pieces)  # between opening a file and having all of it
        work()
        os._exit(0)
    finally:
        os._exit(1)


def check(store: Path) -> None:
    """What has its name is whole, and every byte of it right."""
    found = Store(str(store))
    assert found.damaged() == []
    for model in found.models():
        assert found.problems(model.name, hashes=True) == [], model
    for path in (store / "blobs").glob("sha256-*"):
        assert stores.sha256(path.read_bytes()) == path.name[7:]


@pytest.fixture
def origin(tmp_path):
    store = tmp_path / "origin"
    stores.add(store, LIBRARY + "tiny/1b", MODEL)
    stores.add(store, "hf.co/org/tiny/Q4_K_M", MODEL)
    return store


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_import_killed_at_every_step(tmp_path, origin, stride):
    path = tmp_path / "x.tar"
    answer("exported", path, origin)
    wanted = stores.content(origin)
    steps = 0
    while True:
        target = tmp_path / ("target%d" % steps)
        old = stores.add(target, LIBRARY + "tiny/1b", OLD) if steps % 2 else None
        if not killed_after(steps, lambda: answer("imported", path, target)):
            break
        check(target)
        place = target / "manifests" / LIBRARY / "tiny" / "1b"
        assert not place.exists() or place.read_bytes() in (old, wanted["manifests/%stiny/1b" % LIBRARY])
        verified = len(list(target.glob(".gpufleet-import/*[0-9a-f]")))
        lacking = sum(name.startswith("blobs/") and not (target / name).exists() for name in wanted)
        said: t.List[str] = []
        answer("imported", path, target, said=said)
        again = (
            ["unpacking %d blobs" % (lacking - verified)] if lacking > verified else []
        )  # what was verified is taken
        assert [line.partition(",")[0] for line in said] == again
        found = stores.content(target)
        assert {name: found.get(name) for name in wanted} == wanted
        assert sorted(os.listdir(target)) == ["blobs", "manifests"]
        assert not answer("imported", path, target, verify="full")["changed"]
        shutil.rmtree(target)
        steps += stride
    print(steps, "steps")
    assert steps > 40


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_export_killed_at_every_step(tmp_path, origin, suffix):
    path = tmp_path / ("x" + suffix)
    answer("exported", tmp_path / ("whole" + suffix), origin)
    wanted = (tmp_path / ("whole" + suffix)).read_bytes()
    steps = 0
    while True:
        before = b"what was there" if steps % 2 else None
        if before:
            path.write_bytes(before)
        if not killed_after(steps, lambda: answer("exported", path, origin)):
            break
        assert (path.read_bytes() if path.exists() else None) in (before, wanted)
        answer("exported", path, origin)
        assert path.read_bytes() == wanted
        assert sorted(os.listdir(tmp_path)) == ["origin", "whole" + suffix, "x" + suffix]
        path.unlink()
        steps += 1
    print(steps, "steps")
    assert steps >= 6
    assert path.read_bytes() == wanted


def test_rubbish_of_a_killed_import_of_something_else(tmp_path, origin):
    """Also when the models are there meanwhile, and nothing is left to import."""
    path, target = tmp_path / "x.tar", tmp_path / "target"
    answer("exported", path, origin)
    answer("imported", path, target)
    (target / ".gpufleet-import.lock").write_text("")
    for folder in (target, target / "blobs", target / "manifests"):
        (folder / ".gpufleet-import" / "folder").mkdir(parents=True)
        (folder / ".gpufleet-import" / ("a" * 64 + ".part")).write_bytes(b"half")
        (folder / ".gpufleet-import" / ("b" * 64)).write_bytes(b"another archive's")
    answer("imported", path, target, check_mode=True)
    assert len(stores.content(target)) == 6 + 7
    assert not answer("imported", path, target)["changed"]
    assert stores.content(target) == stores.content(origin)
    assert not list(target.rglob(".gpufleet*"))
