# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the generated parts of the documentation; with --check only say whether they are current.

The table of variables in each roles/*/README.md comes from the role's argument spec and stands between
``<!-- variables -->`` and ``<!-- /variables -->``. The plans in README.md are what the planner says for
docs/example-hardware.json, and stand between ``<!-- plan -->`` and ``<!-- refusal -->`` and their ends.
docs/model-sizes.md is written whole, by model_sizes.py, docs/refusals.md by the unit tests' cases; the tables of docs/truth.md come from tests/truth/replay.py.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
import textwrap

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins"))
sys.path.insert(0, str(ROOT / "docs"))
sys.path.insert(0, str(ROOT / "tests/truth"))
sys.path.insert(0, str(ROOT / ".ansible/collections"))
import model_sizes  # noqa: E402
import replay  # noqa: E402
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import refusal_cases  # noqa: E402
from module_utils.models.facts import facts_from_config  # noqa: E402
from module_utils.planning import vllm  # noqa: E402
from module_utils.report import plan_table  # noqa: E402

MARKED = re.compile(r"(<!-- variables -->\n).*?(<!-- /variables -->)", re.DOTALL)


def default_of(option: dict) -> str:
    if option.get("required"):
        return "required"
    value = option.get("default")
    if value is None:
        return ""
    return "`%s`" % (value if isinstance(value, str) and value else json.dumps(value))


def text_of(option: dict) -> str:
    description = option.get("description", "")
    text = " ".join(description) if isinstance(description, list) else description
    text = re.sub(r"[CVIBEMOPR]+\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", " ".join(text.split()))
    if option.get("choices"):
        text += " One of %s." % ", ".join("`%s`" % choice for choice in option["choices"])
    return text.replace("|", "\\|")


def rows(options: dict, prefix: str = "") -> list[str]:
    lines = []
    for name, option in options.items():
        kind = option.get("type", "str")
        if option.get("elements"):
            kind += " of " + option["elements"]
        lines.append("| `%s%s` | %s | %s | %s |" % (prefix, name, kind, default_of(option), text_of(option)))
        lines += rows(option.get("options") or {}, prefix + name + ("[]." if kind.startswith("list") else "."))
    return lines


def table(spec: dict) -> str:
    return "\n".join(["| variable | type | default | meaning |", "|---|---|---|---|"] + rows(spec.get("options") or {})) + "\n"


def plans() -> dict[str, str]:
    """The two examples of README.md: one that fits, one that does not."""
    hardware = json.loads((ROOT / "docs/example-hardware.json").read_text())
    config = json.loads((ROOT / "tests/truth/vector_configs.json").read_text())["Qwen2.5-32B"]
    model = facts_from_config(config)
    model["source"] = "Qwen/Qwen2.5-32B"
    one_card = dict(hardware, accelerators=hardware["accelerators"][:1])
    fits = vllm.make_plan(hardware, model, {"context": "32K"})
    refused = vllm.make_plan(one_card, model, {"context": "32K"})["refusal"]
    remedies = ["  %d. %s" % (number, text) for number, text in enumerate(refused["remedies"], 1)]
    return {
        "plan": plan_table.plan_table(fits, hardware, model).rstrip(),
        "refusal": "\n".join(textwrap.wrap(refused["message"], 100) + remedies),
    }


def with_plans(readme: str) -> str:
    for name, text in plans().items():
        block = "<!-- %s -->\n```\n%s\n```\n<!-- /%s -->" % (name, text, name)
        readme = re.sub("<!-- %s -->.*?<!-- /%s -->" % (name, name), lambda match, block=block: block, readme, flags=re.DOTALL)
    return readme


def with_truth(page: str) -> str:
    for name, text in replay.blocks().items():
        block = "<!-- %s -->\n%s\n<!-- /%s -->" % (name, text, name)
        page = re.sub("<!-- %s -->.*?<!-- /%s -->" % (name, name), lambda match, block=block: block, page, flags=re.DOTALL)
    return page


def main() -> None:
    stale = []
    for readme in [ROOT / "README.md", ROOT / "docs/truth.md", *sorted(ROOT.glob("roles/*/README.md"))]:
        old = new = readme.read_text()
        if readme.name == "truth.md":
            new = with_truth(old)
        elif readme.parent == ROOT:
            new = with_plans(old)
        elif MARKED.search(old):
            specs = yaml.safe_load((readme.parent / "meta/argument_specs.yml").read_text())["argument_specs"]
            new = MARKED.sub(lambda match, specs=specs: match[1] + table(specs["main"]) + match[2], old)
        if new != old:
            stale.append(readme)
            if "--check" not in sys.argv:
                readme.write_text(new)
    for name, page in (("model-sizes.md", model_sizes.page()), ("refusals.md", refusal_cases.page())):
        path = ROOT / "docs" / name
        if not path.exists() or path.read_text() != page:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(page)
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if stale and "--check" in sys.argv:
        sys.exit("not current: %s. Run `make docs`." % names)
    print("wrote %s" % names if stale else "the documentation is current")


if __name__ == "__main__":
    main()
