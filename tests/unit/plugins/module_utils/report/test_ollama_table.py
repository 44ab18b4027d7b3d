# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The printed plan of an Ollama server."""

from __future__ import annotations

import re

import pytest
from ansible_collections.gpufleet.llm.plugins.filter import plan_table as plugin
from ansible_collections.gpufleet.llm.plugins.module_utils.report import plan_table as table
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts as hosts

HOSTILE = "x\n\x1b[2J\u202egnp.exe\r\x00" + "y" * 150
CASES = {
    "gpu": ("L4", ["llama3.2-3b"], {}),
    "tight": ("2 x L4", ["llama3-70b"], {}),
    "partly": ("L4", ["llama3-70b"], {}),
    "experts": ("2 x L4", ["gpt-oss-120b"], {}),
    "cpu": (None, ["llama3.1-8b"], {}),
    "knowingly": ("L4", ["llama3.1-8b"], {"gpus": "none"}),
    "refused": ("L4", ["llama3-70b"], {"require_gpu": True}),
    "two": ("2 x L4", ["gemma3:27b", "llama3.2-3b"], {}),
    "turns": ("L4", ["gemma3:27b", "qwen3-32b"], {}),
    "hostile": ("L4", [hosts.entry("llama3.2-3b", parameters={"stop": HOSTILE[3:8]}), hosts.entry("bert")], {}),
}
CASES["hostile"][1][0]["name"] = HOSTILE


def case(name):
    spec, models, options = CASES[name]
    return hosts.plan(spec, *models, **options)


def section(text, heading):
    """The lines of the first block with this heading."""
    return next(block for block in text.split("\n\n") if block.startswith(heading)).splitlines()


@pytest.mark.parametrize(
    ("name", "verdict", "runs_on"),
    [
        ("gpu", "FITS", r"gpu +29 of 29 layers on GPU 0"),
        ("tight", "FITS, TIGHTLY", r"partly +\d+ to 81 of 81 layers on GPU 0, GPU 1"),
        ("partly", "PARTLY ON THE CPU", r"partly +39 to 40 of 81 layers on GPU 0"),
        ("experts", "PARTLY ON THE CPU", r"partly +37 of 37 layers on GPU 0, GPU 1, the experts +of 20 on the CPU"),
        ("cpu", "FITS, ON THE CPU", r"cpu\n"),
        ("knowingly", "FITS, ON THE CPU", r"cpu\n"),
        ("refused", "REFUSED", r"partly +39 to 40 of 81 layers"),
        ("two", "FITS", r"gpu +63 of 63 layers on GPU 0, GPU 1"),
    ],
)
def test_the_verdict_and_where_it_runs(name, verdict, runs_on):
    text = table.plan_table(case(name))
    assert re.match(r"\S.* on Ollama 0\.33\.0 \((cuda|cpu)\) {2,}%s$" % verdict, text.splitlines()[0])
    flat = re.sub(r"\n {20,}", " ", text)
    assert re.search(r"  Runs on +" + runs_on, flat)


def test_a_model_on_one_gpu():
    text = table.plan_table(case("gpu"), hosts.host("L4"), hosts.model("llama3.2-3b"))
    assert "3.2 B parameters, Q4_K_M | 1 x L4" in text.splitlines()
    model = section(text, "MODEL llama3.2-3b")
    assert "  Quantization     Q4_K_M" in model
    assert re.match(r"  Context +32,768 tokens x 4 requests +KV cache in f16, 112 KiB per token and request", model[2])
    assert [line[:18].strip() for line in section(text, "MEMORY, GPU 0")[1:]] == [
        "GPU runtime", "Weights", "KV cache", "Compute buffer", "Free", "Total",
    ]  # fmt: skip
    assert section(text, "ENVIRONMENT")[1:] == ["  %s=%s" % item for item in sorted(case("gpu")["environment"].items())]
    assert text.index("ENVIRONMENT") < text.index("WHY") < text.index("WARNINGS")
    assert "MEMORY OF THE HOST" not in text


@pytest.mark.parametrize("name", sorted(CASES))
def test_bars_add_up_to_the_total(name):
    for block in table.plan_table(case(name)).split("\n\n"):
        if block.startswith("MEMORY"):
            rows = [line[:29].split() for line in block.splitlines()[1:]]
            sizes = [float(row[-1]) for row in rows]
            total = [row[0] for row in rows].index("Total")
            assert sum(sizes[:total]) == pytest.approx(sizes[total], abs=0.06 * total)


def test_the_cpu_works_too():
    text = table.plan_table(case("partly"))
    assert [line[:18].strip() for line in section(text, "MEMORY OF THE HOST")[1:]] == [
        "System", "Weights", "KV cache", "Compute buffer", "Free", "Total",
    ]  # fmt: skip
    assert "MEMORY, GPU" not in table.plan_table(case("cpu"))


def test_a_refusal():
    text = table.plan_table(case("refused"))
    lines = section(text, "REFUSED: partly_on_cpu")
    assert "  What would help, cheapest first:" in lines
    assert lines[-1].startswith("  2. ") and lines[-1].endswith("more GPU memory")
    assert "ENVIRONMENT" not in text


def test_two_models_loaded_together():
    text = table.plan_table(case("two"), None, [hosts.model("gemma3:27b"), hosts.model("llama3.2-3b")])
    lines = text.splitlines()
    assert lines[0].startswith("2 models on Ollama") and lines[2] == "all loaded together | 2 x L4"
    first, second = (part.split("ENVIRONMENT")[0] for part in text.split("MODEL ")[1:])
    assert "  Projector" in first and "  Projector" not in second
    assert "Models above" not in first and "Models above" in second
    assert re.search(r"^  GPU 1, in all +20\.0   \|#+ +\|$", second, re.M)


def test_models_that_take_turns():
    text = table.plan_table(case("turns"))
    assert text.splitlines()[2] == "1 of them loaded together | 1 x L4"
    assert "Models above" not in text


def test_what_others_hold():
    busy = hosts.host("L4")
    card = busy["accelerators"][0]
    card["processes"] = [{"pid": 1, "name": "python3", "memory_bytes": 4 << 30, "unit": None}]
    card["memory_free_bytes"] -= 4 << 30
    assert re.search(r"^  Others +4\.00   \|#+ +\|$", table.plan_table(hosts.plan(busy, "llama3.2-3b")), re.M)


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("name", sorted(CASES))
def test_no_line_is_longer_than_the_width(name, width):
    spec, models, _options = CASES[name]
    facts = [item["model"] if isinstance(item, dict) else hosts.model(item) for item in models]
    text = plugin.FilterModule().filters()["plan_table"](case(name), hosts.host(spec), facts, width)
    lines = text.splitlines()
    assert "=" * width in lines
    assert max(map(len, lines)) == width
    assert all(line == line.rstrip() for line in lines)


def test_hostile_names_stay_on_their_line():
    plan = case("hostile")
    plan["numbers"]["gpus"][0]["label"] = plan["numbers"]["gpus"][0]["name"] = HOSTILE
    plan["environment"]["OLLAMA_HOST"] = HOSTILE
    text = table.plan_table(plan)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert "MODEL x??[2J?gnp.exe??yyy" in text.replace("\n  ", "")
    assert max(map(len, text.splitlines())) == 100
    assert text.isascii()
