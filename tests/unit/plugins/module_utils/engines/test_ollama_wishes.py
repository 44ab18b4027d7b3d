# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What needs no server: Modelfiles, parameters, wishes, what is due, files."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama import due, modelfile, recipe, sources
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.ollama.wish import Wish
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.tests.unit.plugins.modules.ollama_models import write_checkpoint, write_gguf

# --- Modelfiles ---------------------------------------------------------------------------------------------------

PARSED = [
    ("FROM a", {"from": ["a"]}),
    ("  from\ta  \n\n# comment\n  # another\n", {"from": ["a"]}),
    ("FROM a\r\nSYSTEM b\r\n", {"from": ["a"], "system": "b"}),
    ("FROM a # no comment", {"from": ["a # no comment"]}),
    ("FROM a\nSYSTEM \"b\"", {"from": ["a"], "system": "b"}),
    ("FROM a\nSYSTEM \"\"\"b \"c\"\n  d\n\"\"\"", {"from": ["a"], "system": "b \"c\"\n  d\n"}),
    ("FROM a\nSYSTEM \"b\nc\"", {"from": ["a"], "system": "b\nc"}),
    ("FROM a\nTEMPLATE \"\"\"\"\"\"", {"from": ["a"], "template": ""}),
    ("FROM a\nSYSTEM b\nSYSTEM c", {"from": ["a"], "system": "c"}),
    ("FROM a\nPARAMETER  num_ctx  4096", {"from": ["a"], "parameters": {"num_ctx": "4096"}}),
    ("FROM a\nPARAMETER stop \"x y\"\nparameter stop z", {"from": ["a"], "parameters": {"stop": ["x y", "z"]}}),
    ("FROM a\nPARAMETER stop \"\n\"", {"from": ["a"], "parameters": {"stop": ["\n"]}}),
    ("FROM a\nMESSAGE User \"\"\"hi\nyou\"\"\"", {"from": ["a"], "messages": [{"role": "user", "content": "hi\nyou"}]}),
    ("FROM a\nLICENSE x\nLICENSE y", {"from": ["a"], "license": ["x", "y"]}),
    ("FROM ./a-1.gguf\nFROM ./a-2.gguf\nADAPTER l.gguf\nDRAFT d.gguf", {
        "from": ["./a-1.gguf", "./a-2.gguf"], "adapters": ["l.gguf"], "draft": ["d.gguf"]}),
    ("FROM a\nRENDERER r\nPARSER p\nREQUIRES v0.30.1-rc2", {
        "from": ["a"], "renderer": "r", "parser": "p", "requires": "v0.30.1-rc2"}),
]  # fmt: skip


@pytest.mark.parametrize("text, expected", PARSED)
def test_modelfile(text: str, expected: t.Dict[str, t.Any]) -> None:
    assert modelfile.parse(text, "M") == expected
    assert modelfile.parse(modelfile.render(expected), "M") == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "M has no FROM line"),
        ("SYSTEM x", "M has no FROM line"),
        ("FROM", "M line 1: FROM has no value"),
        ("FROM a\nFORM b", "M line 2: FORM is no command of a Modelfile. Did you mean FROM?"),
        ("FROM a\nCOPY b", "COPY is no command of a Modelfile. It knows: ADAPTER, DRAFT, FROM,"),
        ('FROM a\nSYSTEM """b\nc', "M line 2: the quote that SYSTEM opens is never closed"),
        ("FROM a\nPARAMETER num_ctx", "M line 2: PARAMETER num_ctx has no value"),
        ("FROM a\nMESSAGE tool x", "M line 2: MESSAGE tool: the role is one of system, user, assistant"),
        ("FROM a\nREQUIRES soon", "M: REQUIRES soon: give a version such as 0.30.0"),
    ],
)
def test_modelfile_refused(text: str, message: str) -> None:
    with pytest.raises(GpufleetError) as caught:
        modelfile.parse(text, "M")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["FROM é".encode(), b"\xef\xbb\xbf" + "FROM é".encode(), b"\xff\xfe" + "FROM é".encode("utf-16-le"),
     b"\xfe\xff" + "FROM é".encode("utf-16-be")],
)  # fmt: skip
def test_encodings(content: bytes) -> None:
    assert modelfile.decode(content, "M") == "FROM é"


def test_no_text_is_no_modelfile() -> None:
    with pytest.raises(GpufleetError, match="M is not a Modelfile: it is no utf-8 text"):
        modelfile.decode(b"GGUF\x03\xff\xfe", "M")


# --- wishes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": ""}, "name='' names no model"),
        ({"name": "a/b/c/d"}, "namespace|names no model"),
        ({"name": "gpt-oss:120b-cloud"}, "name=gpt-oss:120b-cloud is a model of Ollama's cloud"),
        ({"name": "x", "from": "big:cloud"}, "from=big:cloud is a model of Ollama's cloud"),
        ({"name": "x:local"}, "takes :local for a sign"),
        ({"name": "x", "state": "here"}, "state=here: give one of absent, latest"),
        ({"name": "x", "from": "a", "gguf": ["/a.gguf"]}, "from and gguf are both given for x:latest"),
        ({"name": "x", "from": "X:latest"}, "from=X:latest is the model itself"),
        ({"name": "x", "parameters": {"num_ctx": 1}}, "parameters is given for x:latest and nothing to start from"),
        ({"name": "x", "quantize": "q8_0"}, "quantize is given for x:latest and nothing to start from"),
        ({"name": "x", "from": "a", "parameters": {"num_ctx": "many"}}, "parameters.num_ctx=many: give a whole number"),
        ({"name": "x", "from": "a", "parameters": {"num_ctxx": 1}}, "is no parameter of Ollama. Did you mean num_ctx?"),
        ({"name": "x", "from": "a", "parameters": {"zzz": 1}}, "parameters.zzz=1 is no parameter of Ollama. It knows:"),
        ({"name": "x", "from": "a", "parameters": {"numa": True}}, "parameters.numa=True: Ollama has removed this"),
        ({"name": "x", "from": "a", "parameters": {"tfs_z": 1}}, "parameters.tfs_z=1: Ollama has removed this"),
        ({"name": "x", "from": "a", "parameters": {"stop": ["a", ""]}}, "parameters.stop=.*none of them empty"),
        ({"name": "x", "from": "a", "parameters": {"temperature": "hot"}}, "parameters.temperature=hot: give a number"),
        ({"name": "x", "from": "a", "parameters": {"use_mmap": "maybe"}}, "parameters.use_mmap=maybe"),
        ({"name": "x", "from": "a", "parameters": ["num_ctx"]}, "give a dictionary"),
        ({"name": "x", "from": "a", "quantize": "Q5_K_M"}, "quantize=Q5_K_M: Ollama can make F32, F16, BF16, Q8_0"),
        ({"name": "x", "from": "a", "messages": [{"role": "tool", "content": ""}]}, "messages.1.=.*give role"),
        ({"name": "x", "gguf": ["tiny.gguf"]}, "gguf=tiny.gguf: give an absolute path"),
        ({"name": "x", "modelfile": "Modelfile"}, "modelfile=Modelfile: give an absolute path"),
        ({"name": "x", "digest": "abc"}, "digest=abc: give the sha256 of the manifest"),
        ({"name": "x", "digest": "0" * 64, "from": "a"}, "pins a model that is pulled"),
        ({"name": "x", "digest": "0" * 64, "state": "latest"}, "state=latest wants another"),
        ({"name": "x", "gguf": ["/a"], "state": "latest"}, "state=latest asks the registry .* created from gguf"),
        ({"name": "x", "keep_alive": "1d"}, "keep_alive=1d: give a duration .* write 24h"),
        ({"name": "x", "keep_alive": 0, "state": "loaded"}, "keep_alive=0 with state=loaded"),
    ],
)
def test_wishes_refused(options: t.Dict[str, t.Any], message: str) -> None:
    with pytest.raises(GpufleetError, match=message):
        due.reasons(options, [], [], None, {})


def test_spellings_are_one_wish() -> None:
    first = {
        "name": "x",
        "from": "a",
        "parameters": {"num_ctx": "4096", "stop": "b"},
        "quantize": "q4_k",
        "license": "c",
    }
    other = {"name": "X:latest", "from": "a:latest", "parameters": {"stop": ["b"], "num_ctx": 4096},
             "quantize": "Q4_K_M", "license": ["c"], "system": "", "gguf": []}  # fmt: skip
    assert Wish.parse(first).content == Wish.parse(other).content
    assert Wish.parse({"name": "x", "digest": "SHA256:" + "A" * 64}).digest == "a" * 64


# --- due -----------------------------------------------------------------------------------------------------------

ONE, TWO = "1" * 64, "2" * 64
FILE = {"size": 5, "mtime_ns": 6, "inode": 7}
RECORD = {
    "models": {
        "registry.ollama.ai/library/x:latest": {
            "digest": ONE, "content": {"gguf": ["/a.gguf"], "parameters": {"num_ctx": 4096}},
            "files": {"/a.gguf": dict(FILE, sha256="s")}, "base": None,
        },
        "registry.ollama.ai/library/y:latest": {
            "digest": ONE, "content": {"from": "b:latest"}, "files": {}, "base": {"name": "b:latest", "digest": TWO},
        },
        "registry.ollama.ai/library/p:latest": {"digest": ONE, "content": {}, "files": {}, "base": None},
    }
}  # fmt: skip
TAGS = [{"name": "%s:latest" % name, "digest": ONE} for name in "xypu"] + [{"name": "b:latest", "digest": TWO}]
MADE = {"name": "x", "gguf": ["/a.gguf"], "parameters": {"num_ctx": 4096}}
AGES = {"for ever": "2318-01-01T00:00:00.123456789Z", "a while": "2026-01-01T00:00:00.123456789+01:00"}


@pytest.mark.parametrize(
    "wish, change, expected",
    [
        ({"name": "new"}, {}, ["it is not there"]),
        ({"name": "u"}, {}, []),  # pulled by somebody, and nothing but the name is asked
        ({"name": "U:LATEST"}, {}, []),
        ({"name": "u", "digest": ONE[:12]}, {}, []),
        ({"name": "u", "digest": TWO}, {}, ["its digest is 111111111111, not 222222222222"]),
        ({"name": "u", "from": "b"}, {}, ["nothing is recorded of what it was made from"]),
        ({"name": "u", "state": "latest"}, {}, ["state=latest asks its registry"]),
        ({"name": "p"}, {}, []),
        ({"name": "x"}, {}, ["gguf is /a.gguf, not unset", "parameter num_ctx is 4096, not unset"]),
        (MADE, {}, []),
        (MADE, {"sources": {}}, []),  # the file is gone, the model is there
        (MADE, {"sources": {"/a.gguf": FILE, "/of/another/model.gguf": FILE}}, []),
        (MADE, {"sources": {"/a.gguf": dict(FILE, mtime_ns=8)}}, ["/a.gguf has changed"]),
        (MADE, {"digest": TWO},
         ["its digest is 222222222222, and 111111111111 was recorded: it was changed by somebody else"]),
        (dict(MADE, parameters={"num_ctx": 8192, "top_k": 1}), {},
         ["parameter num_ctx is 4096, not 8192", "parameter top_k is unset, not 1"]),
        (dict(MADE, system="s"), {}, ["system differs"]),
        (dict(MADE, quantize="Q8_0"), {}, ["quantize is unset, not Q8_0"]),
        ({"name": "y", "from": "b"}, {}, []),
        ({"name": "y", "from": "b"}, {"base": ONE}, ["b:latest, which it was made from, is now 111111111111"]),
        ({"name": "x", "state": "absent"}, {}, ["it is there"]),
        ({"name": "new", "state": "absent"}, {}, []),
        ({"name": "u", "state": "unloaded"}, {}, []),
        ({"name": "p", "state": "unloaded"}, {"loaded": "a while"}, ["it is loaded"]),
        ({"name": "u", "state": "loaded"}, {}, ["it is not loaded"]),
        ({"name": "p", "state": "loaded"}, {"loaded": "a while"}, []),
        ({"name": "p", "state": "loaded", "keep_alive": "24h"}, {"loaded": "a while"}, []),
        ({"name": "p", "state": "loaded", "keep_alive": -1}, {"loaded": "a while"}, ["it is loaded and not for ever"]),
        ({"name": "p", "state": "loaded", "keep_alive": -1}, {"loaded": "for ever"}, []),
        ({"name": "p", "state": "loaded", "keep_alive": "5m"}, {"loaded": "for ever"}, ["it is loaded for ever"]),
        ({"name": "p", "state": "loaded", "digest": ONE}, {"loaded": "a while", "loaded_digest": TWO},
         ["what is loaded is an older one of that name"]),
    ],
)  # fmt: skip
def test_due(wish: t.Dict[str, t.Any], change: t.Dict[str, t.Any], expected: t.List[str]) -> None:
    tags = [dict(one) for one in TAGS]
    tags[0]["digest"] = change.get("digest", ONE)
    tags[4]["digest"] = change.get("base", TWO)
    loaded = []
    if "loaded" in change:
        digest = change.get("loaded_digest", ONE)
        loaded = [{"name": "p:latest", "digest": digest, "expires_at": AGES[change["loaded"]]}]
    found = change.get("sources", {"/a.gguf": FILE})
    assert due.reasons(wish, tags, loaded, RECORD, found) == expected


def test_files_that_decide(tmp_path: Path) -> None:
    assert due.files_of({"name": "x"}) == []
    assert due.files_of({"name": "x", "gguf": ["/m/a-00002-of-00002.gguf"], "adapters": ["/l"]}) == [
        "/l", "/m/a-00001-of-00002.gguf", "/m/a-00002-of-00002.gguf"]  # fmt: skip
    assert due.files_of({"name": "x", "modelfile": "/m/M"}, RECORD) == ["/a.gguf", "/m/M"]
    write_checkpoint(tmp_path / "c")
    (tmp_path / "c" / "README.md").write_text("")
    found = sources.look([str(tmp_path / "c"), str(tmp_path / "none")])
    assert sorted(os.path.basename(path) for path in found) == ["config.json", "model.safetensors", "tokenizer.json"]
    wish = {"name": "x", "safetensors": str(tmp_path / "c")}
    entry = {"digest": ONE, "content": {"safetensors": str(tmp_path / "c")}, "files": found, "base": None}
    record = {"models": {"registry.ollama.ai/library/x:latest": entry}}
    assert due.reasons(wish, TAGS, [], record, found) == []
    (tmp_path / "c" / "model-2.safetensors").write_text("")
    again = sources.look([str(tmp_path / "c")])
    assert due.reasons(wish, TAGS, [], record, again) == ["%s/c/model-2.safetensors is new" % tmp_path]


# --- files ---------------------------------------------------------------------------------------------------------


def read(version: str = "0.33.0", **options: t.Any) -> recipe.Recipe:
    return recipe.read(Wish.parse(dict({"name": "x"}, **options)), version)


def test_a_split_set_is_completed(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "a.gguf", split=3)
    for named in (first, first.replace("00001-of", "00002-of"), str(tmp_path)):
        assert [one.name for one in read(gguf=[named]).files] == [
            "a-0000%d-of-00003.gguf" % number for number in (1, 2, 3)
        ]
    text = "".join("FROM ./a-0000%d-of-00003.gguf\n" % number for number in (1, 2, 3))
    (tmp_path / "Modelfile").write_text(text)
    assert len(read(modelfile=str(tmp_path / "Modelfile")).files) == 3


def test_models_of_files(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf")
    write_gguf(tmp_path / "mmproj.gguf", architecture="clip")
    assert [one.name for one in read(gguf=[str(tmp_path)]).files] == ["a.gguf", "mmproj.gguf"]
    folder = write_checkpoint(tmp_path / "c", **{"notes.txt": ""})
    (tmp_path / "c" / "1_Pooling").mkdir()
    (tmp_path / "c" / "1_Pooling" / "config.json").write_text("{}")
    wanted = ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json"]
    assert [one.name for one in read(safetensors=folder).files] == wanted
    (tmp_path / "Modelfile").write_text("FROM c\nPARAMETER top_k 3\nPARAMETER top_p 0.5\n")
    made = read(modelfile=str(tmp_path / "Modelfile"), parameters={"top_k": 4}, quantize="Q8_0")
    assert [one.name for one in made.files] == wanted
    assert made.fields == {"parameters": {"top_k": 4, "top_p": 0.5}, "quantize": "Q8_0"}
    assert read(modelfile_content="FROM llama3\n").base.short == "llama3:latest"


def _cut(path: str) -> str:
    os.truncate(path, os.stat(path).st_size - 100)
    return path


def _renamed(path: str) -> str:
    os.rename(path, path.replace("-00001-of-00002", ""))
    return path.replace("-00001-of-00002", "")


def _without_second(path: str) -> str:
    os.unlink(path.replace("00001-of", "00002-of"))
    return path


def _two_models(path: str) -> str:
    write_gguf(Path(path).parent / "other.gguf")
    return os.path.dirname(path)


@pytest.mark.parametrize(
    "make, options, message",
    [
        (lambda path: path + "x", {}, "gguf=.*ax?.ggufx does not exist on this host"),
        (_cut, {}, "gguf=.* is cut off: .* of at least .* bytes"),
        (lambda path: write_checkpoint(Path(path).parent / "c") + "/config.json", {}, "is not a GGUF file"),
        (lambda path: write_checkpoint(Path(path).parent / "c"), {}, "is a directory without a .gguf file"),
        (_two_models, {}, "holds several models .a.gguf, other.gguf.: name the file"),
        (_without_second, {"split": 2}, "of the split set, 1 of 2 files are missing: .*/a-00002-of-00002.gguf"),
        (_renamed, {"split": 2}, "is file 1 of a set of 2 and was renamed: the names must end in -00001-of-00002.gguf"),
        (
            lambda path: path,
            {"file_type": "Q8_0", "quantize": "Q4_K_M"},
            "is quantized already .Q8_0., and Ollama quantizes",
        ),
        (
            lambda path: path,
            {"split": 2, "version": "0.24.0"},
            "Ollama 0.24.0 takes no split GGUF, 0.30.0 is the first",
        ),
    ],
)
def test_files_refused(tmp_path: Path, make: t.Callable[[str], str], options: t.Dict[str, t.Any], message: str) -> None:
    own = {key: options[key] for key in ("split", "file_type") if key in options}
    path = make(write_gguf(tmp_path / "a.gguf", **own))
    more = {key: value for key, value in options.items() if key not in own}
    with pytest.raises(GpufleetError, match=message):
        read(gguf=[path], **more)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"safetensors": "/none/such"}, "safetensors=/none/such does not exist on this host"),
        ({"modelfile": "/none/Modelfile"}, "modelfile=/none/Modelfile cannot be read: No such file or directory"),
        ({"modelfile": "/"}, "modelfile=/ cannot be read: Is a directory"),
        ({"modelfile_content": "FROM ./a.gguf"}, "modelfile_content: FROM ./a.gguf: give an absolute path"),
        ({"modelfile_content": "FROM ~/a.gguf"}, "modelfile_content: FROM ~/a.gguf: give an absolute path"),
        ({"modelfile_content": "FROM /none/a.gguf"}, "FROM=/none/a.gguf does not exist on this host"),
        ({"modelfile_content": "FROM x"}, "FROM x is the model itself"),
        ({"modelfile_content": "FROM a\nFROM b"}, "only files can be named in several FROM lines"),
        (
            {"modelfile_content": "FROM a\nPARAMETER numctx 5"},
            "PARAMETER.numctx=5 is no parameter of Ollama. Did you mean num_ctx",
        ),
        ({"modelfile_content": "FROM a\nREQUIRES 0.40.0"}, "REQUIRES 0.40.0: the server has Ollama 0.33.0"),
        ({"from": "a", "adapters": ["/none/l.gguf"]}, "adapters=/none/l.gguf does not exist"),
    ],
)
def test_recipes_refused(options: t.Dict[str, t.Any], message: str) -> None:
    with pytest.raises(GpufleetError, match=message):
        read(**options)


@pytest.mark.parametrize(
    "breaks, message",
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.*safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "model.safetensors").write_text(""), "is empty. Download it again"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "m-9.safetensors"}}'),
         "is not whole: model.safetensors.index.json names m-9.safetensors"),
    ],
)  # fmt: skip
def test_checkpoints_refused(tmp_path: Path, breaks: t.Callable[[Path], t.Any], message: str) -> None:
    folder = write_checkpoint(tmp_path / "c")
    breaks(tmp_path / "c")
    with pytest.raises(GpufleetError, match=message):
        read(safetensors=folder)
