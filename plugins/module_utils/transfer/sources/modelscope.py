# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model files from ModelScope or a mirror of it.

By plain HTTP, as its own client asks (modelscope-hub 0.5.1): that one needs Python 3.10 and five libraries, this one none.
"""

from __future__ import annotations

import os
import typing as t
import urllib.parse

from ...errors import GpufleetError
from ..files import ModelFile, digest_of
from ..store import is_commit
from ..transports import web
from ..transports.terms import Terms
from .plain import Plain

DEFAULT_ENDPOINT = "https://www.modelscope.cn"
DEFAULT_REVISION = "master"
MOST_ROWS = 3000  # a list has no more, does not say that it was cut, and knows no pages
_MOST_LISTS = 5000


class ModelscopeSource(Plain):
    """One model at one revision.

    ModelScope does not say which commit a branch or a tag is now. So the revision in the store is the digest of the list of
    files, unless the user names a commit. Given such a digest, ``master`` must have it.
    """

    kind = "modelscope"
    answers_as = "ModelScope"

    def __init__(
        self,
        name: str,
        revision: t.Optional[str],
        transport: str,
        endpoint: t.Optional[str],
        token: t.Callable[[], t.Optional[str]],
        terms: Terms,
    ) -> None:
        self.name = name
        self.revision = revision or DEFAULT_REVISION
        self.endpoint = (endpoint or os.environ.get("MODELSCOPE_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        # A git commit has 40 digits, a digest 64.
        self._commit = self.revision if is_commit(self.revision) and len(self.revision) == 40 else ""
        self._asked = DEFAULT_REVISION if is_commit(self.revision) and not self._commit else self.revision
        self._files: t.Optional[t.List[ModelFile]] = None
        label = "%s on %s" % (name, self.endpoint)
        super().__init__(label, transport, terms, lambda: token() or os.environ.get("MODELSCOPE_API_TOKEN") or None)

    def resolve(self) -> str:
        """The digest of what the branch or tag holds now; a commit is what it is."""
        return self._commit or digest_of(self.listing(""))

    def listing(self, revision: str) -> t.List[ModelFile]:
        if self._files is None:
            self._files = self._list()
        return self._files

    def address(self, one: ModelFile, revision: str) -> str:
        query = urllib.parse.urlencode({"Revision": self._asked, "FilePath": one.path})
        return "%s/repo?%s" % (self._api(), query)

    def fetch(self, one: ModelFile, revision: str, folder: str) -> str:
        try:
            return super().fetch(one, revision, folder)
        except web.Wrong:
            if not self._commit and digest_of(self._list()) != revision:
                raise GpufleetError(
                    "%s: %s is not what it was when its files were listed, and ModelScope serves no older one by its digest. "
                    "Run again; if it is in the store already, set state=latest" % (self.label, self._asked)
                ) from None
            raise

    def record_fields(self) -> t.Dict[str, t.Any]:
        return {"endpoint": self.endpoint}

    def cookie(self) -> t.Optional[str]:
        return "m_session_id=" + self.token if self.token else None

    def refused(self, status: int, headers: t.Mapping[str, str], url: str) -> t.Optional[GpufleetError]:
        parts = urllib.parse.urlsplit(url)
        if status in (401, 403):
            return GpufleetError(
                "%s refuses to answer (HTTP %d): %s" % (
                    self.label, status,
                    "the token is wrong, expired or not allowed to read it. Set token_file" if self.token
                    else "it is private or not open to everybody. Set token_file to a file with a token that may read it",
                )
            )  # fmt: skip
        path = urllib.parse.parse_qs(parts.query).get("FilePath")
        return GpufleetError("%s lists %s and does not serve it" % (self.label, path[0])) if status == 404 and path else None

    def _api(self) -> str:
        return "%s/api/v1/models/%s" % (self.endpoint, self.name)

    def _list(self) -> t.List[ModelFile]:
        """Every file, asked for by directories where one list is not enough."""
        found: t.Dict[str, ModelFile] = {}
        folders = [""]
        for _number in range(_MOST_LISTS):
            if not folders:
                return list(found.values())
            folder = folders.pop()
            rows = self._rows(folder, recursive=True)
            if len(rows) >= MOST_ROWS:
                rows = self._rows(folder, recursive=False)
                if len(rows) >= MOST_ROWS:
                    raise GpufleetError(
                        "%s: %s holds %d entries or more, and ModelScope lists no more of them. Its other files cannot be known"
                        % (self.label, "the directory " + folder if folder else "it", MOST_ROWS)
                    )
                inside = [row["Path"] for row in rows if row.get("Type") == "tree"]
                folders += [path for path in inside if path.startswith(folder + "/" if folder else "")]
            for row in rows:
                if row.get("Type") != "tree":
                    found[row["Path"]] = self._file(row)
        raise GpufleetError("%s has no end of directories: %d were listed" % (self.label, _MOST_LISTS))

    def _rows(self, folder: str, recursive: bool) -> t.List[t.Dict[str, t.Any]]:
        query = {"Revision": self._asked, "Recursive": str(recursive), **({"Root": folder} if folder else {})}
        try:
            data = self._data("/repo/files?" + urllib.parse.urlencode(query))
        except web.NotThere:
            raise self._absent() from None
        rows = data.get("Files") if isinstance(data, dict) else data
        if not all(isinstance(row, dict) and isinstance(row.get("Path"), str) for row in rows or ()):
            raise self.foreign("its list of files holds something else")
        return rows or []

    def _file(self, row: t.Dict[str, t.Any]) -> ModelFile:
        return self.listed(row["Path"], row.get("Size"), sha256=str(row.get("Sha256") or "").lower())

    def _data(self, path: str) -> t.Any:
        answer, _headers = self.ask(self._api() + path)
        if isinstance(answer, dict) and not answer.get("Success", True):
            raise GpufleetError("%s answers: %s (Code %s)" % (self.label, answer.get("Message"), answer.get("Code")))
        if not isinstance(answer, dict) or "Data" not in answer:
            raise self.foreign("its answer has no Data")
        return answer["Data"]

    def _absent(self) -> GpufleetError:
        """There is no such revision, or no such model."""
        try:
            data = self._data("/revisions")
        except web.NotThere:
            return GpufleetError(
                "There is no %s, or it is private and the token %s: check source and endpoint, or set token_file"
                % (self.label, "given has no access" if self.token else "is missing")
            )
        known = data.get("RevisionMap") or {}
        names = [one.get("Revision") for kind in ("Branches", "Tags") for one in known.get(kind) or []]
        return GpufleetError(
            "%s has no revision %s: set revision to a branch or a tag. It has %s"
            % (self.label, self._asked, ", ".join(map(str, names)))
        )
