# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gguf_file and gguf_info with the real llama.cpp: what it splits is merged, what it quantizes is as predicted, all of it loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.conversion import quantize, request
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.models import gguf_facts
from ansible_collections.gpufleet.llm.plugins.modules import gguf_file
from ansible_collections.gpufleet.llm.tests.llama_cpp.models import tensors_of, write_model
from ansible_collections.gpufleet.llm.tests.llama_cpp.tools import Tools, tools

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def llama() -> Tools:
    return tools()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny-F16.gguf")


def arguments(**params: t.Any) -> t.Dict[str, t.Any]:
    spec = {name: one.get("default") for name, one in gguf_file.ARGUMENT_SPEC.items()}
    return dict(spec, **{name: str(value) if isinstance(value, Path) else value for name, value in params.items()})


def run(check: bool = False, **params: t.Any) -> t.Dict[str, t.Any]:
    return request.answer(arguments(**params), check_mode=check)


def split(llama: Tools, model: Path, folder: Path, *options: str) -> t.List[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run([llama.split, *options, str(model), str(folder / "tiny")], check=True, capture_output=True)
    return sorted(folder.glob("tiny-*.gguf"))


@pytest.mark.parametrize("options", [("--split-max-tensors", "4"), ("--split-max-tensors", "4", "--no-tensor-first-split")])
def test_a_set_of_gguf_split_is_merged(llama, model, tmp_path, options):
    parts = split(llama, model, tmp_path / "set", *options)
    assert len(parts) >= 6
    result = run(source=[str(parts[2])], path=tmp_path / "merged.gguf", state="merged")
    assert (result["changed"], result["kind"], result["tensors"]) == (True, "set", 21)
    assert result["bytes"] == result["predicted_bytes"] == (tmp_path / "merged.gguf").stat().st_size
    assert tensors_of(tmp_path / "merged.gguf") == tensors_of(model)
    # llama.cpp's own merge has the same bytes after the header.
    subprocess.run([llama.split, "--merge", str(parts[0]), str(tmp_path / "theirs.gguf")], check=True, capture_output=True)
    assert tensors_of(tmp_path / "theirs.gguf") == tensors_of(tmp_path / "merged.gguf")
    ours, theirs = (gguf_facts.answer(str(tmp_path / name), False)["metadata"] for name in ("merged.gguf", "theirs.gguf"))
    assert ours == theirs
    assert llama.generate(tmp_path / "merged.gguf") == llama.generate(model) == llama.generate(parts[0])


def test_what_a_wrong_merge_would_be(llama, model, tmp_path):
    """cat of a set is a file that is refused here, and by llama.cpp."""
    parts = split(llama, model, tmp_path / "set", "--split-max-tensors", "4")
    joined = tmp_path / "cat.gguf"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(AssertionError, match="invalid split file name"):
        llama.generate(joined)
    assert gguf_facts.answer(str(joined), False)["complete"] is False
    with pytest.raises(GpufleetError, match="its name does not say so"):
        run(source=[str(joined)], path=tmp_path / "new.gguf", state="merged")


def test_pieces_are_joined_and_load(llama, model, tmp_path):
    subprocess.run(["split", "-n", "3", "-d", str(model), str(tmp_path / "tiny.gguf.")], check=True)
    result = run(source=[str(tmp_path / "tiny.gguf.00")], path=tmp_path / "tiny.gguf", state="merged")
    assert result["kind"] == "pieces"
    assert (tmp_path / "tiny.gguf").read_bytes() == model.read_bytes()
    assert llama.generate(tmp_path / "tiny.gguf") == llama.generate(model)


def test_sets_with_another_alignment_are_broken(llama, tmp_path):
    """gguf-split and gguf-py both write them so that llama.cpp reads noise, if it reads anything."""
    model = write_model(tmp_path / "wide.gguf", alignment=256)
    theirs = split(llama, model, tmp_path / "set", "--split-max-tensors", "8")
    write_model(tmp_path / "library.gguf", alignment=256, split=8)
    library = sorted(tmp_path.glob("library-*.gguf"))
    assert llama.generate(library[0]) != llama.generate(model)
    for parts in (theirs, library):
        with pytest.raises(
            GpufleetError, match="is truncated|has general.alignment=256 and .*00002-of-00003.gguf does not say so"
        ):
            run(source=[str(parts[0])], path=tmp_path / "merged.gguf", state="merged")
    with pytest.raises(GpufleetError, match="general.alignment=256: llama-quantize knows 32 only"):
        run(source=[str(model)], path=tmp_path / "q.gguf", state="quantized", type="Q8_0", llama_quantize=llama.quantize)
    # What is refused here would not have worked.
    subprocess.run([llama.quantize, str(model), str(tmp_path / "x.gguf"), "Q8_0"], capture_output=True, check=False)
    assert gguf_facts.answer(str(tmp_path / "x.gguf"), False)["complete"] is False


TYPES = [name for name in quantize.FILE_TYPE_NAMES if name not in (*quantize.NEED_IMATRIX, "IQ3_XS")]


@pytest.mark.parametrize("name", TYPES)
def test_every_type_is_as_large_as_predicted_and_loads(llama, model, tmp_path, name):
    path = tmp_path / "q.gguf"
    wish = {"source": [str(model)], "path": path, "state": "quantized", "type": name, "llama_quantize": llama.quantize}
    planned = run(check=True, **wish)
    assert planned["changed"] and not list(tmp_path.iterdir())
    result = run(**wish)
    assert result["bytes"] == path.stat().st_size == planned["predicted_bytes"]
    found = gguf_facts.answer(str(path), False)
    assert (found["complete"], found["file_type"]) == (True, name)
    llama.generate(path)
    assert run(**wish)["changed"] is False


def test_options_reach_llama_quantize(llama, model, tmp_path):
    result = run(
        source=[str(model)], path=tmp_path / "q.gguf", state="quantized", type="Q4_K_M", llama_quantize=llama.quantize, threads=1,
        output_tensor_type="q8_0", token_embedding_type="Q5_0", tensor_types=[r"blk\.1\.ffn_down=q6_k"],
    )  # fmt: skip
    assert result["bytes"] == result["predicted_bytes"]
    kinds = {name: kind for name, (kind, _shape, _data) in tensors_of(tmp_path / "q.gguf").items()}
    assert (kinds["output.weight"], kinds["token_embd.weight"], kinds["blk.1.ffn_down.weight"]) == ("Q8_0", "Q5_0", "Q6_K")
    run(
        source=[str(model)],
        path=tmp_path / "pure.gguf",
        state="quantized",
        type="Q4_K_M",
        llama_quantize=llama.quantize,
        pure=True,
    )
    assert {kind for kind, _shape, _data in tensors_of(tmp_path / "pure.gguf").values()} == {"F32", "Q4_K"}


def imatrix_of(model: Path, path: Path) -> None:
    """What llama-imatrix writes, of ones: sums and counts of every matrix."""
    import gguf
    import numpy

    writer = gguf.GGUFWriter(str(path), "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["none"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 64)
    for one in gguf.GGUFReader(str(model)).tensors:
        if len(one.shape) > 1:
            writer.add_tensor(one.name + ".in_sum2", numpy.ones((1, int(one.shape[0])), numpy.float32))
            writer.add_tensor(one.name + ".counts", numpy.ones((1, 1), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# (The last of some models only: its dry run says so.)
@pytest.mark.parametrize("name", [*quantize.NEED_IMATRIX, "IQ3_XS"])
def test_what_few_bits_need_is_what_llama_cpp_needs(llama, model, tmp_path, name):
    with pytest.raises(GpufleetError, match="type=%s needs an importance matrix" % name):
        run(source=[str(model)], path=tmp_path / "q.gguf", state="quantized", type=name, llama_quantize=llama.quantize)
    done = subprocess.run(
        [llama.quantize, str(model), str(tmp_path / "x.gguf"), name], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "requires an imatrix" in done.stderr


@pytest.mark.parametrize("name", ["IQ2_XXS", "Q2_K_S", "IQ3_XS"])
def test_few_bits_with_an_importance_matrix(llama, model, tmp_path, name):
    imatrix_of(model, tmp_path / "m.imatrix")
    wish = {
        "source": [str(model)],
        "path": tmp_path / "q.gguf",
        "state": "quantized",
        "type": name,
        "llama_quantize": llama.quantize,
    }
    result = run(imatrix=str(tmp_path / "m.imatrix"), **wish)
    assert 0 <= result["predicted_bytes"] - result["bytes"] <= 512
    llama.generate(tmp_path / "q.gguf")
    assert run(imatrix=str(tmp_path / "m.imatrix"), **wish)["changed"] is False


def test_a_set_is_quantized_without_merging(llama, model, tmp_path):
    parts = split(llama, model, tmp_path / "set", "--split-max-tensors", "8")
    wish = {"state": "quantized", "llama_quantize": llama.quantize}
    result = run(source=[str(parts[1])], path=tmp_path / "set.gguf", type="Q5_K_M", **wish)
    assert result["bytes"] == result["predicted_bytes"]
    assert result["inputs"] == [str(part) for part in parts]
    run(source=[str(model)], path=tmp_path / "one.gguf", type="Q5_K_M", **wish)
    assert tensors_of(tmp_path / "set.gguf") == tensors_of(tmp_path / "one.gguf")
    assert gguf_facts.answer(str(tmp_path / "set.gguf"), False)["split"] is None
    parts[1].unlink()
    with pytest.raises(GpufleetError, match="tiny-00002-of-00003.gguf is missing"):
        run(source=[str(parts[0])], path=tmp_path / "set.gguf", type="Q8_0", **wish)


def test_a_set_of_one_is_quantized_as_one_file(llama, model, tmp_path):
    parts = split(llama, model, tmp_path / "set", "--split-max-tensors", "100")
    assert [part.name for part in parts] == ["tiny-00001-of-00001.gguf"]
    assert gguf_facts.answer(str(parts[0]), False)["complete"] is True
    wish = {"state": "quantized", "llama_quantize": llama.quantize, "type": "Q8_0"}
    result = run(source=[str(parts[0])], path=tmp_path / "q.gguf", **wish)
    assert result["bytes"] == result["predicted_bytes"]
    run(source=[str(model)], path=tmp_path / "one.gguf", **wish)
    assert tensors_of(tmp_path / "q.gguf") == tensors_of(tmp_path / "one.gguf")
    llama.generate(tmp_path / "q.gguf")


def test_a_quantized_model_is_not_quantized_again(llama, model, tmp_path):
    wish = {"state": "quantized", "llama_quantize": llama.quantize}
    run(source=[str(model)], path=tmp_path / "q8.gguf", type="Q8_0", **wish)
    again = dict(wish, source=[str(tmp_path / "q8.gguf")], path=tmp_path / "q4.gguf", type="Q4_0")
    with pytest.raises(GpufleetError, match=r"q8.gguf is quantized already \(Q8_0\)"):
        run(**again)
    assert not list(tmp_path.glob("*q4*"))
    result = run(allow_requantize=True, **again)
    assert result["bytes"] == result["predicted_bytes"]
    llama.generate(tmp_path / "q4.gguf")
    assert run(**again)["changed"] is False


def test_what_llama_cpp_says_is_passed_on(llama, tmp_path):
    model = write_model(tmp_path / "odd.gguf")
    model.write_bytes(model.read_bytes().replace(b"llama", b"lluma"))
    with pytest.raises(GpufleetError, match="unknown model architecture: 'lluma'"):
        run(source=[str(model)], path=tmp_path / "q.gguf", state="quantized", type="Q8_0", llama_quantize=llama.quantize)
    assert [one.name for one in tmp_path.iterdir()] == ["odd.gguf"]


def test_a_full_disk(llama, model, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
    try:
        wish = {
            "source": [str(model)],
            "path": small / "q.gguf",
            "state": "quantized",
            "type": "Q8_0",
            "llama_quantize": llama.quantize,
        }
        with pytest.raises(GpufleetError, match=r"needs 1.5 MiB \(\d+ bytes\) in .*, where \d+ bytes are free: free \d+ bytes"):
            run(**wish)
        assert not list(small.iterdir())
        # The same where it fills during the work.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(request.target, "check_room", lambda _place, _needed: None)
            with pytest.raises(GpufleetError, match=r"llama-quantize failed: .*failed to quantize: basic_ios::clear"):
                run(**wish)
            with pytest.raises(GpufleetError, match=r"m\.gguf\.new: No space left|No space left"):
                run(source=[str(part) for part in split(llama, model, tmp_path / "set", "--split-max-tensors", "8")],
                    path=small / "m.gguf", state="merged")  # fmt: skip
        assert sorted(one.name for one in small.iterdir()) == [".m.gguf.lock", ".q.gguf.lock"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_killed_while_it_quantizes(llama, model, tmp_path):
    """The program outlives the module; the next run waits for it, and makes the file."""
    slow = tmp_path / "llama-quantize"
    slow.write_text(
        '#!/bin/sh\ncase "$*" in *--dry-run*) exec %s "$@";; esac\necho $$ > %s/started\nsleep 1.5\nexec %s "$@"\n'
        % (llama.quantize, tmp_path, llama.quantize)
    )
    slow.chmod(0o755)
    wish = arguments(source=[str(model)], path=tmp_path / "q.gguf", state="quantized", type="Q4_K_M", llama_quantize=slow)
    with subprocess.Popen([sys.executable, os.path.abspath(gguf_file.__file__)], stdin=subprocess.PIPE, text=True) as process:
        process.stdin.write(json.dumps(wish))
        process.stdin.close()
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        process.kill()
    assert not (tmp_path / "q.gguf").exists()
    began = time.monotonic()
    result = request.answer(dict(wish, llama_quantize=llama.quantize), check_mode=False)
    assert time.monotonic() - began > 0.5
    assert result["changed"] and result["bytes"] == result["predicted_bytes"]
    llama.generate(tmp_path / "q.gguf")
    assert request.answer(dict(wish, llama_quantize=llama.quantize), check_mode=False)["changed"] is False


def test_a_program_that_is_no_llama_quantize(model, tmp_path):
    wish = {"source": [str(model)], "path": tmp_path / "q.gguf", "state": "quantized", "type": "Q8_0"}
    with pytest.raises(GpufleetError, match="llama-quantize --dry-run said nothing of the tensor"):
        run(llama_quantize=shutil.which("true"), **wish)
    with pytest.raises(GpufleetError, match="is not a program that can be run"):
        run(llama_quantize=str(model), **wish)
    assert not list(tmp_path.iterdir())
