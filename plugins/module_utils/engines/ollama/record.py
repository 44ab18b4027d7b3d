# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the models of a server were made from (models.json).

Ollama rewrites the GGUF files that it is given, so nothing in its store leads back to them. For each model::

    {"digest": manifest's sha256, "content": the options that made it, "fingerprint": sha256 of the request,
     "files": {path: {"size", "mtime_ns", "inode", "sha256"}}, "base": {"name", "digest"} or null}
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import time
import typing as t

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ...transfer.store import write_json
from . import due

SCHEMA = "gpufleet.ollama_models/1"
_POLL_S = 0.2


class Record:
    """One file, read as it is and written only while its lock is held."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = self._read()

    def entry(self, name: Name) -> t.Optional[t.Mapping[str, t.Any]]:
        return due.entry_of(self.data, name)

    def known(self, path: str, identity: t.Mapping[str, t.Any]) -> t.Optional[str]:
        """The sha256 of a file that was read before and has not changed since, for whichever model."""
        for entry in self.data["models"].values():
            one = (entry.get("files") or {}).get(path)
            if one and all(one.get(key) == identity[key] for key in due.SAME):
                return one.get("sha256")
        return None

    def keep(self, name: Name, entry: t.Mapping[str, t.Any]) -> None:
        self._replace(name, dict(entry, name=name.short))

    def forget(self, name: Name) -> None:
        if self.entry(name) is not None:
            self._replace(name, None)

    def check(self) -> None:
        """Fail on a place that cannot be written before anything is done."""
        folder = os.path.dirname(self.path) or "/"
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise GpufleetError(
                "record=%s cannot be written: %s is closed to this user. Run as root, or name another path."
                % (self.path, folder)
            )

    @contextlib.contextmanager
    def locked(self, timeout_s: float) -> t.Iterator[None]:
        """Alone with the models of this record: Ollama itself has no lock. The kernel frees a killed holder's."""
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        path = self.path + ".lock"
        with open(path, "a", encoding="utf-8") as lock:
            until = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise GpufleetError(
                            "Another run has worked on the models of this server for %d s and holds %s: let it finish, "
                            "or set timeout higher." % (timeout_s, path)
                        ) from None
                time.sleep(_POLL_S)
            self.data = self._read()
            yield

    def _read(self) -> t.Dict[str, t.Any]:
        try:
            with open(self.path, encoding="utf-8") as content:
                data = json.load(content)
        except FileNotFoundError:
            return {"schema": SCHEMA, "models": {}}
        except OSError as error:
            raise GpufleetError("record=%s cannot be read: %s." % (self.path, error.strerror)) from None
        except ValueError as error:
            raise GpufleetError(
                "record=%s is damaged (%s): remove it, and what was created is created again." % (self.path, error)
            ) from None
        if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("models"), dict):
            raise GpufleetError("record=%s is no record of this version (%s): remove it." % (self.path, SCHEMA))
        return data

    def _replace(self, name: Name, entry: t.Optional[t.Mapping[str, t.Any]]) -> None:
        data = copy.deepcopy(self.data)
        if entry is None:
            data["models"].pop(name.key, None)
        else:
            data["models"][name.key] = dict(entry)
        if data != self.data:
            write_json(self.path, data)
            self.data = data
