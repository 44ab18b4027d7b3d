# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key files of package repositories: fetched, verified, and replaced by a rename."""

from __future__ import annotations

import os
import re
import typing as t
import urllib.error

from ansible.module_utils.urls import open_url

from ..errors import GpufleetError
from ..services.snapshot import replace
from . import openpgp

Dict = t.Dict[str, t.Any]
_MOST = 1024 * 1024


def ensure(
    path: str, content: t.Optional[str], url: t.Optional[str], wanted: t.Sequence[str], timeout_s: int, check_mode: bool
) -> t.Tuple[Dict, Dict]:
    """What was there, and what is there now; the same when nothing was to do."""
    names = plain(wanted)
    before = _state(path)
    if url and names and set(before["fingerprints"]) & set(names) and before["mode"] == 0o644:
        return before, before
    if url and check_mode:
        return before, {"shown": ["the key from %s" % url], "fingerprints": [], "mode": 0o644, "text": None}
    data = (content or "").encode() if content is not None else _fetched(t.cast(str, url), timeout_s)
    where = url or "content"
    try:
        found = openpgp.fingerprints(data)
    except GpufleetError as error:
        raise GpufleetError("%s: %s" % (where, error)) from None
    if names and not set(found) & set(names):
        raise GpufleetError(
            "%s: its fingerprint is %s, and not %s as asked for. Nothing was written."
            % (where, ", ".join(found), ", ".join(names))
        )
    text = data.decode("ascii", "replace") if openpgp.is_armored(data) else openpgp.armor(data)
    text = text if text.endswith("\n") else text + "\n"
    after = {"shown": found, "fingerprints": found, "mode": 0o644, "text": text}
    if after != before and not check_mode:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        replace(path, text.encode(), 0o644, 0, 0)
    return before, after


def remove(path: str, unwanted: t.Sequence[str], check_mode: bool) -> t.Tuple[Dict, Dict]:
    before = _state(path)
    left = [name for name in before["fingerprints"] if name not in plain(unwanted)]
    if left == before["fingerprints"]:
        return before, before
    after = {"shown": left, "fingerprints": left, "mode": before["mode"] if left else None, "text": None}
    if check_mode:
        return before, after
    with open(path, "rb") as stream:
        kept = openpgp.without(stream.read(), plain(unwanted))
    if kept:
        found = os.stat(path)
        replace(path, kept, t.cast(int, before["mode"]), found.st_uid, found.st_gid)
    else:
        os.unlink(path)
    return before, after


def plain(fingerprints: t.Sequence[str]) -> t.List[str]:
    """In capitals, without what people put between the digits."""
    return [re.sub(r"[^0-9A-F]", "", name.upper()) for name in fingerprints if name]


def _state(path: str) -> Dict:
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MOST)
            mode = os.fstat(stream.fileno()).st_mode & 0o7777
    except FileNotFoundError:
        return {"shown": [], "fingerprints": [], "mode": None, "text": None}
    try:
        found = openpgp.fingerprints(data)
    except GpufleetError:
        found = []
    text = data.decode("ascii", "replace") if openpgp.is_armored(data) else None
    return {"shown": found, "fingerprints": found, "mode": mode, "text": text}


def _fetched(url: str, timeout_s: int) -> bytes:
    try:
        with open_url(url, timeout=timeout_s, http_agent="gpufleet.llm") as answer:
            return answer.read(_MOST)
    except urllib.error.HTTPError as error:
        raise GpufleetError("%s: the server answers %d (%s)." % (url, error.code, error.reason)) from None
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise GpufleetError("%s cannot be fetched: %s." % (url, getattr(error, "reason", error))) from None
