# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model's files, wherever they are: the little that reading a model needs of a directory or a hub."""

from __future__ import annotations

import json
import os
import typing as t

from ..errors import GpufleetError
from .safetensors import Read

# Larger JSON files than this are not configuration.
MAX_JSON_BYTES = 64 * 1024 * 1024


class Tree:
    """The files of one revision of one model."""

    source: str
    revision: t.Optional[str] = None
    parallel = 1  # how many files are worth reading at the same time

    def files(self) -> t.Dict[str, int]:
        """Path below the model -> size in bytes."""
        raise NotImplementedError

    def read(self, path: str, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def place(self, path: str) -> str:
        """How a message names a file."""
        return "%s/%s" % (self.source, path)

    def reader(self, path: str) -> Read:
        return lambda offset, length: self.read(path, offset, length)

    def json(self, path: str) -> t.Optional[dict]:
        """The JSON object in ``path``, None when there is no such file."""
        size = self.files().get(path)
        if size is None:
            return None
        if size > MAX_JSON_BYTES:
            raise GpufleetError("%s is %d bytes long: that is no configuration file." % (self.place(path), size))
        text = self.read(path, 0, size)
        try:
            value = json.loads(text.decode("utf-8"))
        except ValueError as error:
            raise GpufleetError(
                "%s is not valid JSON (%s; %d bytes). Download the file again." % (self.place(path), error, len(text)),
                file=path,
            ) from None
        if not isinstance(value, dict):
            raise GpufleetError("%s holds a %s, a JSON object is needed." % (self.place(path), type(value).__name__))
        return value


class LocalTree(Tree):
    """A directory on this host."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.source = path
        self._files: t.Optional[t.Dict[str, int]] = None

    def files(self) -> t.Dict[str, int]:
        if self._files is None:
            self._files = dict(self._walk())
        return self._files

    def _walk(self) -> t.Iterator[t.Tuple[str, int]]:
        def fail(error: OSError) -> None:
            raise GpufleetError("Cannot read the directory %s: %s." % (error.filename, error.strerror))

        for folder, folders, names in os.walk(self.path, onerror=fail):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                full = os.path.join(folder, name)
                if os.path.exists(full):  # a dangling link is a missing file
                    yield os.path.relpath(full, self.path), os.path.getsize(full)

    def read(self, path: str, offset: int, length: int) -> bytes:
        try:
            with open(os.path.join(self.path, path), "rb") as stream:
                stream.seek(offset)
                return stream.read(length)
        except OSError as error:
            raise GpufleetError("Cannot read %s: %s." % (self.place(path), error.strerror)) from None
