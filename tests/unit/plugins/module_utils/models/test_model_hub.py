# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models on a hub: the real client against the hub stand-in."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.source import answer, describe_local
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.faults import Fault
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Hub
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models import builders

pytest.importorskip("huggingface_hub")
REPO = "org/small"
# Larger than one read of a header, so that a whole download would show.
PADDING = {"model.layers.0.mlp.padding.weight": ("BF16", [1024, 1024])}


def ask(hub: t.Any, **options: t.Any) -> dict:
    return answer(dict({"source": REPO, "endpoint": hub.url, "timeout": 5}, **options), lambda: None)


def test_same_facts_as_of_the_directory(hub: t.Any, tmp_path: Path) -> None:
    files = builders.sharded_files()
    commit = hub.add(REPO, files)
    remote = ask(hub)
    local = describe_local(str(builders.write(tmp_path / "copy", files)))
    assert remote["revision"] == commit
    assert remote["source"] == REPO
    assert remote["complete"] is None
    for key in set(local) - {"source", "revision", "complete"}:
        assert remote[key] == local[key], key


def test_weights_are_not_downloaded(hub: t.Any) -> None:
    files = builders.model_files(dict(builders.llama_tensors(), **PADDING))
    hub.add(REPO, files)
    assert ask(hub)["weight_bytes"]["total"] > 2 * 1024 * 1024
    weights = [one for one in hub.requests if one.path.endswith(".safetensors")]
    assert len(weights) == 1 and weights[0].status == 206
    assert sum(one.sent_bytes for one in weights) <= 256 * 1024
    assert not any(one.path.endswith("tokenizer.json") for one in hub.requests)


def test_through_a_cdn(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub", cdn=True) as hub:
        hub.add(REPO, builders.model_files())
        assert ask(hub)["parameters_source"] == "headers"
        assert hub.count(path="*", origin="cdn") == 1


def test_a_revision(hub: t.Any) -> None:
    hub.add(REPO, builders.model_files())
    commit = hub.add(REPO, builders.model_files(max_position_embeddings=99), ref="long")
    assert ask(hub)["max_position"] == 512
    assert (ask(hub, revision="long")["max_position"], ask(hub, revision="long")["revision"]) == (99, commit)
    assert ask(hub, revision=commit)["max_position"] == 99


def test_a_missing_shard(hub: t.Any) -> None:
    files = builders.sharded_files()
    del files["model-00002-of-00002.safetensors"]
    hub.add(REPO, files)
    found = ask(hub)
    assert "model-00002-of-00002.safetensors of org/small at" in found["problems"][0]
    assert found["parameters_source"] == "config"


def test_gguf_by_ranges(hub: t.Any, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.models.test_model_gguf import write

    path = tmp_path / "m.gguf"
    write(path, dtype="F16")
    hub.add(REPO, {"m-F16.gguf": path.read_bytes(), "other.gguf": b"GGUF"})
    found = ask(hub, file="m-F16.gguf")
    assert found["weight_bytes"]["total"] == describe_local(str(path))["weight_bytes"]["total"]
    with pytest.raises(GpufleetError, match="set file to one of m-F16.gguf, other.gguf"):
        ask(hub)


def test_gated(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub", gated={REPO: "hf_right"}) as hub:
        hub.add(REPO, builders.model_files())
        for token in (None, "hf_wrong"):
            with pytest.raises(GpufleetError) as caught:
                ask(hub, token=token)
            text = str(caught.value)
            assert "is gated: its licence has to be accepted at %s/%s" % (hub.url, REPO) in text
            assert "token_file" in text and "hf_wrong" not in text
        (tmp_path / "token").write_text("hf_right\n", encoding="utf-8")
        assert ask(hub, token_file=str(tmp_path / "token"))["parameters"]


def test_refusals(hub: t.Any) -> None:
    hub.add(REPO, builders.model_files())
    with pytest.raises(GpufleetError, match="has no revision 'v9': set revision to a branch, tag or commit"):
        ask(hub, revision="v9")
    with pytest.raises(GpufleetError, match="knows no model org/other, or the token does not see it"):
        ask(hub, source="org/other")


def test_a_busy_moment_is_waited_out(hub: t.Any) -> None:
    hub.add(REPO, builders.model_files())
    hub.faults.append(Fault("status", path="*.safetensors", status=503, times=1))
    assert ask(hub)["parameters_source"] == "headers"


def test_a_page_in_place_of_the_weights(hub: t.Any) -> None:
    hub.add(REPO, builders.model_files())
    hub.faults.append(Fault("html", path="*.safetensors", times=-1))
    with pytest.raises(GpufleetError, match="is not a safetensors file"):
        ask(hub)


def test_a_silent_hub_is_cut_off(hub: t.Any) -> None:
    hub.add(REPO, builders.model_files())
    hub.faults.append(Fault("stall", path="*config.json", times=-1, at=0.0, seconds=30.0))
    with pytest.raises(GpufleetError, match="did not answer in time. Raise timeout"):
        ask(hub, timeout=0.2)


def test_nobody_there() -> None:
    with pytest.raises(GpufleetError, match="Cannot reach http://127.0.0.1:9"):
        answer({"source": REPO, "endpoint": "http://127.0.0.1:9", "timeout": 2}, lambda: None)


@pytest.mark.parametrize("name", ["", "  ", "just-a-name", "a/b/c", "org/na me", "https://huggingface.co/org/name"])
def test_what_is_no_source(name: str) -> None:
    with pytest.raises(GpufleetError, match="source"):
        answer({"source": name}, lambda: None)


def test_offline_looks_into_the_cache_only(hub: t.Any) -> None:
    hub.add(REPO, builders.model_files())
    with pytest.raises(GpufleetError, match="offline is true and the hub cache of this host does not hold org/small"):
        ask(hub, offline=True)
    assert hub.requests == []


def test_token_files(tmp_path: Path, hub: t.Any) -> None:
    with pytest.raises(GpufleetError, match="token_file=.* cannot be read: No such file"):
        ask(hub, token_file=str(tmp_path / "nothing"))
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    with pytest.raises(GpufleetError, match="token_file=.* is empty"):
        ask(hub, token_file=str(tmp_path / "empty"))
