# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_download as a process of its own, from each source that is asked by plain HTTP: killed, and continued."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.modules import model_download
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault, Hub
from ansible_collections.gpufleet.llm.tests.stand_ins.modelscope.modelscope import Modelscope
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Fault as RegistryFault
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Registry, tiny
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import sha256

LARGE = bytes(range(256)) * 40_000
RATE = 4e6
Begun = t.Tuple[t.Any, t.Dict[str, t.Any], bytes]


@contextlib.contextmanager
def modelscope(root: Path) -> t.Iterator[Begun]:
    with Modelscope(root, cdn=True, faults=[Fault("slow", path="*.safetensors", rate=RATE)]) as server:
        server.add("org/tiny", {"config.json": b"{}", "model.safetensors": LARGE})
        yield server, {"hub": "modelscope", "source": "org/tiny", "endpoint": server.url}, LARGE


@contextlib.contextmanager
def urls(root: Path) -> t.Iterator[Begun]:
    with Hub(root, faults=[Fault("slow", path="*.safetensors", rate=RATE)]) as server:
        server.add("org/tiny", {"model.safetensors": LARGE})
        one = {"url": server.url + "/org/tiny/resolve/main/model.safetensors", "sha256": sha256(LARGE), "query": "sig=secret"}
        yield server, {"name": "team/mine", "files": [{**one, "size": len(LARGE)}]}, LARGE


@contextlib.contextmanager
def registry(root: Path) -> t.Iterator[Begun]:
    with Registry() as server:
        image = server.add("library/tiny:latest", tiny(pad=len(LARGE)))
        large = max(image.blobs.values(), key=len)
        server.faults.append(RegistryFault("slow", path="/data/sha256:" + sha256(large), rate=RATE))
        yield server, {"hub": "ollama", "source": "tiny", "endpoint": server.url}, large


def start(store: Path, params: t.Dict[str, t.Any]) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, os.path.abspath(model_download.__file__)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdin.write(json.dumps({"store": str(store), "transport": "http", **params}))
    process.stdin.close()
    process.stdin = None
    return process


def arrived(store: Path) -> int:
    """Bytes of the largest file that is on its way."""
    return max((path.stat().st_size for path in store.glob("*/*/*/.*.part/incoming/**/*") if path.is_file()), default=0)


@pytest.mark.slow
@pytest.mark.parametrize("source", [modelscope, urls, registry])
def test_killed_and_continued_in_the_middle_of_a_file(tmp_path, source):
    store = tmp_path / "store"
    with source(tmp_path / "root") as (server, params, large):
        process = start(store, params)
        end = time.monotonic() + 60
        while arrived(store) < 2e6:
            assert time.monotonic() < end and process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=60)
        kept = arrived(store)
        assert kept < len(large), "killed too late to test anything"
        server.requests.clear()

        out, errors = start(store, params).communicate(timeout=60)
        result = json.loads(out)
        assert result["changed"] is True, (out, errors)
        assert large in [path.read_bytes() for path in Path(result["path"]).rglob("*") if path.is_file()]
        continued = [one.sent_bytes for one in server.requests if one.range == "bytes=%d-" % kept]
        assert max(continued) == len(large) - kept
        assert all(one.sent_bytes < len(large) for one in server.requests), "it began anew"
        assert "secret" not in out

        asked = len(server.requests)
        assert json.loads(start(store, params).communicate(timeout=60)[0])["changed"] is False
        assert len(server.requests) == asked


@pytest.mark.parametrize(
    "params, message",
    [
        ({}, "one of the following is required: source, files"),
        ({"files": [{"url": "https://example.com/x", "sha256": "0" * 64}]}, "missing parameter(s) required by 'files': name"),
    ],
)
def test_what_the_argument_spec_refuses(tmp_path, params, message):
    out, errors = start(tmp_path, params).communicate(timeout=60)
    assert message in json.loads(out)["msg"], errors
