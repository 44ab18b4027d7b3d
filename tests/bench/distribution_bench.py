# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model on many hosts: directly, by the site's mirror, and by a swarm. Measured on lab hosts; writes docs/distribution.md.

Ten lab hosts: an "internet" with the hub stand-in, a mirror that the role model_mirror made, and eight that want the model. The
link of each is shaped by tc, both ways. Whoever fetches is the module model_download; they start at the same moment. What
left the internet is what its network interface counted, headers included. Root, Linux::

    python tests/bench/distribution_bench.py [--rate 50] [--size-mb 48] [--hosts 1,2,4,8] [--keep]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plugins"))
from module_utils.report.markup import Safe, tag  # noqa: E402
from module_utils.transfer import torrent  # noqa: E402

LAB = ROOT / "tests" / "lab" / "lab"
INTERNET, MIRROR = "gpufleet-dnet", "gpufleet-d0"
HUB = "http://%s:8900" % INTERNET
SITE = "http://%s:8090" % MIRROR
MODES = ("direct", "mirror", "swarm")
STORE = "/srv/models"
PYTHON = "PYTHONPYCACHEPREFIX=/var/tmp/compiled PYTHONPATH=/venv/lib/python3.11/site-packages python3"
COLORS = {"direct": "#b3423a", "mirror": "#2f6fb3", "swarm": "#2e8b57"}


def podman(*words: str, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(
        [str(ROOT / "tests/lab/with-cgroup2"), "podman", *words], input=stdin, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise SystemExit("podman %s: %s%s" % (" ".join(words), done.stdout, done.stderr))
    return done.stdout


def on(host: str, script: str, stdin: str = "") -> str:
    return podman("exec", "-i", host, "sh", "-c", script, stdin=stdin)


def everywhere(hosts: t.Sequence[str], call: t.Callable[[str], t.Any]) -> t.List[t.Any]:
    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(call, hosts))


def module(host: str, name: str, arguments: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    answer = json.loads(on(host, "%s /checkout/plugins/modules/%s.py" % (PYTHON, name), json.dumps(arguments)))
    assert answer["changed"], (host, answer)
    return answer


def create(hosts: t.Sequence[str], rate: int, size_mb: int) -> None:
    venv = (ROOT / ".venv-2.19").resolve()
    for host in [INTERNET, MIRROR, *hosts]:
        subprocess.run([str(LAB), "up", host, "debian12", "--volume=%s:/checkout:ro" % ROOT, "--volume=%s:/venv:ro" % venv], check=True)
    everywhere(
        [MIRROR, *hosts],
        lambda host: on(host, "apt-get -qq update && apt-get -qq install -y --no-install-recommends aria2 nginx-light > /dev/null 2>&1"
                              " && systemctl disable -q --now nginx"),
    )  # fmt: skip
    on(INTERNET, """
        mkdir -p /srv/hub/org/model && cd /srv/hub/org/model && echo '{"model_type": "llama"}' > config.json
        for number in 1 2 3 4; do head -c %d /dev/urandom > model-0000$number-of-00004.safetensors; done
        systemd-run -q --unit=hub python3 /checkout/tests/stand_ins/hub/hub.py --root /srv/hub --host 0.0.0.0 --port 8900
        for try in $(seq 50); do curl -sf localhost:8900/api/models/org/model > /dev/null && exit; sleep 0.2; done; exit 1
        """ % (size_mb * 1_000_000 // 4))  # fmt: skip
    # As installed software is: compiled.
    everywhere([MIRROR, *hosts], lambda host: on(host, "echo '{}' | %s /checkout/plugins/modules/model_download.py > /dev/null || true" % PYTHON))
    run_role()
    for host in [INTERNET, MIRROR, *hosts]:
        shape(host, rate)


def run_role() -> None:
    """The mirror as users have it."""
    arguments = "-F none -o 'ProxyCommand=\"%s\" ssh %%h' -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR" % LAB
    inventory = {"all": {"hosts": {MIRROR: {
        "ansible_connection": "ssh", "ansible_user": "root", "ansible_ssh_common_args": arguments,
        "ansible_python_interpreter": "/usr/bin/python3", "model_store_endpoint": HUB, "model_mirror_torrents": True,
        "model_mirror_models": [{"source": "org/model"}],
    }}}}  # fmt: skip
    play = [{"hosts": "all", "roles": ["gpufleet.llm.model_mirror"]}]
    with tempfile.TemporaryDirectory() as work:
        for name, content in (("inventory.json", inventory), ("play.json", play)):
            Path(work, name).write_text(json.dumps(content))
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible/collections"), ANSIBLE_PIPELINING="true")
        subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", work + "/inventory.json", work + "/play.json"],
            env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def shape(host: str, rate: int) -> None:
    """Both ends of the host's link: what it sends, and what is sent to it."""
    limit = "root tbf rate %dmbit burst 128kb latency 100ms" % rate
    on(host, "tc qdisc replace dev eth0 " + limit)
    number = on(host, "cat /sys/class/net/eth0/iflink").strip()
    for path in Path("/sys/class/net").glob("*/ifindex"):
        if path.read_text().strip() == number:
            subprocess.run(["tc", "qdisc", "replace", "dev", path.parent.name, *limit.split()], check=True)
            return
    raise SystemExit("the other end of the link of %s was not found" % host)


def clear(hosts: t.Sequence[str]) -> None:
    everywhere(
        [MIRROR, *hosts],
        lambda host: on(host, "systemctl stop gpufleet-swarm 2> /dev/null; rm -rf %s /run/gpufleet/swarm /srv/model-mirror/torrents" % STORE),
    )


def sent(host: str) -> int:
    return int(on(host, "cat /sys/class/net/eth0/statistics/tx_bytes"))


def measure(mode: str, hosts: t.Sequence[str], addresses: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
    """Until the last of them has the model; the mirror's own download counts."""
    clear(hosts)
    wanted: t.Dict[str, t.Any] = {"source": "org/model", "store": STORE, "endpoint": HUB}
    before, before_mirror, began = sent(INTERNET), sent(MIRROR), time.monotonic()
    first = 0.0
    if mode != "direct":
        module(MIRROR, "model_download", wanted)
        model = {"models": [{"source": "org/model"}], "torrents": mode == "swarm"}
        answer = json.loads(on(MIRROR, "%s /checkout/plugins/modules/model_mirror.py" % PYTHON, json.dumps(model)))
        on(MIRROR, "cat > /srv/model-mirror/peers; systemctl reload gpufleet-model-mirror",
           torrent.peers([addresses[host] for host in hosts], 6881, 10))  # fmt: skip
        row = answer["models"][0]
        wanted.update(endpoint=SITE, commit=row["commit"], listing_sha256=row["listing_sha256"])
        first = time.monotonic() - began
    if mode == "swarm":
        wanted["transport"] = "swarm"
    answers = everywhere(hosts, lambda host: module(host, "model_download", wanted))
    seconds = time.monotonic() - began
    size = answers[0]["bytes"]
    assert all(answer["downloaded_bytes"] == size for answer in answers)
    row = {
        "mode": mode, "hosts": len(hosts), "seconds": seconds, "first_seconds": first, "bytes": size,
        "internet_bytes": sent(INTERNET) - before, "mirror_bytes": sent(MIRROR) - before_mirror,
    }  # fmt: skip
    print("%-7s %d hosts: %5.1f s, internet %.2f x, mirror %.2f x" % (
        mode, len(hosts), seconds, row["internet_bytes"] / size, row["mirror_bytes"] / size), flush=True)  # fmt: skip
    return row


def document(rows: t.Sequence[t.Dict[str, t.Any]], rate: int) -> str:
    size = rows[0]["bytes"]
    lines = [
        "# A model on many hosts",
        "",
        "`model_store_distribution` says where the hosts of a site get their models: `direct`, every host from the hub; `mirror`, all from",
        "one host that got them once (role `model_mirror`); `swarm`, from that one and from one another.",
        "",
        "Measured on %s by `make bench-distribution`: lab hosts (podman, Debian 12) on one machine with %d cores, %s, the hub stand-in" % (
            datetime.date.today().isoformat(), os.cpu_count() or 0, platform.machine()),
        "in the place of the internet. Every link carries %d Mbit/s each way, the internet's and the mirror's too. The model has %.0f MB," % (rate, size / 1e6),
        "which one link carries in %.1f s. Hosts begin at the same moment, and the time is that of the last one. It holds the mirror's own" % (
            size * 8 / rate / 1e6),
        "download, which comes first. Bytes are those that left the network interface, headers included, as multiples of the model.",
        "",
        "![seconds by number of hosts](images/distribution.svg)",
        "",
        "| distribution | hosts | seconds | of them until the mirror has it | bytes from the internet | bytes from the mirror |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        mirror = "" if row["mode"] == "direct" else "%.2f x" % (row["mirror_bytes"] / size)
        lines.append("| %s | %d | %.1f | %s | %.2f x | %s |" % (
            row["mode"], row["hosts"], row["seconds"], "%.1f" % row["first_seconds"] if mirror else "",
            row["internet_bytes"] / size, mirror))  # fmt: skip
    lines += [
        "",
        "What it says: directly, the internet carries the model once for every host. With a mirror it carries it once, and the mirror's",
        "link carries it for every host. With a swarm the hosts carry most of it for one another, and time grows little with their number.",
        "For a few hosts the mirror alone is as good, and simpler.",
        "",
    ]
    return "\n".join(lines)


def picture(rows: t.Sequence[t.Dict[str, t.Any]]) -> str:
    """Seconds by number of hosts."""
    left, right, top, bottom = 52.0, 600.0, 24.0, 300.0
    most_hosts, most = max(row["hosts"] for row in rows), max(row["seconds"] for row in rows)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if most / step <= 8)
    end = step * (int(most / step) + 1)

    def x(hosts: float) -> float:
        return left + (right - left) * hosts / most_hosts

    def y(seconds: float) -> float:
        return bottom - (bottom - top) * seconds / end

    parts: t.List[Safe] = [tag("rect", x=0, y=0, width=720, height=350, fill="#ffffff")]
    for seconds in range(0, end + 1, step):
        parts.append(tag("line", x1=left, x2=right, y1="%.1f" % y(seconds), y2="%.1f" % y(seconds), stroke="#d5d9de"))
        parts.append(tag("text", str(seconds), x=left - 8, y="%.1f" % (y(seconds) + 4), text_anchor="end"))
    for hosts in sorted({row["hosts"] for row in rows}):
        parts.append(tag("text", str(hosts), x="%.1f" % x(hosts), y=bottom + 18, text_anchor="middle"))
    parts.append(tag("text", "hosts", x="%.1f" % ((left + right) / 2), y=bottom + 38, text_anchor="middle"))
    parts.append(tag("text", "seconds until all have the model", x=left - 40, y=14))
    for mode in MODES:
        points = [(x(row["hosts"]), y(row["seconds"])) for row in rows if row["mode"] == mode]
        path = "M" + " L".join("%.1f %.1f" % point for point in points)
        parts.append(tag("path", d=path, fill="none", stroke=COLORS[mode], stroke_width=2.5))
        parts += [tag("circle", cx="%.1f" % px, cy="%.1f" % py, r=4, fill=COLORS[mode]) for px, py in points]
        parts.append(tag("text", mode, x="%.1f" % (points[-1][0] + 10), y="%.1f" % (points[-1][1] + 4), fill=COLORS[mode]))
    return str(
        tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", view_box="0 0 720 350", font_family="sans-serif", font_size=13, fill="#333")
    ) + "\n"  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=50, help="Mbit/s of every link")
    parser.add_argument("--size-mb", type=int, default=48)
    parser.add_argument("--hosts", default="1,2,4,8")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--keep", action="store_true", help="leave the hosts, and take those that are there")
    options = parser.parse_args()
    counts = [int(one) for one in options.hosts.split(",")]
    hosts = ["gpufleet-d%d" % number for number in range(1, max(counts) + 1)]
    try:
        if not options.keep or not podman("ps", "-q", "--filter", "name=^%s$" % hosts[-1]).strip():
            create(hosts, options.rate, options.size_mb)
        addresses = dict(zip(hosts, everywhere(hosts, lambda host: on(host, "hostname -I").split()[0])))
        modes = options.modes.split(",")
        rows = [measure(mode, hosts[:count], addresses) for mode in modes for count in counts]
    finally:
        if not options.keep:
            subprocess.run([str(LAB), "down", INTERNET, MIRROR, *hosts], check=False)
    if len(modes) == len(MODES):
        (ROOT / "docs" / "distribution.md").write_text(document(rows, options.rate))
        (ROOT / "docs" / "images" / "distribution.svg").write_text(picture(rows))


if __name__ == "__main__":
    main()
