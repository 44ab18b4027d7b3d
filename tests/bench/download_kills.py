# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much is fetched twice when a download is killed again and again.

model_download runs as a program against the hub stand-in. It and its aria2 are killed with SIGKILL at random moments, then it
runs once to its end; the bytes are counted at the server. Run alone it prints a line for each transport::

    python tests/bench/download_kills.py [--megabytes 2000] [--files 12] [--kills 20]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from stand_ins.hub.faults import Fault  # noqa: E402
from stand_ins.hub.hub import Hub  # noqa: E402

MODULE = ROOT / "plugins" / "modules" / "model_download.py"


@dataclass
class Outcome:
    kills: int
    model_bytes: int
    sent_bytes: int
    wrong: t.List[str]  # files whose content is not the source's
    left_over: t.List[str]  # what lies beside the revision

    @property
    def twice_bytes(self) -> int:
        return self.sent_bytes - self.model_bytes


def write_model(root: Path, megabytes: int, files: int) -> None:
    """Files of several sizes, with content that is nowhere the same."""
    maker = random.Random(6)
    shares = [1 + number % 3 for number in range(files)]
    for number, share in enumerate(shares):
        left = megabytes * 1_000_000 * share // sum(shares)
        with open(root / ("model-%05d-of-%05d.safetensors" % (number + 1, files)), "wb") as out:
            while left:
                left -= out.write(maker.randbytes(min(left, 1 << 22)))


def start(store: Path, url: str, transport: str, log: t.IO[str], **more: t.Any) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, str(MODULE)],
        stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, text=True,
    )  # fmt: skip
    arguments = {"source": "org/model", **more, "store": str(store), "endpoint": url, "transport": transport}
    assert process.stdin
    with process.stdin as there:
        there.write(json.dumps(arguments))
    return process


def trial(work: Path, transport: str, megabytes: int, files: int, kills: int, seconds: float, seed: int = 1) -> Outcome:
    """One model, ``kills`` killed runs of a download that takes about ``seconds`` as a whole, and one that ends."""
    moments = random.Random(seed)
    (work / "hub" / "org" / "model").mkdir(parents=True)
    write_model(work / "hub" / "org" / "model", megabytes, files)
    store, count = work / "store", 0
    with Hub(work / "hub") as hub, open(work / "log", "w+", encoding="utf-8") as log:
        commit = hub.commit("org/model")
        sizes = {path: one.size for path, one in hub.store.snapshot("org/model", commit).files.items()}  # type: ignore[union-attr]
        # The line is shared by eight connections.
        hub.faults.append(Fault("slow", path="*.safetensors", rate=sum(sizes.values()) / seconds / 8, times=-1))
        while count < kills:
            process = start(store, hub.url, transport, log)
            begun = hub.begun
            while hub.begun == begun and process.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 1.5 * seconds / kills))
            if process.poll() is not None:
                log.seek(0)
                raise AssertionError("ended before it was killed: %s" % log.read()[-2000:])
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            count += 1
            assert not (store / "huggingface" / "org" / "model" / "main").exists(), "a killed run left a model"
        hub.faults.clear()
        process = start(store, hub.url, transport, log)
        process.wait()
        log.seek(0)
        assert process.returncode == 0, log.read()[-2000:]
        time.sleep(0.3)  # connections that were cut are counted when the server notices
        sent = sum(one.sent_bytes for one in hub.requests if "/resolve/" in one.path)
        home = store / "huggingface" / "org" / "model"
        wrong = [path for path in sizes if not _same(work / "hub" / "org" / "model" / path, home / commit / path)]
        left_over = sorted(set(os.listdir(home)) - {commit, "main", ".lock"})
    return Outcome(count, sum(sizes.values()), sent, wrong, left_over)


def _same(one: Path, other: Path) -> bool:
    return subprocess.run(["cmp", "-s", str(one), str(other)], check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--transport", nargs="*", default=["http", "aria2"])
    options = parser.parse_args()
    for transport in options.transport:
        with tempfile.TemporaryDirectory() as work:
            one = trial(Path(work), transport, options.megabytes, options.files, options.kills, options.seconds)
        each = one.twice_bytes / max(1, one.kills) / options.files
        print(
            "%s: %d bytes, killed %d times, sent %d: %.1f MB twice, %.2f MB for each file and kill; wrong: %s; left over: %s"
            % (transport, one.model_bytes, one.kills, one.sent_bytes, one.twice_bytes / 1e6, each / 1e6, one.wrong, one.left_over)
        )


if __name__ == "__main__":
    main()
