# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a module's arguments to a source and a wish."""

from __future__ import annotations

import errno
import os
import re
import typing as t

from ..errors import GpufleetError
from . import store
from .sources.directory import DirectorySource
from .download import ensure
from .sources.hub import HubSource
from .sources.modelscope import ModelscopeSource
from .sources.ollama_registry import OllamaRegistrySource
from .sources.urls import UrlsSource
from .permissions import Permissions, parse_mode
from .source import Source, Wish
from .transports import swarm
from .transports.terms import Terms
from .watch import Watch

_WHOLE = (UrlsSource.kind, OllamaRegistrySource.kind)  # of these, nothing is left out by default
_OUTSIDE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR)


def answer(
    params: t.Dict[str, t.Any],
    check_mode: bool,
    say: t.Callable[[str], None],
    need_client: t.Callable[[], None],
) -> t.Dict[str, t.Any]:
    """What model_download returns for its arguments."""
    for option in ("max_workers", "timeout", "lock_timeout"):
        if params[option] < (0 if option == "lock_timeout" else 1):
            raise GpufleetError("%s=%d: give a positive number" % (option, params[option]))
    if not os.path.isabs(params["store"]):
        raise GpufleetError("store=%s: give an absolute path" % params["store"])
    terms = Terms(
        params["max_workers"], params["timeout"], _rate(params["limit_rate"], params["transport"]), params["ca_path"], say
    )
    is_directory = os.path.isabs(params["source"] or "")
    source = _source(params, terms, need_client)
    store.check_ref(source.revision)
    _check_commit(params, source)
    wish = Wish(
        source=(os.path.normpath(params["source"]) if is_directory else params["source"]) or source.name,
        store=params["store"],
        permissions=Permissions(
            params["owner"],
            params["group"],
            parse_mode(params["mode"], "mode"),
            parse_mode(params["directory_mode"], "directory_mode"),
        ),
        include=params["include"] or (["*"] if source.kind in _WHOLE else None),
        exclude=params["exclude"],
        latest=params["state"] == "latest",
        offline=params["offline"] and not is_directory,
        max_workers=params["max_workers"],
        lock_timeout_s=params["lock_timeout"],
        check_mode=check_mode,
        say=say,
        verify=params["verify"],
        repair=params["repair"],
        listing_sha256=params["listing_sha256"],
        commit=params["commit"],
        watch=Watch(None if check_mode else params["progress_file"]),
        stop=terms.stop,
    )
    try:
        with wish.watch:
            result = ensure(wish, source)
        if isinstance(source, HubSource) and result["downloaded_files"] and not check_mode:
            result["warnings"] += [problem for problem in [source.share(result["path"])] if problem]
        return result
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        raise GpufleetError("%s: %s. Check store=%s" % (error.filename, error.strerror, wish.store))


def _source(params: t.Dict[str, t.Any], terms: Terms, need_client: t.Callable[[], None]) -> Source:
    if params["files"] is not None:
        return _urls(params, terms)
    if os.path.isabs(params["source"]):
        return _directory(params)
    if params["name"]:
        raise GpufleetError(
            "name=%s: only a directory is given a name, or a list of files: source=%s has one"
            % (params["name"], params["source"])
        )
    if params["hub"] == "ollama":
        if params["include"] or params["exclude"]:
            raise GpufleetError("include, exclude: a model of a registry of Ollama's is all of its blobs. Leave them out")
        return OllamaRegistrySource(params["source"], **_asked(params, terms))
    store.check_name(params["source"], "source")
    if params["hub"] == "modelscope":
        return ModelscopeSource(params["source"], **_asked(params, terms))
    return _hub(params, terms, need_client)


def _asked(params: t.Dict[str, t.Any], terms: Terms) -> t.Dict[str, t.Any]:
    return {
        "revision": params["revision"],
        "transport": params["transport"],
        "endpoint": params["endpoint"],
        "token": lambda: params["token"] or _token(params["token_file"]),
        "terms": terms,
    }


def _urls(params: t.Dict[str, t.Any], terms: Terms) -> Source:
    if not params["name"]:
        raise GpufleetError("files: set name to the org/name that they shall have in the store")
    store.check_name(params["name"], "name")
    asked = _asked(params, terms)
    del asked["endpoint"]  # they have their addresses
    has_token = bool(params["token"] or params["token_file"])
    return UrlsSource(params["name"], params["files"], has_token=has_token, **asked)


def _directory(params: t.Dict[str, t.Any]) -> Source:
    path = os.path.normpath(params["source"])
    if (path + "/").startswith(os.path.normpath(params["store"]) + "/"):
        raise GpufleetError("source=%s is in the store already: use it as it is" % path)
    name = params["name"] or "/".join(path.split("/")[-2:])
    if not params["name"] and "/" not in name.strip("/"):
        raise GpufleetError("source=%s: set name to the org/name it shall have in the store" % path)
    store.check_name(name, "name")
    return DirectorySource(path, name, params["revision"] or "main", params["max_workers"])


def _hub(params: t.Dict[str, t.Any], terms: Terms, need_client: t.Callable[[], None]) -> Source:
    return HubSource(
        params["source"],
        params["revision"] or "main",
        params["transport"],
        endpoint=params["endpoint"],
        token=lambda: params["token"] or _token(params["token_file"]),
        terms=terms,
        need_client=need_client,
        hf_transfer_python=params["hf_transfer_python"],
        commit=params["commit"],
        swarm_settings=_swarm(params["swarm"] or {}),
    )


def _check_commit(params: t.Dict[str, t.Any], source: Source) -> None:
    commit = params["commit"]
    if commit is None:
        return
    if not isinstance(source, HubSource):
        raise GpufleetError("commit=%s: only a model of the Hugging Face Hub or a mirror of it has one here" % commit)
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise GpufleetError("commit=%s: give 40 hex digits" % commit)
    if store.is_commit(source.revision) and source.revision != commit:
        raise GpufleetError("commit=%s and revision=%s are two different ones" % (commit, source.revision))


def _swarm(given: t.Dict[str, t.Any]) -> swarm.Settings:
    known = swarm.Settings()
    settings = swarm.Settings(
        port=given.get("port") or known.port,
        upload_bytes_per_s=_rate(given.get("upload_limit"), "swarm", "swarm.upload_limit"),
        seed_s=known.seed_s if given.get("seed_time") is None else given["seed_time"],
        seed_ratio=given.get("seed_ratio") or 0.0,
    )
    if not 1 <= settings.port <= 65535 or settings.seed_s < 0 or settings.seed_ratio < 0:
        raise GpufleetError("swarm: port must be 1 to 65535, seed_time and seed_ratio no negative numbers. Given: %s" % given)
    return settings


def _token(path: t.Optional[str]) -> t.Optional[str]:
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as content:
            token = content.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GpufleetError("token_file=%s cannot be read: %s" % (path, getattr(error, "strerror", "not a text file")))
    if not token or len(token.split()) != 1:
        raise GpufleetError("token_file=%s: it must hold one token and nothing else" % path)
    return token


def _rate(value: t.Optional[str], transport: str, option: str = "limit_rate") -> int:
    """Bytes a second: ``50M`` is 50 MiB, as aria2c and curl have it."""
    if not value:
        return 0
    match = re.fullmatch(r"(\d+)([KMG]?)", value)
    if not match or not int(match.group(1)):
        raise GpufleetError("%s=%s: give bytes a second as a number, with K, M or G for 1024 times more" % (option, value))
    if transport in ("xet", "hf_transfer"):
        raise GpufleetError("limit_rate=%s: transport=%s knows no limit. Use auto, aria2 or http" % (value, transport))
    return int(match.group(1)) * 1024 ** " KMG".index(match.group(2) or " ")
