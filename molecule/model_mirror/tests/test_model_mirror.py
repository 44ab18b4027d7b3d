# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mirror gives to real clients, and what the other host does not take from it."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import testinfra
from lab_host import ENVIRONMENT, PROGRAM, ROOT

MIRROR, CLIENT = "llm-debian12", "llm-debian13"
URL = "http://%s:8090" % MIRROR
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
SOURCES = {
    "org/open": "/srv/hub/org/open",
    "org/licensed": "/srv/hub/org/licensed",
    "org/large": "/srv/hub/org/large",
    "team/small": "/srv/disk/team/small",
    "team/listed": "/srv/disk/team/listed",
}
HF = "HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_UPDATE_CHECK=1 HF_HOME=/root/hf-home HF_ENDPOINT=%s %%s /opt/gpufleet/tools/bin/hf " % URL


@pytest.fixture(scope="module")
def mirror():
    return testinfra.get_host("podman://" + MIRROR)


@pytest.fixture(scope="module")
def client():
    return testinfra.get_host("podman://" + CLIENT)


@pytest.fixture(scope="module")
def published(mirror):
    rows = json.loads(mirror.file("/srv/model-mirror/published.json").content_string)["models"]
    return {row["name"]: row for row in rows}


def sums(host, folder):
    lines = host.check_output("cd %s/ && find . -type f ! -name gpufleet.json -exec sha256sum {} +", folder).splitlines()
    return {line[66:].replace("./", "", 1): line[:64] for line in lines}


def hf(host, words, token=""):
    return host.run(HF % ("HF_TOKEN=" + token if token else "") + words)


def download(host, **arguments):
    """model_download by Ansible, into a store of its own."""
    words = [PROGRAM.replace("ansible-playbook", "ansible"), host, "--inventory", str(ROOT / "molecule/inventory")]
    words += ["--module-name", "gpufleet.llm.model_download", "--args", json.dumps(dict(arguments, endpoint=URL, timeout=10))]
    done = subprocess.run(words, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, re.sub(r"\s+", " ", done.stdout)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_other_host_has_the_sources_files(mirror, client, published, name):
    home = "/srv/models/huggingface/" + name
    source = sums(mirror, SOURCES[name])
    source.pop("pytorch_model.bin", None)
    assert sums(client, home + "/main") == source
    assert client.check_output("readlink %s/main", home) == published[name]["commit"]


def test_the_hub_gave_every_file_once(mirror, published):
    bodies = [json.loads(line) for line in mirror.check_output("cat /var/log/hub.jsonl").splitlines()]
    sent = sum(one["sent_bytes"] for one in bodies if "/resolve/" in one["path"] or "/blob/" in one["path"])
    sizes = sum(row["bytes"] for name, row in published.items() if name.startswith("org/"))
    assert sizes <= sent <= 1.02 * sizes  # (where two connections of aria2 meet, one has sent too much)


def test_real_client(client, mirror):
    got = hf(client, "download org/open --local-dir /root/open --quiet")
    assert got.rc == 0, got.stderr
    source = sums(mirror, "/srv/hub/org/open")
    source.pop("pytorch_model.bin")  # the store has it not, so it is not listed
    assert {path: value for path, value in sums(client, "/root/open").items() if not path.startswith(".cache")} == source
    checked = hf(client, "cache verify org/open --local-dir /root/open --fail-on-missing-files")
    assert checked.rc == 0, checked.stderr


@pytest.mark.parametrize(
    "words, message",
    [
        ("org/none", "Model 'org/none' not found"),
        ("org/open --revision none", "Revision not found in model 'org/open'"),
        ("org/open none.json", "File not found in model 'org/open'"),
        ("org/open gpufleet.json", "File not found in model 'org/open'"),
        ("org/licensed", "Access denied. Model 'org/licensed' requires approval"),
    ],
)
def test_real_client_understands_refusals(client, words, message):
    got = hf(client, "download %s --quiet" % words)
    assert got.rc == 1 and message in got.stderr


def test_tokens(client, mirror):
    for token in ("site+one~1", "site-two"):
        assert hf(client, "download org/licensed config.json --local-dir /root/%s --quiet" % token[-3:], token).rc == 0
    for token in ("SITE-two", "site-twoo", "site+one~"):
        assert "Access denied" in hf(client, "download org/licensed config.json --local-dir /root/no --quiet", token).stderr
    commit = client.check_output("readlink /srv/models/huggingface/org/licensed/main")
    for path in ("torrents/org/licensed/" + commit, "api/models/org/licensed", "org/licensed/resolve/main/config.json"):
        assert client.check_output("curl -s -o /dev/null -w %%{http_code} %s/%s", URL, path) == "401"
    assert mirror.file("/srv/model-mirror/tokens.conf").mode == 0o600
    assert mirror.run("grep -rlE 'site.two' /etc/gpufleet /etc/systemd/system /srv/model-mirror --exclude=tokens.conf").stdout == ""
    assert "site-two" not in mirror.check_output("journalctl --no-pager -o cat")


def test_ranges(client):
    answer = client.check_output("curl -si -r 5-9 %s/org/open/resolve/main/config.json", URL)
    assert answer.startswith("HTTP/1.1 206") and "Content-Range: bytes 5-9/24" in answer and answer.endswith("el_ty")


def test_strangers_are_refused(client, mirror):
    client.check_output("ip address add 192.0.2.7/32 dev eth0")
    mirror.check_output("ip route add 192.0.2.7 dev eth0")
    try:
        asked = "curl -s -o /dev/null -w %%{http_code} --interface 192.0.2.7 %s/org/open/resolve/main/config.json"
        assert client.check_output(asked, URL) == "403"
    finally:
        client.run("ip address del 192.0.2.7/32 dev eth0")
        mirror.run("ip route del 192.0.2.7 dev eth0")


def test_the_packages_nginx_does_not_run(mirror):
    assert not mirror.socket("tcp://80").is_listening
    assert mirror.run("systemctl is-enabled nginx").stdout.strip() == "disabled"
    assert mirror.service("gpufleet-model-mirror").is_enabled
    assert mirror.run("nginx -t").rc == 0  # the site's own configuration is what it was


def test_another_list_is_refused(published):
    code, said = download(CLIENT, source="org/open", store="/srv/other", listing_sha256="0" * 64)
    assert code and "lists other files, sizes or hashes than listing_sha256=" in said
    assert published["org/open"]["listing_sha256"] in said


def test_a_flipped_byte_on_the_mirror_is_refused_by_name(mirror, client, published):
    path = "/srv/models/huggingface/org/open/main/" + SHARDS[0]
    flip = (
        "import os; f=open(%r,'r+b'); s=os.stat(f.name); f.seek(7000000); b=f.read(1); f.seek(7000000); "
        "f.write(bytes([b[0]^1])); f.close(); os.utime(%r, ns=(s.st_atime_ns, s.st_mtime_ns))"
    )
    mirror.check_output("python3 -c %s", flip % (path, path))
    try:
        pinned = {"commit": published["org/open"]["commit"], "listing_sha256": published["org/open"]["listing_sha256"]}
        code, said = download(CLIENT, source="org/open", store="/srv/other", **pinned)
    finally:
        mirror.check_output("python3 -c %s", flip % (path, path))
    assert code and "%s of org/open on %s arrived wrong 3 times and was removed" % (SHARDS[0], URL) in said
    assert not client.file("/srv/other/huggingface/org/open/main").exists


def test_a_late_host_gets_it_from_the_swarm(mirror, client, published):
    """The mirror's own host comes once more, with another store. It gets most from the host that has it."""
    assert client.service("gpufleet-swarm").is_running and client.socket("tcp://6881").is_listening
    assert client.check_output("ps -o user= -p $(systemctl show --value -p MainPID gpufleet-swarm)") != "root"
    mark = mirror.check_output("journalctl -t model_mirror --no-pager -o cat | wc -l")
    row = published["org/large"]
    pinned = {"commit": row["commit"], "listing_sha256": row["listing_sha256"]}
    code, said = download(MIRROR, source="org/large", store="/srv/late", transport="swarm", swarm={"seed_time": 0}, **pinned)
    assert not code, said
    assert sums(mirror, "/srv/late/huggingface/org/large/main") == sums(mirror, "/srv/hub/org/large")
    lines = mirror.check_output("journalctl -t model_mirror --no-pager -o cat | tail -n +%s", str(int(mark) + 1)).splitlines()
    sent = sum(int(line.split('"')[2].split()[1]) for line in lines if "/org/large/resolve/" in line)
    assert sent < row["bytes"] / 2
    path = "/srv/models/huggingface/org/large/main/"
    assert client.check_output("find %s -type f -newer %sgpufleet.json", path, path) == ""  # it was read, not written
