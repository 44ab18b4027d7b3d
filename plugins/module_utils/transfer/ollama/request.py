# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From ollama_bundle's arguments to what it returns."""

from __future__ import annotations

import errno
import os
import typing as t

from ...errors import GpufleetError
from ...models.ollama_names import Name
from ..permissions import Permissions, parse_mode
from .bundle_export import export
from .bundle_import import import_bundle
from .wish import Wish

_OUTSIDE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR, errno.ENOENT,
    errno.ESTALE, errno.EXDEV, errno.ELOOP, errno.ENAMETOOLONG, errno.EFBIG, errno.EISDIR, errno.ENOTEMPTY,
)  # fmt: skip


def answer(params: t.Dict[str, t.Any], check_mode: bool, say: t.Callable[[str], None]) -> t.Dict[str, t.Any]:
    """What ollama_bundle returns for its arguments."""
    for option in ("path", "store"):
        if not os.path.isabs(params[option]):
            raise GpufleetError("%s=%s is not an absolute path." % (option, params[option]))
    if not 1 <= params["compression_level"] <= 19:
        raise GpufleetError("compression_level=%d: give a number from 1 to 19." % params["compression_level"])
    if params["lock_timeout"] < 0:
        raise GpufleetError("lock_timeout=%d: give seconds, 0 or more." % params["lock_timeout"])
    wish = Wish(
        path=os.path.normpath(params["path"]),
        store=os.path.normpath(params["store"]),
        names=_names(params["names"]),
        permissions=Permissions(
            params["owner"],
            params["group"],
            parse_mode(params["mode"], "mode"),
            parse_mode(params["directory_mode"], "directory_mode"),
        ),
        verify=params["verify"] == "full",
        level=params["compression_level"],
        lock_timeout_s=params["lock_timeout"],
        check_mode=check_mode,
        say=say,
    )
    try:
        return (export if params["state"] == "exported" else import_bundle)(wish).result(wish)
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        raise GpufleetError(
            "%s: %s. Check path=%s and store=%s." % (error.filename or "I/O", error.strerror, wish.path, wish.store)
        ) from None


def _names(texts: t.Optional[t.Sequence[str]]) -> t.Optional[t.Tuple[Name, ...]]:
    """None means all of them; an empty list is most likely a variable that went wrong."""
    if texts is None:
        return None
    if not texts:
        raise GpufleetError("names is empty: name the models, or leave it out to mean all of them.")
    return tuple({name.key: name for name in (Name.parse(text, "names") for text in texts)}.values())
