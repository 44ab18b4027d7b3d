# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""daemon.json, of which only some keys are ours."""

from __future__ import annotations

import json

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_engine_daemon as daemon
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError

CDI = {"features": {"cdi": True}}


@pytest.mark.parametrize(
    ("before", "ours", "after"),
    [
        (None, CDI, '{\n  "features": {\n    "cdi": true\n  }\n}\n'),
        ("", CDI, '{\n  "features": {\n    "cdi": true\n  }\n}\n'),
        ("{}\n", {}, None),
        ("", {}, None),
        # As it was, byte for byte, however odd it looks.
        ('{ "features":{"cdi" :true,"x":1}\n\n\t}', CDI, None),
        ('{"a": 1}', CDI, '{"a": 1, "features": {"cdi": true}}'),
        ('{"a": 1}\n', CDI, '{"a": 1, "features": {"cdi": true}}\n'),
        ('{\n\t"a": "ö"\n}', CDI, '{\n\t"a": "ö",\n\t"features": {\n\t\t"cdi": true\n\t}\n}'),
        (
            '{\n    "b": 1,\n    "a": {"x": []}\n}\n',
            {"a": {"y": 2}},
            '{\n    "b": 1,\n    "a": {\n        "x": [],\n        "y": 2\n    }\n}\n',
        ),
        ('{\n"a": 1\n}\n', {"b": 2}, '{\n"a": 1,\n"b": 2\n}\n'),
        # Lists are one value: what is asked for is what is there then.
        ('{"l": ["x", "y"]}', {"l": ["z"]}, '{"l": ["z"]}'),
        ('{"features": {"buildkit": true}}', CDI, '{"features": {"buildkit": true, "cdi": true}}'),
    ],
)
def test_merge(before, ours, after):
    assert daemon.merge(before, ours) == after
    if after is not None:
        assert daemon.merge(after, ours) is None


@pytest.mark.parametrize(("text", "why"), [("{", "is no JSON"), ("[1]", "holds a list"), ("{'a': 1}", "is no JSON")])
def test_what_is_no_object_is_left_alone(text, why):
    with pytest.raises(GpufleetError, match=why):
        daemon.merge(text, CDI)


@pytest.mark.parametrize(
    ("present", "version", "ours"),
    [
        ({}, (25, 0), CDI),
        ({}, (28, 1, 1), CDI),
        ({}, (28, 2), {}),
        ({}, (29, 7, 2), {}),
        ({"features": {"cdi": False}}, (29, 1), CDI),
        ({"cdi-spec-dirs": ["/srv/cdi"]}, (29, 1), {"cdi-spec-dirs": ["/srv/cdi", "/var/run/cdi"]}),
        ({"cdi-spec-dirs": ["/run/cdi"]}, (29, 1), {}),
    ],
)
def test_what_cdi_needs(present, version, ours):
    assert daemon.for_cdi(present, version) == ours


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ({"path": "nvidia-container-runtime", "runtimeArgs": []}, True),
        ({"path": "/usr/bin/nvidia-container-runtime", "args": ["--debug"]}, True),
        ({"path": "/opt/nvidia/bin/nvidia-container-runtime.cdi"}, True),
        ({"path": "/usr/bin/runc"}, False),
        ("nonsense", False),
        (None, False),
    ],
)
def test_the_runtime(entry, kept):
    present = {} if entry is None else {"runtimes": {"nvidia": entry}}
    assert (daemon.for_runtime(present) == {}) == kept
    assert (daemon.merge(json.dumps(present), daemon.for_runtime(present)) is None) == kept


@pytest.mark.parametrize(
    ("ours", "arguments", "twice"),
    [
        (CDI, ["-H", "fd://"], []),
        ({"registry-mirrors": []}, ["--registry-mirror=https://a"], ["registry-mirrors"]),
        ({"data-root": "/srv"}, ["--data-root", "/x"], ["data-root"]),
        ({"live-restore": True}, ["--live-restore"], ["live-restore"]),
    ],
)
def test_a_key_that_is_an_option_too(ours, arguments, twice):
    assert daemon.conflicts(ours, arguments) == twice
