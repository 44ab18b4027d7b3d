# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends with a message when the vLLM of this environment does not know one of the variables named on the command line.

vLLM itself only logs a warning about a variable it does not know, so a misspelt one would go unnoticed.
Its list is read and not imported: that would take seconds.
"""

from __future__ import annotations

import glob
import os
import re
import sys


def main() -> None:
    pattern = os.path.join(sys.prefix, "lib", "python*", "site-packages", "vllm", "envs.py")
    with open(glob.glob(pattern)[0], encoding="utf-8") as stream:
        known = set(re.findall(r'"(VLLM_[A-Z0-9_]+)"', stream.read()))
    unknown = [name for name in sys.argv[1:] if name not in known]
    if unknown:
        sys.exit("this version of vLLM does not know %s: check the spelling in vllm_environment and in environment "
                 "of the instance, or leave it out" % ", ".join(unknown))  # fmt: skip


main()
