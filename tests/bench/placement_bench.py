# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast a fleet is placed: 1,000 hosts of eight kinds x 50 models. Prints the figures of

an empty fleet; the same again with the placement before, ten hosts lost and ten new; a fleet with too few hosts.

python tests/bench/placement_bench.py [hosts [models]]
"""

from __future__ import annotations

import random
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ansible" / "collections"))

from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import planner as placement  # noqa: E402
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import fleets  # noqa: E402


def show(name: str, hosts: t.Mapping[str, t.Any], models: t.Sequence[t.Any], options: t.Mapping[str, t.Any]) -> t.Any:
    start = time.process_time()
    result = placement.place(hosts, models, options)
    seconds = time.process_time() - start
    balance = result["balance"]
    print(
        "%-32s %5.2f s  %5d replicas placed, %4d without a place, %d of %d GPUs used, %d plans, %d moves"
        % (
            name, seconds, len(result["assignments"]), sum(item["missing"] for item in result["refusals"]),
            balance["gpus_used"], balance["gpus"], len(result["plans"]),
            sum(move["what"] == "moved" for move in result["moves"]),
        )
    )  # fmt: skip
    return result


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    hosts = fleets.fleet(number, seed=1)
    models = fleets.models(int(sys.argv[2]) if len(sys.argv) > 2 else 50, hosts, load=0.8, seed=1)
    first = show("empty fleet", hosts, models, {})
    changed = dict(hosts)
    for name in random.Random(2).sample(sorted(hosts), max(1, number // 100)):
        changed["new-" + name] = changed.pop(name)
    show("1 % of hosts lost, as many new", changed, models, {"previous": first})
    show("half of the hosts", {name: hosts[name] for name in sorted(hosts)[::2]}, models, {})


if __name__ == "__main__":
    main()
