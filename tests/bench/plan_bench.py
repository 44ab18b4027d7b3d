# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast the planner is: 1,000 plans over five models and five hosts. Prints the figure.

python tests/bench/plan_bench.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ansible" / "collections"))

from ansible_collections.gpufleet.llm.plugins.module_utils.planning import vllm  # noqa: E402
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import hosts  # noqa: E402

PLANS = 1000


def main() -> None:
    models = [hosts.model(name) for name in hosts.CONFIGS]
    machines = [
        hosts.host(hosts.gpus(1, "NVIDIA L40S")),
        hosts.host(hosts.gpus(4, "NVIDIA L40S")),
        hosts.host(hosts.gpus(8, "NVIDIA H100 80GB HBM3", linked=True)),
        hosts.host(hosts.gpus(1, "Tesla T4")),
        hosts.host(),
    ]
    cases = [(machine, model) for machine in machines for model in models]
    refused = 0
    start = time.process_time()
    for number in range(PLANS):
        machine, model = cases[number % len(cases)]
        refused += vllm.make_plan(machine, model, {})["refusal"] is not None
    seconds = time.process_time() - start
    print("%d plans in %.2f s of processor time, %.2f ms each (%d refused)" % (PLANS, seconds, seconds / PLANS * 1000, refused))


if __name__ == "__main__":
    main()
