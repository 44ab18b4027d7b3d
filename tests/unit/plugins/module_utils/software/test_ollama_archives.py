# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import ollama_archives, sums
from ansible_collections.gpufleet.llm.plugins.module_utils.software.ollama_archives import Version

A, B = "a" * 64, "B" * 64


def test_versions_in_their_order():
    texts = ["0.9.0", "0.10.0", "0.33.0-rc2", "0.33.0-rc10", "0.33.0", "1.0.0-rc0"]
    assert [str(version) for version in sorted(map(Version.parse, reversed(texts)))] == texts
    assert str(Version.parse("v0.32.15")) == "0.32.15"


@pytest.mark.parametrize(
    "text", ["", "v", "latest", "0.32", "0.32.15.1", "0.032.1", "0.32.15-rc", "0.32.15-beta1", "0.32.15 ", "../0.1.2", "٠.1.2", "vv0.1.2"]
)
def test_what_is_no_version(text):
    with pytest.raises(GpufleetError, match="is not a version of Ollama"):
        Version.parse(text)


@pytest.mark.parametrize(
    "version, arch, addon, name",
    [
        ("0.32.15", "amd64", None, "ollama-linux-amd64.tar.zst"),
        ("0.14.0", "arm64", "jetpack6", "ollama-linux-arm64-jetpack6.tar.zst"),
        ("0.14.0-rc1", "amd64", "rocm", "ollama-linux-amd64-rocm.tar.zst"),
        ("0.13.5", "amd64", None, "ollama-linux-amd64.tgz"),
    ],
)
def test_names(version, arch, addon, name):
    assert ollama_archives.file_names(Version.parse(version), arch, addon)[0] == name


@pytest.mark.parametrize(
    "machine, arch", [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", None), ("riscv64", None), ("ppc64le", None)]
)
def test_machines(monkeypatch, machine, arch):
    monkeypatch.setattr(ollama_archives.platform, "machine", lambda: machine)
    assert ollama_archives.architecture("arm64") == "arm64"
    if arch:
        assert ollama_archives.architecture("auto") == arch
    else:
        with pytest.raises(GpufleetError, match="this host is %s, and Ollama publishes" % machine):
            ollama_archives.architecture("auto")


@pytest.mark.parametrize(
    "name, is_directory, library",
    [
        ("bin/ollama", False, None),
        ("lib/ollama", True, None),
        ("lib/ollama/llama-server", False, None),
        ("lib/ollama/cuda_v13", True, "cuda_v13"),
        ("lib/ollama/cuda_v13/libcublas.so.13", False, "cuda_v13"),
        ("lib/ollama/cuda_v13/deep/er", False, "cuda_v13"),
        ("lib/other/cuda_v13/x", False, None),
        ("include/x/y/z", False, None),
    ],
)
def test_libraries(name, is_directory, library):
    assert ollama_archives.library_of(name, is_directory) == library


@pytest.mark.parametrize(
    "names, found", [([], None), (["all"], None), (["none"], []), (["vulkan", "cuda_v13", "vulkan"], ["cuda_v13", "vulkan"])]
)
def test_wished_libraries(names, found):
    assert ollama_archives.libraries_of(names) == found


def test_sums():
    text = "%s  ./x.tar.zst\n\n# a comment\n%s *y.tgz\r\n%s  name with blanks\n" % (A, B, A)
    assert sums.parse(text, "list") == {"x.tar.zst": A, "y.tgz": B.lower(), "name with blanks": A}


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "list is not a list of sha256 sums; it begins with ''"),
        ("<html>log in", "it begins with '<html>log in'. A proxy or a login page"),
        ("%s  ./x\n%s  x\n" % (A, B), "list has two different sums for x"),
        ("%s  ./x\n" % A[1:], "is not a list"),
    ],
)
def test_lists_that_are_none(text, message):
    with pytest.raises(GpufleetError) as failure:
        sums.parse(text, "list")
    assert message in str(failure.value)
