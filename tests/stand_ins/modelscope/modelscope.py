# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for ModelScope that its real client accepts, with faults on request.

What the client asks and what it knows of the answers is the contract (modelscope-hub 0.5.1, _legacy_api.py, _download.py):
no pages and no word of it where a list is cut, a token as cookie and as bearer, files redirected to a CDN when they are
large and without ranges when they are not. A range comes with the status 200, as the real one has it (modelscope_hub issue 50:
only Content-Range says what it is). Repositories lie as the hub stand-in has them, ``ROOT/<org>/<name>[@<ref>]/``,
but what has no ref is ``master``::

    with Modelscope(root) as scope: ...
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from ..hub.content import HubFile, Snapshot
from ..hub.hub import Fault, Hub, Request, _Handler

MOST_ROWS = 3000
__all__ = ["Fault", "Modelscope"]


class Modelscope(Hub):
    """``private``: repository -> the token that may read it; ``most_rows``: where lists are cut.

    ``no_hash`` are files whose rows have no Sha256.
    """

    def __init__(self, root: t.Union[str, Path], most_rows: int = MOST_ROWS, **more: t.Any) -> None:
        super().__init__(root, **more)
        self.most_rows = most_rows
        self.no_hash: t.Set[str] = set()
        self.more_rows: t.List[t.Dict[str, t.Any]] = []  # what a damaged or malicious one lists beside its files
        for server in self._servers:
            server.RequestHandlerClass = _ScopeHandler  # type: ignore[assignment]

    def add(self, repo: str, files: t.Dict[str, bytes], ref: str = "master") -> str:
        return super().add(repo, files, "main" if ref == "master" else ref)

    def snapshot(self, repo: str, revision: str) -> t.Optional[Snapshot]:
        return self.store.snapshot(repo, "main" if revision == "master" else revision)


class _ScopeHandler(_Handler):
    def _route(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        if self.server.origin == "cdn":
            return self._blob(unquote(parts.path))
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        words = [unquote(word) for word in parts.path.split("/")]
        if words[:4] != ["", "api", "v1", "models"] or len(words) < 6:
            return self._failure(404, 10010000001, "page not found")
        fault = self._scope.take_fault(self.command, parts.path) if words[6:] != ["repo"] else None
        if fault and fault.kind == "status":
            return self._failure(fault.status, 10010000002, "stand-in: fault", fault.headers())
        if fault and fault.kind == "corrupt":  # of an answer: it says no, with the status 200
            return self._failure(200, 10010000002, "stand-in: not today")
        if fault and fault.kind == "html":
            return self._send(200, {"Content-Type": "text/html"}, b"<html><body>Log in to this network</body></html>")
        repo = "/".join(words[4:6])
        if not self._may_read(repo):
            return None
        if words[6:] == ["revisions"]:
            return self._revisions(repo)
        if words[6:] == ["repo", "files"]:
            return self._files(repo, query)
        if words[6:] == ["repo"]:
            return self._content(repo, query)
        if not words[6:]:
            return self._success({"Id": 1, "Name": words[5], "Path": words[4]})
        return self._failure(404, 10010000001, "page not found")

    @property
    def _scope(self) -> Modelscope:
        return t.cast(Modelscope, self.server.hub)

    def _may_read(self, repo: str) -> bool:
        wanted = self._scope.private.get(repo)
        bearer = (self.headers.get("Authorization") or "").partition("Bearer ")[2]
        cookies = [one.strip() for one in (self.headers.get("Cookie") or "").split(";")]
        if wanted is not None and (bearer != wanted or "m_session_id=" + wanted not in cookies):
            self._failure(403 if bearer else 401, 10010205012, "access denied")
            return False
        if not self._scope.store.refs(repo):
            self._failure(404, 10010205001, "模型不存在")
            return False
        return True

    def _revisions(self, repo: str) -> None:
        names = ["master" if ref == "main" else ref for ref in self._scope.store.refs(repo)]
        rows = [{"Revision": name, "CreatedAt": 1700000000} for name in names]
        self._success({"RevisionMap": {"Branches": rows, "Tags": []}})

    def _files(self, repo: str, query: t.Dict[str, str]) -> None:
        snapshot = self._scope.snapshot(repo, query.get("Revision", "master"))
        if snapshot is None:
            return self._failure(404, 10010205003, "revision not found")
        rows = [self._row(row, snapshot) for row in snapshot.tree(query.get("Root", ""), query.get("Recursive") == "True")]
        if query.get("Root") and not rows:
            return self._failure(404, 10010205004, "path not found")
        return self._success({"Files": (rows + self._scope.more_rows)[: self._scope.most_rows]})

    def _row(self, row: t.Dict[str, t.Any], snapshot: Snapshot) -> t.Dict[str, t.Any]:
        path = row["path"]
        said = {"Path": path, "Name": path.rpartition("/")[2], "Revision": snapshot.commit, "CommittedDate": 1700000000}
        if row["type"] == "directory":
            return {**said, "Type": "tree", "Size": 0, "Sha256": "", "IsLFS": False}
        one = snapshot.files[path]
        digest = "" if path in self._scope.no_hash else one.sha256
        return {**said, "Type": "blob", "Size": one.size, "Sha256": digest, "IsLFS": one.lfs}

    def _content(self, repo: str, query: t.Dict[str, str]) -> None:
        snapshot = self._scope.snapshot(repo, query.get("Revision", "master"))
        one = snapshot.files.get(query.get("FilePath", "")) if snapshot else None
        if one is None:
            return self._failure(404, 10010205004, "file not found")
        if one.lfs and self._scope.cdn_url:
            fault = self._scope.take_fault(self.command, urlsplit(self.path).path)
            if fault and fault.kind == "status":
                return self._failure(fault.status, 10010000002, "stand-in: fault", fault.headers())
            return self._send(302, {"Location": "%s/blob/%s?auth_key=signature" % (self._scope.cdn_url, one.sha256)}, b"")
        return self._file(one, {"X-Linked-ETag": '"%s"' % one.sha256} if one.lfs else {})

    def _file(self, one: HubFile, headers: t.Dict[str, str]) -> None:
        if self.server.origin != "cdn" and not one.lfs and "Range" in self.headers:
            del self.headers["Range"]  # what git holds comes whole
        super()._file(one, headers)

    def _head(self, status: int, headers: t.Dict[str, str]) -> None:
        super()._head(200 if status == 206 else status, headers)

    def _record(self, status: int, sent: int) -> None:
        credentials = "Authorization" in self.headers or "Cookie" in self.headers
        agent, asked = self.headers.get("User-Agent") or "", self.headers.get("Range")
        self._scope.record(Request(self.server.origin, self.command, self.path, status, asked, credentials, sent, agent))

    def _success(self, data: t.Any) -> None:
        self._json({"Code": 200, "Data": data, "Message": "success", "RequestId": "stand-in", "Success": True})

    def _failure(
        self, status: int, code: int, message: str, headers: t.Optional[t.Dict[str, str]] = None
    ) -> None:
        body = {"Code": code, "Data": None, "Message": message, "RequestId": "stand-in", "Success": False}
        self._send(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())
