# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nvidia-container-runtime in its mode auto, which since 1.18 makes the edits of CDI itself and then runs runc."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import sys


def bundle(words):
    for place, word in enumerate(words):
        if word in ("--bundle", "-b"):
            return words[place + 1]
        if word.startswith("--bundle="):
            return word.partition("=")[2]
    return "."


def edit(path):
    with open(path, encoding="utf-8") as stream:
        spec = json.load(stream)
    variables = dict(pair.partition("=")[::2] for pair in spec["process"].get("env", []))
    if variables.get("NVIDIA_VISIBLE_DEVICES", "void") in ("", "void", "none"):
        return
    for device in glob.glob("/dev/nvidia*"):
        if re.match(r"^/dev/nvidia\d+$", device):
            found = os.stat(device)
            entry = {"path": device, "type": "c", "major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev)}
            spec["linux"].setdefault("devices", []).append(dict(entry, fileMode=0o666, uid=0, gid=0))
    for file in ("/usr/bin/nvidia-smi", "/opt/nvidia-smi.xml"):
        if os.path.exists(file):
            spec["mounts"].append({"destination": file, "source": file, "type": "bind", "options": ["ro", "rbind"]})
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(spec, stream)


if __name__ == "__main__":
    if "create" in sys.argv:
        edit(os.path.join(bundle(sys.argv), "config.json"))
    runc = shutil.which("runc") or "runc"
    os.execv(runc, [runc, *sys.argv[1:]])
