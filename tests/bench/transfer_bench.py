# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model_download beside `hf download`, aria2c by hand and curl, over one line of one machine.

A real nginx serves a model of few large files and one of many small ones, as a static hub, in a network namespace whose link has
a rate and, if wished, a delay (tc). Everybody fetches from it in turn, round after round; wall-clock and processor seconds of the client are
the medians. Root, Linux::

    python tests/bench/transfer_bench.py [--rate 1gbit] [--delay-ms 0] [--rounds 3]

Then a model of 200 files and 100 GB (sparse) that is complete, asked for again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from stand_ins.hub.content import Store  # noqa: E402

MODULE = ROOT / "plugins" / "modules" / "model_download.py"
SPACE, HERE, THERE = "gpufleet-bench", "10.231.0.1", "10.231.0.2"
PORT = 8080
URL = "http://%s:%d" % (THERE, PORT)
BIN = Path(sys.executable).parent

NGINX = """
worker_processes auto; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; map_hash_max_size 65536; map_hash_bucket_size 512; types {{}}
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4;
  scgi_temp_path {root}/t5;
  map "$repo/$file" $oid {{ default ""; include {root}/etag.map; }}
  server {{
    listen {there}:{port}; root {root}/srv; etag off; if_modified_since off; default_type application/octet-stream;
    location ~ "^/api/models/(?<repo>[^/]+/[^/]+)/revision/(?<rev>[^/]+)$" {{
      default_type application/json; try_files /api/$repo/info.json =404; }}
    location ~ "^/api/models/(?<repo>[^/]+/[^/]+)/tree/(?<rev>[^/]+)/?$" {{
      default_type application/json; try_files /api/$repo/tree.json =404; }}
    location ~ "^/(?<repo>[^/]+/[^/]+)/resolve/(?<rev>[^/]+)/(?<file>.+)$" {{
      add_header X-Repo-Commit $rev; add_header ETag "\\"$oid\\""; add_header X-Linked-Etag "\\"$oid\\"";
      try_files /files/$repo/$file =404; }}
  }}
}}
"""


def run(*words: t.Union[str, Path], **more: t.Any) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in words], check=True, **more)


def write_models(root: Path) -> t.Dict[str, t.List[t.Tuple[str, int]]]:
    """Two models with what a hub says of them; returns path and size of their files."""
    maker = random.Random(6)
    files = root / "srv" / "files" / "org"
    (files / "large").mkdir(parents=True)
    (files / "small").mkdir(parents=True)
    for number in range(4):
        with open(files / "large" / ("model-%05d-of-00004.safetensors" % (number + 1)), "wb") as out:
            for _piece in range(64):
                out.write(maker.randbytes(4 << 20))
    for number in range(500):
        (files / "small" / ("part-%03d.json" % number)).write_bytes(maker.randbytes(40_000))
    listing = {}
    with open(root / "etag.map", "w", encoding="utf-8") as tags:
        for name in ("large", "small"):
            snapshot = Store(root / "srv" / "files").snapshot("org/" + name, "main")
            assert snapshot
            api = root / "srv" / "api" / "org" / name
            api.mkdir(parents=True)
            (api / "info.json").write_text(json.dumps(snapshot.info()))
            (api / "tree.json").write_text(json.dumps(snapshot.tree("", True)))
            for one in snapshot.files.values():
                tags.write('"org/%s/%s" %s;\n' % (name, one.path, one.etag))
            listing[name] = [(one.path, one.size) for one in snapshot.files.values()]
            (root / name).write_text(snapshot.commit)
    return listing


@contextlib.contextmanager
def line(rate: str, delay_ms: float) -> t.Iterator[None]:
    """A namespace at the end of a line of ``rate``, with ``delay_ms`` each way."""
    run("ip", "netns", "add", SPACE)
    try:
        run("ip", "link", "add", "gpufleet-b0", "type", "veth", "peer", "name", "gpufleet-b1", "netns", SPACE)
        inside = ("ip", "netns", "exec", SPACE)
        run("ip", "addr", "add", HERE + "/24", "dev", "gpufleet-b0")
        run("ip", "link", "set", "gpufleet-b0", "up")
        run(*inside, "ip", "addr", "add", THERE + "/24", "dev", "gpufleet-b1")
        run(*inside, "ip", "link", "set", "gpufleet-b1", "up")
        shape = ("root", "tbf", "rate", rate, "burst", "1mb", "latency", "50ms")
        if delay_ms:  # not every kernel has it
            shape = ("root", "netem", "rate", rate, "delay", "%gms" % delay_ms, "limit", "100000")
        run("tc", "qdisc", "add", "dev", "gpufleet-b0", *shape)
        run(*inside, "tc", "qdisc", "add", "dev", "gpufleet-b1", *shape)
        yield
    finally:
        run("ip", "netns", "del", SPACE)


@contextlib.contextmanager
def server(root: Path) -> t.Iterator[None]:
    settings = root / "nginx.conf"
    settings.write_text("user root;" + NGINX.format(root=root, there=THERE, port=PORT))
    with subprocess.Popen(["ip", "netns", "exec", SPACE, "nginx", "-c", str(settings)]) as process:
        try:
            for _attempt in range(100):
                if subprocess.run(["curl", "-sfo", "/dev/null", URL + "/api/models/org/small/revision/main"], check=False).returncode == 0:
                    break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


# The contenders: each fetches a model into an empty directory.


def ours(name: str, target: Path, _root: Path, _files: t.Any) -> None:
    module({"source": "org/" + name, "store": str(target), "endpoint": URL})


def hub_client(name: str, target: Path, _root: Path, _files: t.Any) -> None:
    environment = {**os.environ, "HF_ENDPOINT": URL, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HOME": str(target / "home")}
    run(BIN / "hf", "download", "org/" + name, "--local-dir", target / "model", env=environment, capture_output=True)


def aria2(name: str, target: Path, root: Path, files: t.Sequence[t.Tuple[str, int]]) -> None:
    rows = {row["path"]: row for row in json.loads((root / "srv" / "api" / "org" / name / "tree.json").read_text())}
    lines = []
    for path, _size in files:
        lines += [address(name, root, path), " out=" + path]
        lines += [" checksum=sha-256=" + rows[path]["lfs"]["oid"]] if "lfs" in rows[path] else []
    (target / "list").write_text("\n".join(lines) + "\n")
    run("aria2c", "-q", "-i", target / "list", "-d", target / "model", "-c", "-x4", "-s4", "-j4", "--file-allocation=none")


def curl(name: str, target: Path, root: Path, files: t.Sequence[t.Tuple[str, int]]) -> None:
    (target / "model").mkdir()
    (target / "list").write_text("".join('url = "%s"\noutput = "%s/model/%s"\n' % (address(name, root, path), target, path) for path, _size in files))
    run("curl", "-sSf", "--no-progress-meter", "--parallel", "--parallel-max", "8", "-K", target / "list")


def curl_verified(name: str, target: Path, root: Path, files: t.Sequence[t.Tuple[str, int]]) -> None:
    """By hand, with as much care: every hash is worked out, on all processors."""
    curl(name, target, root, files)
    paths = b"\0".join(str(target / "model" / path).encode() for path, _size in files)
    run("xargs", "-0", "-n", "64" if len(files) > 64 else "1", "-P", str(os.cpu_count()), "sha256sum", input=paths, stdout=subprocess.DEVNULL)


def address(name: str, root: Path, path: str) -> str:
    return "%s/org/%s/resolve/%s/%s" % (URL, name, (root / name).read_text(), path)


def module(arguments: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    done = subprocess.run([sys.executable, str(MODULE)], input=json.dumps(arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


CONTENDERS: t.Dict[str, t.Callable[..., None]] = {
    "model_download": ours,
    "hf download": hub_client,
    "aria2c by hand, with checksums": aria2,
    "curl --parallel, then sha256sum": curl_verified,
    "curl --parallel, unverified": curl,
}


def measure(call: t.Callable[[], None]) -> t.Tuple[float, float]:
    """Wall-clock and processor seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    call()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def race(root: Path, listing: t.Dict[str, t.Any], rounds: int) -> t.Dict[str, t.Dict[str, t.Tuple[float, float]]]:
    found: t.Dict[str, t.Dict[str, t.List[t.Tuple[float, float]]]] = {name: {who: [] for who in CONTENDERS} for name in listing}
    for number in range(rounds):
        for name, files in listing.items():
            order = list(CONTENDERS)
            for who in order[number % len(order) :] + order[: number % len(order)]:
                with tempfile.TemporaryDirectory(dir=root) as target:
                    found[name][who].append(measure(lambda who=who, target=target: CONTENDERS[who](name, Path(target), root, files)))  # type: ignore[misc]
    return {
        name: {who: (statistics.median(w for w, _c in times), statistics.median(c for _w, c in times)) for who, times in row.items()}
        for name, row in found.items()
    }


def no_op(root: Path) -> float:
    """Seconds that a model takes that is there: 200 files, 100 GB with holes."""
    work = root / "sparse"
    (work / "disk" / "org" / "sparse").mkdir(parents=True)
    for number in range(200):
        with open(work / "disk" / "org" / "sparse" / ("model-%05d-of-00200.safetensors" % (number + 1)), "wb") as out:
            out.truncate(1000)
    arguments = {"source": str(work / "disk" / "org" / "sparse"), "store": str(work / "store")}
    record = Path(module(arguments)["path"], "gpufleet.json")
    # Hashing 100 GB of holes would prove nothing: the files grow, and the record with them.
    shutil.rmtree(work / "disk")
    known = json.loads(record.read_text())
    for row in known["files"]:
        path = record.parent / row["path"]
        os.truncate(path, 500_000_000)
        row.update(size=500_000_000, mtime_ns=path.stat().st_mtime_ns)
    record.write_text(json.dumps(known))
    times = []
    for _round in range(7):
        began = time.monotonic()
        assert module(arguments)["changed"] is False
        times.append(time.monotonic() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="1gbit")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="each way; needs netem in the kernel")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for program in ("nginx", "aria2c", "curl", "ip", "tc"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise SystemExit("%s is missing: install it" % program)
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        os.chmod(root, 0o755)
        # As installed software is: compiled. The first round does it.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(root / "compiled")
        for call in (("-c", "import ansible.module_utils.basic, huggingface_hub.hf_api"), (BIN / "hf", "version"), (MODULE, "--version")):
            subprocess.run([sys.executable, *map(str, call)], input="{}", capture_output=True, text=True, check=False)
        listing = write_models(root)
        with line(options.rate, options.delay_ms), server(root):
            found = race(root, listing, options.rounds)
        print("A line of %s, %g ms each way; medians of %d rounds.\n" % (options.rate, options.delay_ms, options.rounds))
        for name, row in found.items():
            size = sum(size for _path, size in listing[name])
            print("%s: %d files, %.0f MB" % (name, len(listing[name]), size / 1e6))
            for who, (wall, cpu) in sorted(row.items(), key=lambda pair: pair[1][0]):
                print("  %-32s %6.2f s  %6.1f MB/s  %5.2f s of processor time" % (who, wall, size / wall / 1e6, cpu))
        print("\ncomplete already, 200 files, 100 GB: %.0f ms for the whole process" % (1000 * no_op(root)))


if __name__ == "__main__":
    main()
