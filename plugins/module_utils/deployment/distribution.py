# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models that come from the site's mirror: which commit of them, and what the mirror's list must be."""

from __future__ import annotations

import typing as t

from ..errors import GpufleetError

Dict = t.Dict[str, t.Any]


def mirrored(
    models: t.Sequence[Dict], mirror: str, url: str, published: t.Optional[t.Sequence[Dict]], swarm: bool = False
) -> t.List[Dict]:
    """The entries of model_store_models with what follows for each of them.

    ``published`` is what the mirror ``mirror`` serves, as Ansible learnt it from that host and not from who answers at ``url``.
    None: that host cannot be asked now, so only what is in the store already is taken. Without a mirror among Ansible's hosts
    nothing is known of what is served at ``url``.
    A directory of the host, a model of an Ollama registry, and a model with an endpoint of its own come from there. All others are
    models of a hub here, wherever the mirror had them from. Their tokens were for where they came from: the mirror never sees them.
    """
    found = []
    for one in models:
        if (one.get("source") or "").startswith("/") or one.get("endpoint") or one.get("hub") == "ollama":
            found.append(dict(one))
            continue
        name = one.get("source") or one["name"]
        known = {key: value for key, value in one.items() if key not in ("hub", "files", "name", "token_file")}
        known.update(source=name, endpoint=url, offline=bool(mirror) and published is None, mirrored=True)
        if swarm:
            known["transport"] = "swarm"
        if mirror and published is not None:
            row = _row(name, one.get("revision") or "", mirror, published)
            # A branch is called here as there, so that the next run asks for the same.
            known.update(
                revision=one.get("revision") or row["revision"],
                commit=row["commit"],
                listing_sha256=one.get("listing_sha256") or row["listing_sha256"],
            )
        found.append(known)
    return found


def _row(name: str, revision: str, mirror: str, published: t.Sequence[Dict]) -> Dict:
    """``revision`` may be left to the mirror: hubs have several names for their first branch."""
    same = [row for row in published if row["name"] == name]
    for row in same:
        if revision in (row["revision"], row["commit"]) or (not revision and len(same) == 1):
            return row
    if not revision and any(row["revision"] == "main" for row in same):
        return next(row for row in same if row["revision"] == "main")
    has = "it has %s" % " and ".join("%(name)s@%(revision)s" % row for row in same) if same else "it has no revision of that model"
    raise GpufleetError(
        "%s@%s is not on the mirror %s: %s. Add it to model_mirror_models there and run the play of the mirror first, "
        "or give it an endpoint of its own" % (name, revision or "main", mirror, has)
    )
