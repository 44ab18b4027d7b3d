# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take the pictures in docs/images: run the playbook plan on an example fleet and photograph what it leaves.

    .venv-2.19/bin/python docs/pictures/make.py

Needs chromium (Debian: apt install --no-install-recommends chromium fonts-dejavu-core). Not a part of the tests.
"""

from __future__ import annotations

import html
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "plugins"))
from module_utils.planning import gpus  # noqa: E402

CONFIGS = json.loads((ROOT / "tests/truth/vector_configs.json").read_text())
MODELS = {"Qwen/Qwen2.5-32B": "Qwen2.5-32B", "mistralai/Mixtral-8x7B-v0.1": "Mixtral-8x7B"}
BROWSER = ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
TERMINAL = (
    "<!DOCTYPE html><meta charset='utf-8'><style>body{margin:0;background:#12161c;color:#dbe2ea}"
    "pre{margin:0;padding:18px 22px;font:13px/1.38 'DejaVu Sans Mono',monospace}</style><pre>%s</pre>"
)


def fleet() -> dict:
    """An inventory of facts: 12 hosts with two L40S, one of them in use, one with eight H100, a T4, one that is down."""
    idle = gpus.hardware("2 x L40S")
    busy = json.loads(json.dumps(idle))
    card = busy["accelerators"][0]
    card["processes"] = [{"pid": 4711, "name": "python3", "memory_bytes": 18 << 30, "unit": "notebook.service"}]
    card["memory_free_bytes"] -= 18 << 30
    facts = {"gpu-%02d" % number: idle for number in range(1, 13)}
    facts.update({"gpu-13": busy, "gpu-20": gpus.hardware("8 x H100"), "gpu-30": gpus.hardware("1 x T4")})
    hosts = {name: {"gpufleet_hardware": known} for name, known in facts.items()}
    hosts["gpu-31"] = {"ansible_ssh_executable": "/bin/sh", "ansible_ssh_args": "-c 'echo No route to host >&2; exit 255'"}
    return {"all": {"hosts": hosts}}


def run(work: pathlib.Path, *names: str) -> str:
    """What the playbook's last task printed; the page lies in ``work``."""
    (work / "inventory.json").write_text(json.dumps(fleet()))
    models = [{"name": name, "config": CONFIGS[MODELS[name]]} for name in names]
    environment = dict(
        os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible/collections"), ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_NOCOLOR="true", COLUMNS="120", PWD=str(work),
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(work / "inventory.json"), "gpufleet.llm.plan",
         "-e", json.dumps({"models": models, "context": "16K"})],
        cwd=work, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = done.stdout[done.stdout.index("TASK [Show the table]") :].split("\n", 2)[2]
    return printed[: printed.index("\nThe same with")].strip()


def photograph(page: pathlib.Path, picture: str, width: int, height: int, dark: bool = False) -> None:
    path = IMAGES / picture
    subprocess.run(
        [*BROWSER, "--blink-settings=preferredColorScheme=%d" % (0 if dark else 1), "--window-size=%d,%d" % (width, height),
         "--screenshot=%s" % path, page.as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip
    print("%s: %d kB" % (path.relative_to(ROOT), path.stat().st_size // 1000))


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        text = run(work, *MODELS)
        table = work / "table.html"
        table.write_text(TERMINAL % html.escape(text))
        photograph(table, "plan-table.png", 990, round((text.count("\n") + 1) * 13 * 1.38) + 38)
        run(work, "Qwen/Qwen2.5-32B")
        page = work / "gpufleet-plan.html"
        photograph(page, "plan-page-light.png", 1200, 1250)
        photograph(page, "plan-page-dark.png", 1200, 1250, dark=True)


if __name__ == "__main__":
    main()
