# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model files from the Hugging Face Hub or a mirror of it.

What there is, huggingface_hub says. The files come by one of these transports: ``http``, which continues a file where an earlier
run ended (huggingface_hub does not since 1.18) and hashes it on its way; ``aria2``, which brings the large ones in pieces over
several connections; ``xet``, the hub's own, by chunks; ``hf_transfer``, its predecessor, which old clients have; or ``swarm``, from other
hosts that get the same from a mirror.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
import typing as t
import urllib.parse

from ...errors import GpufleetError
from ...version import VERSION
from ..files import ModelFile
from ..store import is_commit
from ..transports import aria2, hub_client, swarm, web
from ..transports.carrier import Carrier, Together
from ..transports.terms import Terms
from .addressed import Addressed

DEFAULT_ENDPOINT = "https://huggingface.co"
_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)
_HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "requests", "urllib3")
FIRST_WAIT_S = 2.0  # then four times as long
_LONGEST_WAIT_S = 300.0


class HubSource(Addressed):
    """One repository of a hub at one revision.

    ``need_client`` and ``token`` are called before the first use of huggingface_hub, and only then: a model that
    is there needs neither the library nor the token nor the network.
    """

    kind = "huggingface"
    sees_changes = False

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
        self.label = "%s on %s" % (name, self.endpoint)
        self.transport = transport
        self._read_token = token
        self._token: t.Optional[str] = None
        self._terms = terms
        self._need_client = need_client
        self._hf_transfer_python = hf_transfer_python
        self._commit = commit or (revision if is_commit(revision) else "")
        self._swarm_settings = swarm_settings or swarm.Settings()
        self._swarm: t.Optional[swarm.Swarm] = None
        self._listing: t.List[ModelFile] = []
        self._carrier: t.Optional[Carrier] = None

    def prepare(self) -> None:
        """Have huggingface_hub at hand. May start the module again under another Python."""
        if self._carrier:
            return
        # The library reads these once, when it is imported.
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = os.environ["HF_HUB_ETAG_TIMEOUT"] = str(self._terms.stall_timeout_s)
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        if self._terms.ca_path:  # httpx's, and that of clients before 1.0
            os.environ["SSL_CERT_DIR" if os.path.isdir(self._terms.ca_path) else "SSL_CERT_FILE"] = self._terms.ca_path
            os.environ["REQUESTS_CA_BUNDLE"] = self._terms.ca_path
        self._need_client()
        from huggingface_hub import get_token

        # The client's own token is for the hub: on a line that anybody may read it is not shown.
        self._token = self._read_token() or (get_token() if self.endpoint.startswith("https://") else None)
        access = web.Access.on(self._terms, token=self._token, first_pause_s=FIRST_WAIT_S, explain=self._refused)
        client = web.Web(access, lambda seconds: time.sleep(seconds))  # pylint: disable=unnecessary-lambda
        self._carrier = Carrier(client, self._together(client), self._terms.say)

    def carrier(self) -> Carrier:
        self.prepare()
        return t.cast(Carrier, self._carrier)

    def _together(self, client: web.Web) -> t.Optional[Together]:
        if self.transport in ("xet", "hf_transfer"):
            python = sys.executable if self.transport == "xet" else self._hf_transfer_python
            return hub_client.HubClient(self.transport, python, self.name, self.endpoint, self._token, self._terms)
        if self.transport == "swarm":
            self._swarm = swarm.Swarm(self._swarm_settings, self.endpoint, self.name, self._token, client, self._terms)
            return self._swarm
        return aria2.choose(self.transport, self._terms, client.other_server if self._token else None)

    def address(self, one: ModelFile, revision: str) -> str:
        return "%s/%s/resolve/%s/%s" % (self.endpoint, self.name, revision, urllib.parse.quote(one.path))

    def resolve(self) -> str:
        """The commit that the revision means now."""
        if self._commit:
            return self._commit
        self.prepare()
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=self._token or False, library_name="gpufleet", library_version=VERSION)
        info = self._ask(lambda: api.model_info(self.name, revision=self.revision, timeout=self._terms.stall_timeout_s))
        self._commit = info.sha
        return self._commit

    def listing(self, revision: str) -> t.List[ModelFile]:
        if self._listing:
            return self._listing
        self.prepare()
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        api = HfApi(endpoint=self.endpoint, token=self._token or False, library_name="gpufleet", library_version=VERSION)
        rows = self._ask(lambda: list(api.list_repo_tree(self.name, revision=revision, recursive=True)))
        self._listing = [
            (
                ModelFile(one.path, one.lfs.size if one.lfs else one.size, sha256=one.lfs.sha256)
                if one.lfs
                else ModelFile(one.path, one.size, git_sha1=one.blob_id)
            )
            for one in rows
            if isinstance(one, RepoFile)
        ]
        return self._listing

    def unchanged_since(self, record: t.Dict[str, t.Any]) -> bool:
        """A commit's files never change."""
        return True

    def record_fields(self) -> t.Dict[str, t.Any]:
        return {"endpoint": self.endpoint}

    def share(self, path: str) -> t.Optional[str]:
        """Give others of the swarm what came from it; returns why not, where that is so."""
        try:
            return self._swarm.seed(path) if self._swarm else None
        except (OSError, ValueError) as error:
            return "%s is not given to others of the swarm: %s" % (path, error)

    def _ask(self, call: t.Callable[[], t.Any], what: str = "", attempts: int = 3) -> t.Any:
        """Call the library; what passes by itself is tried again, the rest becomes a message."""
        wait_s = FIRST_WAIT_S
        for attempt in range(1, attempts + 1):
            try:
                return call()
            except Exception as error:  # the library raises a dozen types over three HTTP libraries
                cause = _root(error)
                if attempt == attempts or not _is_transient(cause):
                    raise self._explained(cause, what, attempt) from None
                pause_s = min(max(wait_s, _retry_after(cause)), _LONGEST_WAIT_S)
                self._terms.say("%s: %s; trying again in %d s" % (what or self.label, _plain(cause), pause_s))
                time.sleep(pause_s)
                wait_s *= 4

    def _explained(self, error: BaseException, what: str, attempt: int) -> BaseException:
        from huggingface_hub import errors

        page = "%s/%s" % (self.endpoint, self.name)
        status = _status(error)
        if isinstance(error, errors.GatedRepoError):
            return self._gated(status)
        if isinstance(error, errors.RevisionNotFoundError):
            return GpufleetError(
                "%s has no revision %s: set revision to a branch, a tag or a commit listed at %s/commits/main"
                % (self.label, self.revision, page)
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return GpufleetError(
                "There is no %s, or it is private and the token %s: check source and endpoint, or set token_file"
                % (self.label, "given has no access" if self._token else "is missing")
            )
        if isinstance(error, errors.EntryNotFoundError) and status == 404:
            return self._not_served(what)
        if isinstance(error, errors.OfflineModeIsEnabled):
            return GpufleetError(
                "HF_HUB_OFFLINE is set in the environment of this host: unset it, or set offline=true "
                "if the model is in the store"
            )
        if status in (401, 403):
            return self._not_allowed(what, status)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return GpufleetError("The disk is full while fetching %s of %s" % (what, self.label))
        return GpufleetError(
            "Cannot %s %s after %d attempts: %s. "
            "Check that the host reaches %s, or set endpoint to a mirror that it does"
            % ("fetch %s of" % what if what else "ask for", self.label, attempt, _plain(error), self.endpoint)
        )

    def _refused(self, status: int, headers: t.Mapping[str, str], url: str) -> t.Optional[GpufleetError]:
        """The same of an answer to a plain request for a file."""
        what = urllib.parse.unquote(url.split("/resolve/", 1)[-1].partition("/")[2])
        if headers.get("X-Error-Code") == "GatedRepo":
            return self._gated(status)
        if status in (401, 403):
            return self._not_allowed(what, status)
        return self._not_served(what) if status == 404 else None

    def _gated(self, status: t.Optional[int]) -> GpufleetError:
        page = "%s/%s" % (self.endpoint, self.name)
        with_token = (
            "The token's account has no access: accept the licence at %s with that account, or wait for approval"
            if self._token
            else "Accept the licence at %s, then set token_file to a file with a token of that account"
        )
        return GpufleetError("%s is gated (HTTP %s). %s" % (self.label, status, with_token % page), licence_url=page)

    def _not_allowed(self, what: str, status: int) -> GpufleetError:
        return GpufleetError(
            "%s refuses %s (HTTP %d): the token is wrong, expired or not allowed to read it. Set token_file"
            % (self.label, what or "to answer", status)
        )

    def _not_served(self, what: str) -> GpufleetError:
        return GpufleetError("%s lists %s and does not serve it" % (self.label, what))


def _root(error: BaseException) -> BaseException:
    """The library hides what a HEAD request met behind 'not found in the cache'."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _status(error: BaseException) -> t.Optional[int]:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)


def _is_transient(error: BaseException) -> bool:
    from huggingface_hub import errors

    status = _status(error)
    if status is not None:
        return status in _TRANSIENT_STATUS
    if isinstance(error, (errors.OfflineModeIsEnabled, ValueError)):
        return False
    if isinstance(error, (ConnectionError, TimeoutError)) or type(error).__module__.split(".")[0] in _HTTP_LIBRARIES:
        return True
    # "Consistency check failed": the answer was shorter or longer than announced.
    return isinstance(error, OSError) and error.errno is None


def _retry_after(error: BaseException) -> float:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _plain(error: BaseException) -> str:
    """One line, without the query of a URL: a CDN's holds a signature."""
    text = re.sub(r"(https?://[^\s'\"?]+)\?[^\s'\"]*", r"\1", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("For more information check")]
    return "%s: %s" % (type(error).__name__, " ".join(lines) or "no message")
