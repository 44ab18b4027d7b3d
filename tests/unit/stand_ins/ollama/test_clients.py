# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The official clients work with the server: Ollama's own, and OpenAI's."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Registry, tiny

# The import of the two takes seconds, so it is not this module's.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ollama():
    return pytest.importorskip("ollama")


@pytest.fixture(scope="module")
def openai():
    return pytest.importorskip("openai")


@pytest.fixture(scope="module")
def own(ollama, url):
    return ollama.Client(host=url)


@pytest.fixture(scope="module")
def foreign(openai, url):
    return openai.OpenAI(base_url=url + "/v1", api_key="ignored", max_retries=0)


QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def test_ollama_create_show_copy_delete(ollama, own, name, gguf, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf)
    digest = own.create_blob(str(path))
    *_progress, last = own.create(name, files={"m.gguf": digest}, parameters={"temperature": 0.1}, stream=True)
    assert last.status == "success"
    shown = own.show(name)
    assert shown.details.family == "llama" and shown.modelinfo["llama.block_count"] == 2
    assert name + ":latest" in [model.model for model in own.list().models]
    assert own.copy(name, name + "-copy").status == "success"
    assert own.delete(name + "-copy").status == "success"
    with pytest.raises(ollama.ResponseError) as caught:
        own.delete(name + "-copy")
    assert caught.value.status_code == 404


def test_ollama_pull(ollama, own):
    with Registry() as registry:
        registry.add("library/gpufleet-client:latest", tiny(seed=79))
        name = registry.name("library/gpufleet-client:latest")
        progress = list(own.pull(name, insecure=True, stream=True))
        assert progress[-1].status == "success"
        assert any(line.total and line.completed == line.total for line in progress)
        assert own.pull(name, insecure=True).status == "success"
        own.delete(name)
        with pytest.raises(ollama.ResponseError, match="file does not exist"):
            own.pull(registry.name("library/none:latest"), insecure=True)


def test_ollama_answers(ollama, own, loadable):
    assert own.chat(loadable, QUESTION, options={"num_predict": 5}).message.content
    parts = list(own.generate(loadable, "Hello", stream=True, options={"num_predict": 3}))
    assert parts[-1].done and "".join(part.response for part in parts)
    assert len(own.embed(loadable, ["one", "two"]).embeddings) == 2
    assert own.ps().models[0].expires_at is not None
    with pytest.raises(ollama.ResponseError) as caught:
        own.chat("nothing-here", QUESTION)
    assert (caught.value.status_code, caught.value.error) == (404, "model 'nothing-here' not found")


def test_openai_answers(openai, foreign, loadable):
    assert any(model.id.startswith(loadable) for model in foreign.models.list())
    assert foreign.models.retrieve(loadable).object == "model"
    whole = foreign.chat.completions.create(model=loadable, messages=QUESTION, max_tokens=5)
    assert whole.choices[0].message.content and whole.usage.completion_tokens > 0
    stream = foreign.chat.completions.create(
        model=loadable, messages=QUESTION, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0
    assert foreign.completions.create(model=loadable, prompt="Hello", max_tokens=3).choices[0].text
    assert len(foreign.embeddings.create(model=loadable, input=["one", "two"]).data) == 2
    with pytest.raises(openai.NotFoundError, match="model 'nothing-here' not found"):
        foreign.chat.completions.create(model="nothing-here", messages=QUESTION)


@pytest.mark.stand_in
def test_the_answer(own, foreign, loadable):
    assert own.chat(loadable, QUESTION).message.content == "Paris"
    assert foreign.chat.completions.create(model=loadable, messages=QUESTION).choices[0].message.content == "Paris"
