# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ollama takes for a model's name, and how it prints it (types/model/name_test.go has the same kinds of cases)."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models.ollama_names import Name

GOOD = [
    # as given, place of the manifest, as ollama list prints it
    ("llama3.2", "registry.ollama.ai/library/llama3.2/latest", "llama3.2:latest"),
    ("llama3.2:3b", "registry.ollama.ai/library/llama3.2/3b", "llama3.2:3b"),
    ("library/llama3.2:3b", "registry.ollama.ai/library/llama3.2/3b", "llama3.2:3b"),
    ("registry.ollama.ai/library/llama3.2:3b", "registry.ollama.ai/library/llama3.2/3b", "llama3.2:3b"),
    ("Registry.Ollama.AI/Library/x:y", "Registry.Ollama.AI/Library/x/y", "x:y"),
    ("team/x", "registry.ollama.ai/team/x/latest", "team/x:latest"),
    ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF/Q4_K_M",
     "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"),
    ("localhost:5000/library/x", "localhost:5000/library/x/latest", "localhost:5000/library/x:latest"),
    ("10.0.0.7:5000/a/b:c", "10.0.0.7:5000/a/b/c", "10.0.0.7:5000/a/b:c"),
    ("https://mirror.example.com/a/b:c", "mirror.example.com/a/b/c", "mirror.example.com/a/b:c"),
    ("http://localhost:5000/a/b", "localhost:5000/a/b/latest", "localhost:5000/a/b:latest"),
    ("_x:_y", "registry.ollama.ai/library/_x/_y", "_x:_y"),
    ("m" * 80 + ":" + "t" * 80, "registry.ollama.ai/library/%s/%s" % ("m" * 80, "t" * 80), None),
    ("h" * 350 + "/n/m:t", "h" * 350 + "/n/m/t", None),
]  # fmt: skip
BAD = [
    # as given, the part that is wrong
    ("", "names no model"),
    (None, "names no model"),
    (7, "names no model"),
    (":x", "model ''"),
    ("x:", "tag ''"),
    ("/x", "namespace ''"),
    ("a/", "model ''"),
    ("//x", "host ''"),
    ("a/b.c/x", "namespace 'b.c'"),
    (".hidden", "model '.hidden'"),
    ("-x", "model '-x'"),
    ("../../etc/passwd", "host '../..'"),
    ("..", "model '..'"),
    ("x:..", "tag '..'"),
    ("x:a/b:c", "namespace 'x:a'"),
    ("a/b/c/d", "host 'a/b'"),
    ("x y", "model 'x y'"),
    ("x\n", "model 'x\\n'"),
    ("x@sha256:" + "0" * 64, "model 'x@sha256'"),
    ("modèle", "model 'modèle'"),
    ("m" * 81, "at most 80"),
    ("x:" + "t" * 81, "at most 80"),
    ("n" * 81 + "/x", "at most 80"),
    ("h" * 351 + "/n/x", "at most 350"),
]


@pytest.mark.parametrize("text, path, short", GOOD)
def test_good_names(text, path, short):
    name = Name.parse(text)
    assert name.path == path
    assert name.short == str(name) == (short or text.replace("library/", ""))
    assert Name.parse(name.full) == name == Name.from_path(path)
    assert Name.parse(name.short).key == name.key


@pytest.mark.parametrize("text, said", BAD)
def test_bad_names(text, said):
    with pytest.raises(GpufleetError) as caught:
        Name.parse(text, "models[0].name")
    assert str(caught.value).startswith("models[0].name=%r names no model" % (text,))
    assert said in str(caught.value)


@pytest.mark.parametrize("path", ["a/b/c", "a/b/c/d/e", "a/b.c/d/e", "a/b/c/.DS_Store", "a/b/../d", "/a/b/c"])
def test_paths_that_are_no_names(path):
    with pytest.raises(GpufleetError):
        Name.from_path(path)


def test_case_does_not_matter_to_ollama():
    assert Name.parse("Qwen3:8B").key == Name.parse("qwen3:8b").key
    assert Name.parse("Qwen3:8B") != Name.parse("qwen3:8b")
