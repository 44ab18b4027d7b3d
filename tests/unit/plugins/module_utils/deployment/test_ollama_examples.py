# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pages and the example inventories say for Ollama is what the role takes."""

from __future__ import annotations

import importlib
import pathlib
import re

import pytest
import yaml

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama_service as service

ROOT = pathlib.Path(__file__).resolve().parents[5]
ROLE = ROOT / "roles/ollama"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
KNOWN = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
PAGES = [ROLE / "README.md", ROOT / "README.md"]
VARS = yaml.safe_load((ROLE / "vars/main.yml").read_text())


class Loader(yaml.SafeLoader):
    """YAML as Ansible reads it."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def examples():
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            found.append(pytest.param(yaml.load(text, Loader), id="%s-%d" % (page.parent.name, number)))
    for path in sorted((ROOT / "inventories").rglob("*.yml")):  # ansible-test has none
        found.append(pytest.param(yaml.load(path.read_text(), Loader), id=str(path.relative_to(ROOT))))
    return found


def found_in(node, wanted):
    """Dictionaries anywhere in an example that have a key which begins so."""
    if isinstance(node, dict):
        if any(str(key).startswith(wanted) for key in node):
            yield node
        for value in node.values():
            yield from found_in(value, wanted)
    elif isinstance(node, list):
        for value in node:
            yield from found_in(value, wanted)


def handed_on(name, variables):
    """One of the role's dictionaries, as its vars make it of the variables."""
    named = {key: re.fullmatch(r"{{ (ollama_\w+) }}", str(text)) for key, text in VARS[name].items()}
    return {key: variables[match[1]] if match else None for key, match in named.items()}


def test_every_variable_is_described():
    assert set(DEFAULTS) == set(KNOWN)


@pytest.mark.parametrize("example", examples())
def test_variables(example):
    for given in found_in(example, "ollama_"):
        given = {key: value for key, value in given.items() if key.startswith("ollama_")}
        assert set(given) <= set(KNOWN)
        variables = dict(DEFAULTS, **given)
        read = service.read_service(handed_on("_ollama_wanted", variables))
        assert read["problems"] == []
        assert service.problems(read, handed_on("_ollama_role", variables)) == []


@pytest.mark.parametrize("example", examples())
def test_modules(example):
    for task in found_in(example, "gpufleet.llm.ollama_"):
        name = next(key for key in task if key.startswith("gpufleet.llm.ollama_"))
        module = importlib.import_module("ansible_collections.gpufleet.llm.plugins.modules." + name.rpartition(".")[2])
        options = yaml.safe_load(module.DOCUMENTATION)["options"]
        assert set(task[name]) <= set(options)
        assert {key for key, option in options.items() if option.get("required")} <= set(task[name])
