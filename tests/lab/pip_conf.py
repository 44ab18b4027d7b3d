# SPDX-License-Identifier: GPL-3.0-or-later
"""Print this machine's pip configuration as a pip.conf for a lab host.

Local wheel directories are named once more in comment lines, ``# directory /path``: the lab mounts them.
Local (file:) indexes stay behind, and so do keys that only concern this machine.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys

KEYS = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "timeout", "retries")


def main() -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    values: dict[str, str] = {}
    # The environment overrides the files, as in pip itself.
    for line in sorted(listing.splitlines(), key=lambda line: line.startswith(":env:")):
        name, value = line.split("=", 1)
        key = name.rpartition(".")[2]
        if key in KEYS:
            values[key] = str(ast.literal_eval(value))
    print("[global]")
    directories = []
    for key, value in sorted(values.items()):
        words = [word for word in value.split() if not word.startswith("file:")]
        directories += [word for word in words if key == "find-links" and os.path.isdir(word)]
        if words:
            print("%s = %s" % (key, "\n    ".join(words)))
    for directory in directories:
        print("# directory %s" % directory)


if __name__ == "__main__":
    main()
