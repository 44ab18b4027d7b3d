# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients of Ollama's API may count on. Runs against the stand-in, or a real server: see conftest.py."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.program import gguf_file
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.registry import Registry, tiny
from ansible_collections.gpufleet.llm.tests.stand_ins.ollama.support import Answer, call, create, push

ZERO = "sha256:" + "0" * 64
# Nobody listens on port 1.
NOWHERE = "127.0.0.1:1/library/nothing:latest"


def post(url: str, path: str, **body: t.Any) -> Answer:
    return call(url, "POST", path, body)


def listed(url: str, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    rows = call(url, "GET", "/api/tags").json["models"]
    return next((row for row in rows if row["name"] == name + ":latest"), None)


# --- general ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, path, status, body",
    [
        ("GET", "/", 200, b"Ollama is running"),
        ("HEAD", "/", 200, b""),
        ("HEAD", "/api/version", 200, b""),
        ("HEAD", "/api/tags", 200, b""),
        ("GET", "/api/pull", 405, b"405 method not allowed"),
        ("GET", "/api/nothing", 404, b"404 page not found"),
        ("POST", "/api/pull", 400, b'{"error":"missing request body"}'),
        ("POST", "/api/show", 400, b'{"error":"missing request body"}'),
    ],
)
def test_plain_answers(url, method, path, status, body):
    answer = call(url, method, path)
    assert (answer.status, answer.body) == (status, body)


def test_version(url):
    answer = call(url, "GET", "/api/version")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert set(answer.json) == {"version"} and not answer.json["version"].startswith("v")


def test_lists_are_never_null(url):
    for path in ("/api/tags", "/api/ps"):
        assert isinstance(call(url, "GET", path).json["models"], list)


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Host": "localhost:11434"}, 200),
        ({"Host": "10.1.2.3"}, 200),
        ({"Host": "anything.internal"}, 200),
        ({"Host": "ollama.example.com"}, 403),
        ({"Host": "8.8.8.8:11434"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "app://chat"}, 200),
        ({"Origin": "https://evil.example.com"}, 403),
    ],
)
def test_host_and_origin(url, headers, status):
    answer = call(url, "GET", "/api/version", **headers)
    assert answer.status == status
    assert status == 200 or answer.body == b""


def test_authorization_is_ignored(url):
    assert call(url, "GET", "/api/tags", Authorization="Bearer nonsense").status == 200


# --- blobs and create -------------------------------------------------------------------------------


def test_blobs(url, gguf):
    content = gguf + b"own"
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    path = "/api/blobs/" + digest
    assert call(url, "HEAD", "/api/blobs/sha256:abc").status == 400
    assert call(url, "HEAD", "/api/blobs/" + ZERO).status == 404
    wrong = call(url, "POST", "/api/blobs/" + ZERO, content)
    assert wrong.status == 400
    assert wrong.error == 'digest mismatch, expected "%s", got "%s"' % (ZERO, digest)
    assert call(url, "HEAD", path).status == 200, "kept under its true digest"
    assert call(url, "POST", path, b"something else").status == 200, "not read"
    assert call(url, "POST", "/api/blobs/sha256:abc", content).error == "invalid digest format"


def test_first_upload_is_201(url, name):
    content = name.encode()
    path = "/api/blobs/sha256:" + hashlib.sha256(content).hexdigest()
    first = call(url, "POST", path, content)
    assert (first.status, first.body) == (201, b"")
    assert call(url, "HEAD", path).status == 200


def test_create_from_gguf(url, name, gguf):
    answer = create(
        url, name, {"m.gguf": gguf}, parameters={"stop": ["a", "b"], "temperature": 0.5}, system="Be <brief>"
    )
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    statuses = [line["status"] for line in answer.lines]
    assert statuses[0] == "parsing GGUF" and statuses[-2:] == ["writing manifest", "success"]
    validating = [line for line in answer.lines if line["status"] == "validating GGUF model"]
    assert validating and all(line["digest"] == "0" * 19 for line in validating)
    row = listed(url, name)
    assert row is not None and len(row["digest"]) == 64
    assert row["details"]["format"] == "gguf" and row["details"]["family"] == "llama"
    shown = post(url, "/api/show", model=name).json
    assert shown["system"] == "Be <brief>"
    assert sorted(line.split() for line in shown["parameters"].splitlines()) == [
        ["stop", '"a"'], ["stop", '"b"'], ["temperature", "0.5"],
    ]  # fmt: skip
    assert shown["model_info"]["llama.block_count"] == 2
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None, "long arrays are left out"
    assert "FROM " in shown["modelfile"] and "PARAMETER temperature 0.5" in shown["modelfile"]
    verbose = post(url, "/api/show", model=name, verbose=True).json
    assert len(verbose["model_info"]["tokenizer.ggml.tokens"]) == 128


def test_create_from_a_model_merges_parameters(url, name, gguf):
    base = name + "-base"
    create(url, base, {"m.gguf": gguf}, parameters={"temperature": 0.5, "top_k": 7}, template="{{ .Prompt }}")
    try:
        answer = create(url, name, **{"from": base, "parameters": {"top_k": 9}, "stream": False})
        assert (answer.status, answer.json) == (200, {"status": "success"})
        shown = post(url, "/api/show", model=name).json
        rows = dict(line.split() for line in shown["parameters"].splitlines())
        assert rows == {"temperature": "0.5", "top_k": "9"}
        assert shown["template"] == "{{ .Prompt }}"
    finally:
        call(url, "DELETE", "/api/delete", {"model": base})


def test_messages_and_license(url, name, gguf):
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    create(url, name, {"m.gguf": gguf}, messages=messages, license=["one", "two"])
    shown = post(url, "/api/show", model=name).json
    assert shown["messages"] == messages
    assert "one" in shown["license"] and "two" in shown["license"]


def test_same_input_is_same_digest(url, name, gguf):
    digests = set()
    for _time in range(2):
        create(url, name, {"m.gguf": gguf}, system="same")
        digests.add(listed(url, name)["digest"])
    create(url, name, {"m.gguf": gguf}, system="other")
    assert len(digests) == 1 and listed(url, name)["digest"] not in digests


@pytest.mark.parametrize(
    "fields, status, message",
    [
        ({}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "", "from": "x"}, 400, "invalid model name"),
        ({"files": {"../m.gguf": ZERO}}, 400, "file path must be relative"),
        ({"files": {"/m.gguf": ZERO}}, 400, "file path must be relative"),
        ({"files": {"m.gguf": "TEXT"}}, 400, "supplied file was not in GGUF format"),
        ({"files": {"m.bin": "TEXT"}}, 400, "unknown type"),
        ({"files": {"m.gguf": "GGUF"}, "template": "{{ .Prompt"}, 400, "template error: template: :1: unclosed action"),
        ({"files": {"m.gguf": "GGUF"}, "template": "{{ if .X }}"}, 400, "template error: template: :1: unexpected EOF"),
    ],
)
def test_create_refuses(url, name, gguf, fields, status, message):
    known = {"TEXT": push(url, b"just text"), "GGUF": push(url, gguf)}
    body = dict({"model": name, "stream": False}, **fields)
    body["files"] = {path: known.get(digest, digest) for path, digest in (fields.get("files") or {}).items()}
    answer = post(url, "/api/create", **body)
    assert (answer.status, answer.error) == (status, message)
    assert listed(url, name) is None


def test_an_error_after_the_first_line_is_in_band(url, name, gguf):
    answer = create(url, name, {"m.gguf": gguf}, template="{{ end }}")
    assert answer.status == 200 and answer.complete
    assert answer.error.startswith("template error: ")
    assert listed(url, name) is None


def test_split_gguf(url, name):
    parts = {"m-%05d-of-00003.gguf" % (number + 1): part.pack() for number, part in enumerate(gguf_file.tiny(split=3))}
    assert create(url, name, parts).lines[-1] == {"status": "success"}
    assert post(url, "/api/show", model=name).json["model_info"]["general.parameter_count"] == 90432
    one = dict([next(iter(parts.items()))])
    answer = create(url, name + "-half", one, stream=False)
    assert answer.status >= 400
    assert "has 1 shards, expected 3" in answer.error


def test_quantize(url, name, gguf):
    lines = create(url, name, {"m.gguf": gguf}, quantize="q8_0").lines
    assert "quantizing F16 model to Q8_0" in [line["status"] for line in lines]
    assert listed(url, name)["details"]["quantization_level"] == "Q8_0"
    answer = create(url, name, {"m.gguf": gguf}, quantize="q5_k_m", stream=False)
    assert answer.status >= 400 and "supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0" in answer.error


# --- copy, delete, names ----------------------------------------------------------------------------


def test_copy_and_delete(url, name, gguf):
    create(url, name, {"m.gguf": gguf})
    other = name + "-copy"
    answer = post(url, "/api/copy", source=name, destination=other)
    assert (answer.status, answer.body) == (200, b"")
    assert listed(url, other)["digest"] == listed(url, name)["digest"]
    deleted = call(url, "DELETE", "/api/delete", {"name": other})
    assert (deleted.status, deleted.body) == (200, b"")
    again = call(url, "DELETE", "/api/delete", {"model": other})
    assert (again.status, again.error) == (404, "model '%s' not found" % other)
    assert post(url, "/api/show", model=name).status == 200, "what it shared is still there"


def test_lookup_ignores_case(url, name, gguf):
    create(url, name, {"m.gguf": gguf})
    assert post(url, "/api/show", model=name.upper()).status == 200


@pytest.mark.parametrize(
    "path, body, status, message",
    [
        ("/api/show", {"model": "nothing-here"}, 404, "model 'nothing-here:latest' not found"),
        ("/api/generate", {"model": "nothing-here", "prompt": "x"}, 404, "model 'nothing-here' not found"),
        ("/api/chat", {"model": "nothing-here"}, 404, "model 'nothing-here' not found"),
        ("/api/embed", {"model": "nothing-here", "input": "x"}, 404,
         'model "nothing-here" not found, try pulling it first'),
        ("/api/copy", {"source": "nothing-here", "destination": "y"}, 404, 'model "nothing-here" not found'),
        ("/api/copy", {"source": "a/b/c/d/e:/", "destination": "y"}, 400, 'source "a/b/c/d/e:/" is invalid'),
        ("/api/pull", {"model": "in valid"}, 400, "invalid model name"),
    ],
)  # fmt: skip
def test_names_that_are_not_there(url, path, body, status, message):
    answer = call(url, "POST", path, body)
    assert (answer.status, answer.error) == (status, message)


# --- pull -------------------------------------------------------------------------------------------


def test_pull_errors_come_in_band_or_as_500(url):
    streamed = post(url, "/api/pull", model=NOWHERE, insecure=True)
    assert streamed.status == 200
    assert streamed.lines[0] == {"status": "pulling manifest"}
    assert streamed.error.startswith("pull model manifest: ") and "connection refused" in streamed.error
    quiet = post(url, "/api/pull", model=NOWHERE, insecure=True, stream=False)
    assert (quiet.status, quiet.error) == (500, streamed.error)


def test_pull(url):
    with Registry() as registry:
        image = registry.add("library/gpufleet-test:latest", tiny(seed=77))
        name = registry.name("library/gpufleet-test:latest")
        lines = post(url, "/api/pull", model=name, insecure=True).lines
        try:
            statuses = [line["status"] for line in lines]
            assert statuses[0] == "pulling manifest"
            assert statuses[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
            weights = next(digest for digest, blob in image.blobs.items() if len(blob) > 100000)
            layer = [line for line in lines if line.get("digest") == weights]
            assert layer[-1]["status"] == "pulling " + weights[7:19]
            assert layer[-1]["completed"] == layer[-1]["total"] == len(image.blobs[weights])
            rows = {row["name"]: row for row in call(url, "GET", "/api/tags").json["models"]}
            assert rows[name]["digest"] == image.digest
            before, sent = rows[name]["modified_at"], registry.sent_bytes()
            again = post(url, "/api/pull", model=name, insecure=True).lines
            assert [line["status"] for line in again].count("pulling " + weights[7:19]) == 1
            assert registry.sent_bytes() == sent, "no blob is fetched twice"
            rows = {row["name"]: row for row in call(url, "GET", "/api/tags").json["models"]}
            assert rows[name]["modified_at"] > before, "a pull that changes nothing moves the time"
        finally:
            call(url, "DELETE", "/api/delete", {"model": name})


def test_pull_of_what_the_registry_does_not_have(url):
    with Registry() as registry:
        answer = post(url, "/api/pull", model=registry.name("library/none:latest"), insecure=True, stream=False)
    assert (answer.status, answer.error) == (500, "pull model manifest: file does not exist")


def test_a_plain_registry_is_not_enough(url):
    with Registry(mode="plain") as registry:
        registry.add("library/gpufleet-plain:latest", tiny(seed=78))
        name = registry.name("library/gpufleet-plain:latest")
        answer = post(url, "/api/pull", model=name, insecure=True, stream=False)
    assert answer.status == 500 and "http: no Location header in response" in answer.error


# --- generate, chat, embed --------------------------------------------------------------------------


def test_generate_streams(url, loadable):
    answer = post(
        url, "/api/generate", model=loadable, prompt="What is the capital of France?", options={"num_predict": 3}
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    *tokens, last = answer.lines
    assert tokens and not any(line["done"] for line in tokens)
    assert last["done"] is True and last["done_reason"] in ("stop", "length")
    assert last["eval_count"] > 0 and last["total_duration"] > last["load_duration"] > 0


def test_generate_at_once(url, loadable):
    answer = post(url, "/api/generate", model=loadable, prompt="Hello", stream=False, options={"num_predict": 2})
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["done"] is True and answer.json["response"]


def test_chat(url, loadable):
    messages = [{"role": "user", "content": "Hello"}]
    answer = post(url, "/api/chat", model=loadable, messages=messages, stream=False, options={"num_predict": 2})
    assert answer.json["message"]["role"] == "assistant" and answer.json["message"]["content"]


@pytest.mark.parametrize("path, key", [("/api/generate", "response"), ("/api/chat", "message")])
def test_load_and_unload(url, loadable, path, key):
    loaded = post(url, path, model=loadable, keep_alive=-1)
    assert loaded.headers["content-type"].startswith("application/json"), "no stream, though stream is true"
    assert (loaded.json["done"], loaded.json["done_reason"]) == (True, "load") and key in loaded.json
    row = next(row for row in call(url, "GET", "/api/ps").json["models"] if row["name"].startswith(loadable))
    assert row["expires_at"][:4] > "2200" and row["size"] >= row["size_vram"] >= 0 and row["context_length"] > 0
    assert post(url, path, model=loadable, keep_alive=0).json["done_reason"] == "unload"
    assert not any(row["name"].startswith(loadable) for row in call(url, "GET", "/api/ps").json["models"])


@pytest.mark.parametrize("keep_alive, status", [("-1m", 200), (-1, 200), ("24h", 200), (300, 200), ("-1", 400)])
def test_keep_alive(url, loadable, keep_alive, status):
    assert post(url, "/api/generate", model=loadable, keep_alive=keep_alive).status == status


def test_embed(url, loadable):
    answer = post(url, "/api/embed", model=loadable, input=["one", "two"]).json
    assert len(answer["embeddings"]) == 2 and answer["embeddings"][0] != answer["embeddings"][1]
    assert post(url, "/api/embed", model=loadable, input=[]).json["embeddings"] == []


# --- as OpenAI's ------------------------------------------------------------------------------------


def test_openai_errors(url):
    answer = post(url, "/v1/chat/completions", model="nothing-here", messages=[{"role": "user", "content": "x"}])
    assert answer.status == 404
    assert answer.json == {
        "error": {"message": "model 'nothing-here' not found", "type": "not_found_error", "param": None, "code": None}
    }


def test_openai_stream(url, loadable):
    answer = post(
        url, "/v1/chat/completions", model=loadable, messages=[{"role": "user", "content": "Hello"}], stream=True,
        max_tokens=2,
    )  # fmt: skip
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.body.decode().strip().split("\n\n")
    assert all(event.startswith("data: ") for event in events) and events[-1] == "data: [DONE]"
    assert '"role":"assistant"' in events[0]
    assert '"finish_reason":"' in events[-2]
