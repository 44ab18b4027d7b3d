# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model on a hub, read without downloading its weights: the file list, small files, and pieces of large ones."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError
from .trees import Tree

DEFAULT_ENDPOINT = "https://huggingface.co"
_RETRIES = 2  # a hub that stays busy shall be reported, not waited for


class HubTree(Tree):
    """One revision of a repository. Needs huggingface_hub."""

    parallel = 8

    def __init__(
        self,
        repo: str,
        revision: str,
        endpoint: str,
        token: t.Optional[str] = None,
        timeout: float = 30.0,
    ) -> None:
        self.source = repo
        self._asked = revision
        self._endpoint = endpoint.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._files: t.Optional[t.Dict[str, int]] = None
        self.revision = None

    def place(self, path: str) -> str:
        return "%s of %s at %s" % (path, self.source, self.revision or self._asked)

    def files(self) -> t.Dict[str, int]:
        if self._files is None:
            self._files = self._guarded(self._list)
        return self._files

    def read(self, path: str, offset: int, length: int) -> bytes:
        size = self.files()[path]
        length = min(length, size - offset)
        if length <= 0:
            return b""
        return self._guarded(lambda: self._range(path, offset, length))

    def _list(self) -> t.Dict[str, int]:
        hub = _library()
        session = hub.utils.get_session()
        if hasattr(session, "timeout"):
            session.timeout = self._timeout  # listings take no timeout of their own
        api = hub.HfApi(endpoint=self._endpoint, token=self._token)
        info = api.model_info(self.source, revision=self._asked, timeout=self._timeout)
        self.revision = info.sha
        entries = api.list_repo_tree(self.source, recursive=True, revision=info.sha)
        return {entry.path: entry.size for entry in entries if getattr(entry, "size", None) is not None}

    def _range(self, path: str, offset: int, length: int) -> bytes:
        hub = _library()
        url = hub.hf_hub_url(self.source, path, revision=self.revision, endpoint=self._endpoint)
        headers = dict(hub.utils.build_hf_headers(token=self._token))
        headers["Range"] = "bytes=%d-%d" % (offset, offset + length - 1)
        headers["Accept-Encoding"] = "identity"
        response = hub.utils.http_backoff("GET", url, headers=headers, timeout=self._timeout, max_retries=_RETRIES)
        hub.utils.hf_raise_for_status(response)
        data = response.content
        if response.status_code == 200:  # a mirror that knows no ranges sends the whole file
            data = data[offset : offset + length]
        return data

    def _guarded(self, work: t.Callable[[], t.Any]) -> t.Any:
        try:
            return work()
        except GpufleetError:
            raise
        except Exception as error:  # the library's errors have no common base that is ours to name
            raise explain(error, self.source, self._asked, self._endpoint) from None


def explain(error: Exception, repo: str, revision: str, endpoint: str) -> GpufleetError:
    """What a hub's refusal means and what to do about it. Says nothing that could hold a token."""
    names = [kind.__name__ for kind in type(error).__mro__]
    status = getattr(getattr(error, "response", None), "status_code", None)
    page = "%s/%s" % (endpoint, repo)
    if "GatedRepoError" in names:
        return GpufleetError(
            "%s is gated: its licence has to be accepted at %s by the account whose token is used. "
            "Set token_file to a file with that account's token." % (repo, page),
            status=status,
        )
    if "RevisionNotFoundError" in names:
        return GpufleetError(
            "%s has no revision %r: set revision to a branch, tag or commit of %s." % (repo, revision, page)
        )
    if "EntryNotFoundError" in names:
        return GpufleetError("A file that %s lists for %s at %s is not there." % (endpoint, repo, revision))
    if "RepositoryNotFoundError" in names or status in (401, 403, 404):
        return GpufleetError(
            "%s knows no model %s, or the token does not see it (status %s). Check source; for a private or gated "
            "model set token_file, and accept the licence at %s." % (endpoint, repo, status, page),
            status=status,
        )
    if "HFValidationError" in names:
        return GpufleetError("source=%s is no hub id: want org/name, a directory or a .gguf file." % repo)
    if any("Timeout" in name for name in names):
        return GpufleetError(
            "%s did not answer in time. Raise timeout, set endpoint to a mirror, or set source to a directory."
            % endpoint
        )
    if "OfflineModeIsEnabled" in names:
        return GpufleetError("HF_HUB_OFFLINE is set on the host: unset it, or set source to a directory.")
    if status:
        return GpufleetError(
            "%s answered with status %s for %s. Try again later." % (endpoint, status, repo), status=status
        )
    return GpufleetError(
        "Cannot reach %s (%s). Set endpoint to a mirror, or source to a directory on the host."
        % (endpoint, type(error).__name__)
    )


def cached_directory(repo: str, revision: str) -> str:
    """The directory of a model that is already in the hub's cache on this host; no network."""
    hub = _library()
    try:
        return str(hub.snapshot_download(repo, revision=revision, local_files_only=True))
    except Exception as error:  # see _guarded
        raise GpufleetError(
            "offline is true and the hub cache of this host does not hold %s at %s (%s). "
            "Set source to the model's directory." % (repo, revision, type(error).__name__)
        ) from None


def _library() -> t.Any:
    try:
        import huggingface_hub
        import huggingface_hub.utils
    except ImportError:
        raise GpufleetError(
            "huggingface_hub is missing on the host: run the role gpufleet.llm.tools there, or set source to a directory."
        ) from None
    return huggingface_hub
