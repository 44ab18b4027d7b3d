# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of what model_download does."""

from __future__ import annotations

import fcntl
import threading
import typing as t
from pathlib import Path

import pytest

DEFAULTS: t.Dict[str, t.Any] = {
    "source": "org/tiny",
    "hub": "huggingface",
    "files": None,
    "revision": None,
    "state": "present",
    "name": None,
    "include": None,
    "exclude": None,
    "endpoint": None,
    "token_file": None,
    "token": None,
    "offline": False,
    "owner": None,
    "group": None,
    "mode": "0644",
    "directory_mode": "0755",
    "max_workers": 4,
    "timeout": 10,
    "lock_timeout": 10,
    "transport": "auto",
    "hf_transfer_python": "/nowhere",
    "limit_rate": None,
    "ca_path": None,
    "verify": "record",
    "repair": True,
    "listing_sha256": None,
    "commit": None,
    "swarm": None,
    "progress_file": None,
}


class Runner:
    """Runs the download with the real libraries and keeps what was said."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.said: t.List[str] = []
        self.client_asked_for = 0

    def __call__(self, check_mode: bool = False, **params: t.Any) -> t.Dict[str, t.Any]:
        from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import request

        return request.answer(
            {**DEFAULTS, "store": str(self.store), **params}, check_mode, self.said.append, self._need_client
        )

    def _need_client(self) -> None:
        """As entry.need_tools, which may start the module again: that one would wait for our lock for ever."""
        assert threading.current_thread() is threading.main_thread()
        for lock in self.store.rglob(".lock"):
            with open(lock, encoding="utf-8") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.client_asked_for += 1


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """The download, into an empty store."""
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.sources import plain

    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE", "MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(plain, "FIRST_WAIT_S", 0.001)
    return Runner(tmp_path / "store")


@pytest.fixture
def no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server here has a certificate, and to read those of all authorities takes longer than most tests."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/dev/null")


@pytest.fixture
def no_hashing(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[], None]:
    """From the call on, whoever reads a file's content fails the test."""
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import files
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.sources import directory

    def forbid() -> None:
        def fail(path: str, kind: str, read: t.Any = None) -> str:
            raise AssertionError("hashed %s" % path)

        monkeypatch.setattr(files, "hash_file", fail)
        monkeypatch.setattr(directory, "hash_file", fail)

    return forbid
