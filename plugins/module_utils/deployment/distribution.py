# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models that come from the site's mirror: which commit of them, and what the mirror's list must be."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError

Dict = t.Dict[str, t.Any]


def mirrored(models: t.Sequence[Dict], mirror: str, url: str, published: t.Optional[t.Sequence[Dict]]) -> t.List[Dict]:
    """The entries of model_store_models with what follows for each of them.

    ``published`` is what the mirror ``mirror`` serves, as Ansible learnt it from that host and not from who answers at ``url``.
    None: that host cannot be asked now, so only what is in the store already is taken. Without a mirror among Ansible's hosts
    nothing is known of what is served at ``url``.
    A directory of the host, another hub's model, files with addresses, and a model with an endpoint of its own come from there.
    """
    found = []
    for one in models:
        elsewhere = one.get("hub", "huggingface") != "huggingface" or one.get("source", "/").startswith("/")
        if elsewhere or one.get("endpoint"):
            found.append(dict(one))
        elif not mirror:
            found.append(dict(one, endpoint=url, offline=False))
        elif published is None:
            found.append(dict(one, endpoint=url, offline=True))
        else:
            row = _row(one, mirror, published)
            pinned = {"commit": row["commit"], "listing_sha256": one.get("listing_sha256") or row["listing_sha256"]}
            found.append(dict(one, endpoint=url, offline=False, **pinned))
    return found


def _row(one: Dict, mirror: str, published: t.Sequence[Dict]) -> Dict:
    revision = one.get("revision") or "main"
    same = [row for row in published if row["name"] == one["source"]]
    for row in same:
        if revision in (row["revision"], row["commit"]):
            return row
    has = "it has %s" % " and ".join("%(name)s@%(revision)s" % row for row in same) if same else "it has no revision of that model"
    raise GpufleetError(
        "%s@%s is not on the mirror %s: %s. Add it to model_mirror_models there and run the play of the mirror first, "
        "or give it an endpoint of its own" % (one["source"], revision, mirror, has)
    )
