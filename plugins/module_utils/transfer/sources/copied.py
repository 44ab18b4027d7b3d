# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model files that another host of the site sent, to be compared with the record that was read there."""

from __future__ import annotations

import os
import stat
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ...errors import GpufleetError
from ..files import ModelFile, digest_of, problem_with
from ..transports.carrier import Arrived

#: Of a record, what is said of this host or written anew.
_OWN = ("schema", "kind", "name", "source", "revision", "files", "skipped", "verified_at", "collection_version")


class CopiedSource:
    """``folder`` is where the files arrive, as they lie in the other host's store."""

    sees_changes = False  # the record that was read on the other host decides, in every run

    def __init__(self, record: t.Dict[str, t.Any], ref: str, host: str, folder: str, max_workers: int) -> None:
        self.kind, self.name, self.revision = record["kind"], record["name"], ref
        self.label = "%s of %s" % (self.name, host)
        self._record, self._folder, self._max_workers = record, folder, max_workers
        self.files = [ModelFile.from_dict(one) for one in record["files"]]
        self.skipped = [ModelFile.from_dict(one) for one in record["skipped"]]

    def prepare(self) -> None:
        pass

    def resolve(self) -> str:
        return self._record["revision"]

    def listing(self, revision: str) -> t.List[ModelFile]:
        return self.files + self.skipped

    def takes_together(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        return list(files)

    def bring_together(
        self, files: t.Sequence[ModelFile], revision: str, folder: str, arrived: Arrived, stop: threading.Event
    ) -> None:
        """Read them all: whoever has to send some again should hear of all of them at once."""
        with ThreadPoolExecutor(self._max_workers) as pool:
            problems = list(pool.map(self._problem, files))
        for one, problem in zip(files, problems):
            if problem is None:
                arrived(one)
        wrong = ["%s (%s)" % (one.path, problem) for one, problem in zip(files, problems) if problem]
        if wrong:
            raise GpufleetError(
                "%s: %d files are not what the record on that host states, so nothing was put in place: %s. They were removed "
                "here; run again to have them sent again. When they come wrong again, they are damaged there: "
                "verify them with model_download and verify=full" % (self.label, len(wrong), "; ".join(wrong)),
                files=[one.path for one, problem in zip(files, problems) if problem],
            )

    def fetch(self, one: ModelFile, revision: str, folder: str) -> str:
        return os.path.join(self._folder, one.path)  # it was read on arrival

    def unchanged_since(self, record: t.Dict[str, t.Any]) -> bool:
        """A revision has one content. When the two hosts' records say differently, one of them was altered."""
        if record["revision"] != self._record["revision"]:
            return True  # of the revision that the link points to now
        here = {one["path"]: ModelFile.from_dict(one) for one in record["files"] + record["skipped"]}
        for one in self.files + self.skipped:
            other = here.get(one.path, one)
            comparable = (one.sha256 and other.sha256) or (one.git_sha1 and other.git_sha1)
            if one.size != other.size or (comparable and not one.same_content(other)):
                raise GpufleetError(
                    "%s: the record there and the one of the same revision here differ in %s. One of them was altered: verify "
                    "both hosts, and remove the wrong one" % (self.label, one.path)
                )
        return True

    def record_fields(self) -> t.Dict[str, t.Any]:
        return {key: value for key, value in self._record.items() if key not in _OWN}

    def copies_for_free(self, folder: str) -> bool:
        return True  # they lie on the same file system already, so no space is needed to put them in place

    def _problem(self, one: ModelFile) -> t.Optional[str]:
        path = os.path.join(self._folder, one.path)
        try:
            kind = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return "it did not come"
        if not stat.S_ISREG(kind) or os.path.realpath(path) != os.path.join(os.path.realpath(self._folder), one.path):
            return "it is not a file"
        problem = problem_with(path, one)
        if problem and os.stat(path).st_size >= one.size:
            os.unlink(path)  # else what came of it is continued
        return problem


def same_list(one: t.Dict[str, t.Any], other: t.Dict[str, t.Any]) -> t.Optional[str]:
    """The first file in which two records differ, in path, size or hash."""
    lists = [{row["path"]: ModelFile.from_dict(row) for row in record["files"] + record["skipped"]} for record in (one, other)]
    if digest_of(lists[0].values()) == digest_of(lists[1].values()):
        return None
    return next(path for path in sorted({*lists[0], *lists[1]}) if lists[0].get(path) != lists[1].get(path))
