# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model files from the Hugging Face Hub or a mirror of it.

The hub is asked over plain HTTP, as huggingface_hub 2.x asks it: importing that takes longer than a small model does, and
the host need not have it. The files come by one of these transports: ``http``, which continues a file where an earlier run
ended (huggingface_hub does not since 1.18) and hashes it on its way; ``aria2``, which brings the large ones in pieces over
several connections; ``xet``, the hub's own, by chunks; ``hf_transfer``, its predecessor, which old clients have; or ``swarm``,
from other hosts that get the same from a mirror.
"""

from __future__ import annotations

import os
import re
import sys
import typing as t
import urllib.parse

from ...errors import GpufleetError
from ..files import ModelFile
from ..store import is_commit
from ..transports import hub_client, swarm, web
from ..transports.carrier import Together
from ..transports.terms import Terms
from .plain import Plain

DEFAULT_ENDPOINT = "https://huggingface.co"
_TRUE = ("1", "on", "yes", "true")  # huggingface_hub/constants.py


class HubSource(Plain):
    """One repository of a hub at one revision.

    ``need_client`` is called before the first use of huggingface_hub, which ``xet`` alone needs in this Python.
    """

    kind = "huggingface"
    answers_as = "the Hugging Face Hub"
    transports = (*Plain.transports, "xet", "hf_transfer", "swarm")

    def __init__(
        self,
        name: str,
        revision: str,
        transport: str,
        endpoint: t.Optional[str],
        token: t.Callable[[], t.Optional[str]],
        terms: Terms,
        need_client: t.Callable[[], None],
        hf_transfer_python: str = "",
        commit: t.Optional[str] = None,
        swarm_settings: t.Optional[swarm.Settings] = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        self._need_client = need_client
        self._hf_transfer_python = hf_transfer_python
        self._commit = commit or (revision if is_commit(revision) else "")
        self._swarm_settings = swarm_settings or swarm.Settings()
        self._swarm: t.Optional[swarm.Swarm] = None
        self._listing: t.List[ModelFile] = []
        self._given_token = token
        self._own_token: t.Optional[str] = None
        super().__init__("%s on %s" % (name, self.endpoint), transport, terms, self._some_token)

    def prepare(self) -> None:
        """May start the module again under another Python."""
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            if _is_set(name):
                raise GpufleetError(
                    "%s is set in the environment of this host: unset it, or set offline=true "
                    "if the model is in the store" % name
                )
        if self.transport == "xet" and not self.prepared:
            self._need_client()
        super().prepare()

    def together(self, client: web.Web) -> t.Optional[Together]:
        if self.transport in ("xet", "hf_transfer"):
            python = sys.executable if self.transport == "xet" else self._hf_transfer_python
            return hub_client.HubClient(self.transport, python, self.name, self.endpoint, self.token, self.terms)
        if self.transport == "swarm":
            self._swarm = swarm.Swarm(self._swarm_settings, self.endpoint, self.name, self.token, client, self.terms)
            return self._swarm
        return super().together(client)

    def address(self, one: ModelFile, revision: str) -> str:
        return "%s/%s/resolve/%s/%s" % (self.endpoint, self.name, revision, urllib.parse.quote(one.path))

    def resolve(self) -> str:
        """The commit that the revision means now."""
        if not self._commit:
            info, _headers = self._asked("%s/revision/%s" % (self._api(), urllib.parse.quote(self.revision, safe="")))
            commit = info.get("sha") if isinstance(info, dict) else None
            if not isinstance(commit, str) or not is_commit(commit):
                raise self.foreign("it names no commit of %s" % self.revision)
            self._commit = commit
        return self._commit

    def listing(self, revision: str) -> t.List[ModelFile]:
        if not self._listing:
            # Besides directories there are modules of git's, whose files the hub does not have.
            self._listing = [self._file(row) for row in self._rows(revision) if row.get("type", "file") == "file"]
        return self._listing

    def record_fields(self) -> t.Dict[str, t.Any]:
        return {"endpoint": self.endpoint}

    def share(self, path: str) -> t.Optional[str]:
        """Give others of the swarm what came from it; returns why not, where that is so."""
        try:
            return self._swarm.seed(path) if self._swarm else None
        except (OSError, ValueError) as error:
            return "%s is not given to others of the swarm: %s" % (path, error)

    def refused(self, status: int, headers: t.Mapping[str, str], url: str) -> t.Optional[GpufleetError]:
        """As huggingface_hub tells them apart (its utils/_http.py)."""
        page, code = "%s/%s" % (self.endpoint, self.name), headers.get("X-Error-Code")
        asked = url.startswith(self._api() + "/")
        what = "" if asked else urllib.parse.unquote(url.split("/resolve/", 1)[-1].partition("/")[2])
        if code == "GatedRepo":
            with_token = (
                "The token's account has no access: accept the licence at %s with that account, or wait for approval"
                if self.token
                else "Accept the licence at %s, then set token_file to a file with a token of that account"
            )
            return GpufleetError("%s is gated (HTTP %s). %s" % (self.label, status, with_token % page), licence_url=page)
        if code == "RevisionNotFound":
            return GpufleetError(
                "%s has no revision %s: set revision to a branch, a tag or a commit listed at %s/commits/main"
                % (self.label, self.revision, page)
            )
        if asked and status == 404 and not code:  # a mirror that says no more
            return GpufleetError(
                "%s has no %s, or no revision %s of it: check source, revision and endpoint"
                % (self.endpoint, self.name, self.revision)
            )
        # To who has no token, a hub says 401 of what is not there.
        hidden = status == 401 and headers.get("X-Error-Message") != "Invalid credentials in Authorization header"
        if code == "RepoNotFound" or (asked and hidden):
            return GpufleetError(
                "There is no %s, or it is private and the token %s: check source and endpoint, or set token_file"
                % (self.label, "given has no access" if self.token else "is missing")
            )
        if status in (401, 403):
            whose = "the token that HF_TOKEN or `hf auth login` left on this host" if self._own_token else "the token"
            return GpufleetError(
                "%s refuses %s (HTTP %d): %s is wrong, expired or not allowed to read it. Set token_file"
                % (self.label, what or "to answer", status, whose)
            )
        return GpufleetError("%s lists %s and does not serve it" % (self.label, what)) if status == 404 else None

    def _some_token(self) -> t.Optional[str]:
        token = self._given_token()
        # The user's own is for the hub: on a line that anybody may read it is not shown.
        if token is None and self.endpoint.startswith("https://"):
            token = self._own_token = users_token()
        return token

    def _api(self) -> str:
        return "%s/api/models/%s" % (self.endpoint, self.name)

    def _asked(self, url: str) -> t.Tuple[t.Any, t.Mapping[str, str]]:
        try:
            return self.ask(url)
        except web.GivenUp as error:
            raise GpufleetError(
                "Cannot ask for %s: %s. Check that the host reaches %s, or set endpoint to a mirror that it does"
                % (self.label, error, self.endpoint)
            ) from None

    def _rows(self, revision: str) -> t.List[t.Dict[str, t.Any]]:
        rows: t.List[t.Dict[str, t.Any]] = []
        page: t.Optional[str] = "%s/tree/%s?recursive=true" % (self._api(), revision)
        seen = set()
        while page:
            seen.add(page)
            some, headers = self._asked(page)
            if not isinstance(some, list):
                raise self.foreign("its list of files is none")
            for row in some:
                if not isinstance(row, dict) or not isinstance(row.get("path"), str) or not isinstance(row.get("lfs") or {}, dict):
                    raise self.foreign("its list of files holds %.200r" % (row,))
            rows += some
            page = self._next(page, headers)
            if page in seen:
                raise self.foreign("its list of files has no end")
        return rows

    def _next(self, page: str, headers: t.Any) -> t.Optional[str]:
        """The page that follows (RFC 8288): the same address with the query that is told. A mirror may pass on what leads elsewhere."""
        for link in re.split(r",(?=\s*<)", ", ".join(headers.get_all("Link") or ())):
            if re.search(r';\s*rel="?next"?\s*(;|$)', link):
                match = re.match(r"\s*<[^>?]*(\?[^>]+)>", link)
                if not match:
                    raise self.foreign("it does not say where its list of files goes on")
                return page.partition("?")[0] + match.group(1)
        return None

    def _file(self, row: t.Dict[str, t.Any]) -> ModelFile:
        lfs = row.get("lfs")
        if lfs:
            return self.listed(row["path"], lfs.get("size"), sha256=str(lfs.get("oid")))
        return self.listed(row["path"], row.get("size"), git_sha1=row.get("oid"))


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in _TRUE


def users_token() -> t.Optional[str]:
    """The token that the hub's own command line keeps for this user (huggingface_hub/utils/_auth.py).

    Tokens of GitHub's kind of login (HF_OIDC_RESOURCE) are not asked for, and those of a login by browser are not made new.
    """
    if _is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface")
    path = os.environ.get("HF_TOKEN_PATH") or os.path.join(os.environ.get("HF_HOME") or cache, "token")
    given = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or ""
    try:
        if not given.strip():
            with open(os.path.expandvars(os.path.expanduser(path)), encoding="utf-8") as content:
                given = content.read()
    except (OSError, UnicodeDecodeError):
        return None
    token = given.replace("\r", "").replace("\n", "").strip()
    if re.search(r"[^\x21-\x7e]", token):
        raise GpufleetError("The token that HF_TOKEN or `hf auth login` left on this host is none. Set token_file")
    return token or None
