# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server of Ollama for these tests: the stand-in, or the real one at OLLAMA_TEST_URL.

What only the stand-in can be asked to do, or promises, is marked ``stand_in`` and left out with a real server. Tests
that generate use the model OLLAMA_TEST_MODEL there: the tiny ones of the tests are no models that an engine loads.
"""

from __future__ import annotations

import os
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.program import gguf_file
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.server import OllamaServer
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.support import call, create

REAL = os.environ.get("OLLAMA_TEST_URL", "")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "stand_in: holds of Ollama's stand-in only; left out with OLLAMA_TEST_URL")


def pytest_collection_modifyitems(items: t.List[pytest.Item]) -> None:
    for item in items:
        if REAL and item.get_closest_marker("stand_in"):
            item.add_marker(pytest.mark.skip(reason="holds of the stand-in only, and OLLAMA_TEST_URL is set"))
        if "server" in getattr(item, "fixturenames", ()):  # a process of its own
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[OllamaServer]:
    """One running stand-in for tests that leave nothing behind."""
    with OllamaServer(tmp_path_factory.mktemp("ollama") / "home") as server:
        yield server


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    return REAL.rstrip("/") or request.getfixturevalue("shared").url


@pytest.fixture
def name(url: str) -> t.Iterator[str]:
    """A name that nobody else uses; its model is deleted in the end."""
    text = "gpufleet-test-%s" % uuid.uuid4().hex[:12]
    yield text
    call(url, "DELETE", "/api/delete", {"model": text})


@pytest.fixture
def gguf() -> bytes:
    return gguf_file.tiny()[0].pack()


@pytest.fixture(scope="session")
def loadable(url: str) -> str:
    """A model that can answer."""
    if REAL:
        if not os.environ.get("OLLAMA_TEST_MODEL"):
            pytest.skip("OLLAMA_TEST_MODEL names no model of the server at OLLAMA_TEST_URL")
        return os.environ["OLLAMA_TEST_MODEL"]
    assert create(url, "loadable", {"m.gguf": gguf_file.tiny(seed=9)[0].pack()}).lines[-1] == {"status": "success"}
    return "loadable"


@pytest.fixture
def server(tmp_path: Path) -> t.Iterator[t.Callable[..., OllamaServer]]:
    """``server(OLLAMA_NOPRUNE="1")``: a stand-in of the test's own, started."""
    started: t.List[OllamaServer] = []

    def start(**env: str) -> OllamaServer:
        one = OllamaServer(tmp_path / ("home%d" % len(started)), env=env)
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        if one.process is not None:
            one.kill()
