# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commit of a model a host takes from the mirror."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment.distribution import mirrored
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError

URL = "http://mirror:8090"
COMMIT, LIST = "a" * 40, "1" * 64
ROW = {"source": "org/m", "name": "org/m", "revision": "main", "commit": COMMIT, "listing_sha256": LIST}
LOCAL = {"source": "/mnt/usb/team/x", "name": "team/x", "revision": "main", "commit": "b" * 40, "listing_sha256": "2" * 64}
PINNED = {"mirrored": True, "revision": "main", "endpoint": URL, "offline": False, "commit": COMMIT, "listing_sha256": LIST}


@pytest.mark.parametrize(
    "model, mirror, published, added",
    [
        ({"source": "org/m"}, "m1", [ROW], PINNED),
        ({"source": "org/m", "revision": "main", "include": ["*"]}, "m1", [LOCAL, ROW], PINNED),
        ({"source": "org/m", "revision": COMMIT}, "m1", [ROW], dict(PINNED, revision=COMMIT)),
        ({"source": "org/m"}, "m1", [dict(ROW, revision="v1")], dict(PINNED, revision="v1")),
        ({"source": "org/m"}, "m1", [dict(ROW, revision="v1", commit="d" * 40), ROW], PINNED),
        ({"source": "qwen3:8b", "hub": "ollama"}, "m1", [], {}),
        ({"source": "org/m", "listing_sha256": "9" * 64}, "m1", [ROW], dict(PINNED, listing_sha256="9" * 64)),
        ({"source": "team/x"}, "m1", [LOCAL], dict(PINNED, commit="b" * 40, listing_sha256="2" * 64)),
        ({"source": "/mnt/usb/team/x"}, "m1", [], {}),
        ({"source": "org/m", "endpoint": "http://elsewhere"}, "m1", [], {}),
        ({"source": "org/m"}, "m1", None, {"mirrored": True, "endpoint": URL, "offline": True}),  # it cannot be asked
        ({"source": "org/m"}, "", None, {"mirrored": True, "endpoint": URL, "offline": False}),  # it is none of Ansible's hosts
    ],
)
def test_what_is_added(model, mirror, published, added):
    assert mirrored([model], mirror, URL, published) == [dict(model, **added)]


@pytest.mark.parametrize(
    "model",
    [{"source": "org/m", "hub": "modelscope"}, {"name": "org/m", "files": [{"url": "https://x/a.gguf", "sha256": "0" * 64}]}],
)
def test_wherever_the_mirror_had_it_from_it_is_a_hub_s_here(model):
    assert mirrored([model], "m1", URL, [ROW], swarm=True) == [dict(PINNED, source="org/m", transport="swarm")]


@pytest.mark.parametrize(
    "model, message",
    [
        ({"source": "org/none"}, "org/none@main is not on the mirror m1: it has no revision of that model. Add it to model_mirror_models"),
        ({"source": "org/m", "revision": "v2"}, "org/m@v2 is not on the mirror m1: it has org/m@main. Add it"),
        ({"source": "org/m", "revision": "c" * 40}, "@%s is not on the mirror" % ("c" * 40)),
    ],
)
def test_what_the_mirror_lacks_is_named(model, message):
    with pytest.raises(GpufleetError, match=message):
        mirrored([model], "m1", URL, [ROW, LOCAL])
