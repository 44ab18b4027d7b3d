# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker or Podman on hosts of all kinds: which one, from where, with what configuration."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_engine as engine
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_engine_podman as podman
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_engine_restart
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment import container_looks as looks

OLD_DEBIAN = dict(looks.DEBIAN, version="12", codename="bookworm", name="Debian GNU/Linux 12 (bookworm)")
RHEL = dict(looks.ROCKY, id="rhel", like=["rhel", "fedora"], name="Red Hat Enterprise Linux 9.7")
DAEMON = "/etc/docker/daemon.json"


def follow(look, **wanted):
    return engine.follow(dict(looks.ENGINE, **wanted), look)


@pytest.mark.parametrize(
    ("system", "engines", "wanted", "chosen", "names"),
    [
        (
            looks.DEBIAN,
            {},
            {},
            "podman",
            ["podman", "crun", "netavark", "aardvark-dns", "uidmap", "nftables", "fuse-overlayfs", "passt"],
        ),
        (looks.DEBIAN, {}, {"engine": "docker"}, "docker", ["docker.io", "docker-cli"]),
        (OLD_DEBIAN, {}, {}, "docker", ["docker.io"]),
        (
            OLD_DEBIAN,
            {},
            {"engine": "podman"},
            "podman",
            ["podman", "crun", "netavark", "aardvark-dns", "uidmap", "iptables", "fuse-overlayfs", "slirp4netns"],
        ),
        (looks.UBUNTU, {}, {}, "docker", ["docker.io"]),
        (looks.ROCKY, {}, {}, "podman", ["podman", "crun", "netavark", "aardvark-dns"]),
        (OLD_DEBIAN, {}, {"source": "docker"}, "docker", list(engine.DOCKER_CE)),
        (looks.ROCKY, {}, {"source": "docker"}, "docker", list(engine.DOCKER_CE)),
        (looks.DEBIAN, {}, {"packages": ["podman"]}, "podman", ["podman"]),
        # What is there already stays, wherever it came from.
        (looks.DEBIAN, {"docker": looks.docker()}, {}, "docker", []),
        (looks.DEBIAN, {"podman": looks.podman()}, {}, "podman", []),
        (looks.DEBIAN, {"podman": looks.podman(), "docker": looks.docker()}, {}, "docker", []),
        (looks.DEBIAN, {"podman": looks.podman()}, {"engine": "docker"}, "docker", ["docker.io", "docker-cli"]),
    ],
)
def test_which_one(system, engines, wanted, chosen, names):
    state = follow(looks.host(system, engines), **wanted)
    assert (state["engine"], state["packages"]["names"], state["problems"]) == (chosen, names, [])


@pytest.mark.parametrize(
    ("system", "text"),
    [
        (
            OLD_DEBIAN,
            "URIs: https://download.docker.com/linux/debian\nSuites: bookworm\nComponents: stable\nArchitectures: amd64\n",
        ),
        (
            looks.UBUNTU,
            "URIs: https://download.docker.com/linux/ubuntu\nSuites: noble\nComponents: stable\nArchitectures: amd64\n",
        ),
        (
            looks.ROCKY,
            "baseurl=https://download.docker.com/linux/centos/$releasever/$basearch/stable\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=0\n",
        ),
        (
            RHEL,
            "baseurl=https://download.docker.com/linux/rhel/$releasever/$basearch/stable\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=0\n",
        ),
    ],
)
def test_the_vendors_repository(system, text):
    repository = follow(looks.host(system, {}), engine="docker", source="docker")["repository"]
    assert text in repository["text"] and repository["due"]
    there = looks.host(system, {}, {repository["path"]: repository["text"]}, fingerprints={repository["key_path"]: ["A" * 40]})
    assert not follow(there, engine="docker", source="docker")["repository"]["due"]


@pytest.mark.parametrize(
    ("look", "wanted", "problem"),
    [
        (looks.host(looks.ROCKY, {}), {"engine": "docker"}, "Rocky Linux 9.7 (Blue Onyx) has no Docker of its own"),
        (
            looks.host(OLD_DEBIAN, {}),
            {"source": "docker", "offline": True},
            "container_engine_repository_url=https://download.docker.com/linux",
        ),
        (
            looks.host(
                engines={"docker": looks.docker()},
                packages={"docker.io": {"version": "26.1.5", "state": "installed", "held": False}},
            ),
            {"source": "docker"},
            "container_engine_source=docker, and the distribution's docker.io 26.1.5 is there",
        ),
        (
            looks.host(),
            {"registry_mirrors": ["mirror.example.com"]},
            "mirror.example.com is no address such as https://mirror.example.com",
        ),
        (
            looks.host(),
            {"registry_mirrors": ["http://m:5000"]},
            "http://m:5000 has no TLS. Name m:5000 in container_engine_insecure",
        ),
        (looks.host(), {"insecure_registries": ["0.0.0.0/0"]}, "0.0.0.0/0 is no registry such as"),
        (looks.host(), {"insecure_registries": ["*.example.com"]}, "no wildcards, no networks"),
        (looks.host(), {"log_max_size": "100"}, "container_engine_log_max_size=100: give a number and k, m or g"),
        (looks.host(), {"data_root": "/srv"}, "container_engine_data_root=/srv: give the absolute path"),
        (looks.host(), {"data_root": "srv/x"}, "container_engine_data_root=srv/x: give the absolute path"),
        (looks.host(engines={"docker": looks.docker(images=3)}), {"data_root": "/srv/docker"}, "holds 0 containers and 3 images"),
        (
            looks.host(engines={"docker": dict(looks.docker(), arguments=["--data-root=/x"])}),
            {"data_root": "/srv/docker"},
            "(data-root)",
        ),
        (looks.host(engines={"docker": looks.docker()}, texts={DAEMON: "{"}), {"live_restore": True}, "is no JSON"),
        (looks.host(texts={podman.STORAGE: "[storage]\ngraphroot = '/x'\n"}), {"data_root": "/srv/podman"}, "is somebody else's"),
        (looks.host(), {"rootless_user": "eva"}, "container_engine_rootless_user=eva does not exist"),
        (looks.host(dict(looks.DEBIAN, package_manager=None), {}), {}, "has neither apt nor dnf"),
    ],
)
def test_refusals(look, wanted, problem):
    problems = follow(look, **wanted)["problems"]
    assert len(problems) == 1 and problem in problems[0]


def docker_state(text="{}", wanted=None, containers=(), **info):
    look = looks.host(engines={"docker": looks.docker(containers=containers, **info)}, texts={DAEMON: text})
    return follow(look, **(wanted or {}))


@pytest.mark.parametrize(
    ("text", "wanted", "info", "writes", "reload", "restart"),
    [
        ("{}", {}, {}, False, False, False),
        ("{}", {"live_restore": True}, {}, True, True, False),
        ('{"live-restore": true}', {"live_restore": True}, {}, False, True, False),  # written, and then killed
        ('{"live-restore": true}', {"live_restore": True}, {"live_restore": True}, False, False, False),
        ("{}", {"registry_mirrors": ["https://m"]}, {}, True, True, False),
        (
            '{"registry-mirrors": ["https://m"]}',
            {"registry_mirrors": ["https://m"]},
            {"mirrors": ["https://m/"]},
            False,
            False,
            False,
        ),
        ("{}", {"insecure_registries": ["m:5000"]}, {"insecure": ["m:5000"]}, True, False, False),
        ("{}", {"log_max_size": "10m"}, {}, True, False, True),
        ("{}", {"data_root": "/srv/docker"}, {}, True, False, True),
        ('{"data-root": "/srv/docker"}', {"data_root": "/srv/docker"}, {}, False, False, True),
        ("{}", {"data_root": "/srv/docker", "live_restore": True}, {}, True, False, True),  # once is enough
    ],
)
def test_docker(text, wanted, info, writes, reload, restart):
    found = docker_state(text, wanted, **info)["docker"]
    assert (found["text"] is not None, found["reload"], found["restart_now"]) == (writes, reload, restart)


def test_a_restart_waits_for_containers_with_gpus():
    state = docker_state(wanted={"log_max_size": "10m"}, containers=[("chat", "cdi")])
    assert state["docker"]["waits"] and not state["docker"]["restart_now"]
    assert "container_engine_restart to true" in state["warnings"][0]
    assert docker_state(wanted={"log_max_size": "10m", "restart": True}, containers=[("chat", "cdi")])["docker"]["restart_now"]


@pytest.mark.parametrize(("removed", "waits"), [(False, False), (True, True)])
def test_live_restore_does_not_keep_what_a_unit_waits_for(removed, waits):
    docker = {"info": {"live_restore": True}, "containers": [{"name": "vllm-chat", "gpu": "cdi", "auto_remove": removed}]}
    found = container_engine_restart.decide(docker, False, "container_engine_restart", True)
    assert (found["waits"], found["restart_now"]) == (waits, not waits)


def test_a_note_newer_than_docker_is_a_restart_that_is_due():
    wanted = {"log_max_size": "10m"}
    first = docker_state(wanted=wanted)["docker"]
    look = looks.host(engines={"docker": looks.docker()}, texts={DAEMON: first["text"]})
    assert not follow(look, **wanted)["due"]
    look["files"][engine.NOTE] = looks.file(first["note"], mtime_s=1001.0)
    assert follow(look, **wanted)["due_parts"] == ["docker"]


@pytest.mark.parametrize(
    ("there", "wanted", "due", "absent"),
    [
        (None, "", False, True),
        (None, "d1", True, False),
        ("d1", "d1", False, False),
        ("d1", "d2", True, False),
        ("d1", "", True, True),
    ],
)
@pytest.mark.parametrize("name", ["docker", "podman"])
def test_proxies_are_known_by_their_digest(name, there, wanted, due, absent):
    engines = {"docker": {"docker": looks.docker()}, "podman": {"podman": looks.podman()}}[name]
    path = engine.PROXY_FILE if name == "docker" else podman.PROXY
    look = looks.host(engines=engines, digests={path: there}, texts={engine.DROP_IN: engine._DROP_IN_TEXT})
    state = follow(look, proxy_digests={name: wanted, **dict.fromkeys({"docker", "podman"} - {name}, "x")})
    assert (state["proxy"]["due"], state["proxy"]["absent"]) == (due, absent)
    assert state["docker"]["restart_now"] == (due and name == "docker")


def test_podmans_files():
    wanted = {"registry_mirrors": ["http://m:5000/hub"], "insecure_registries": ["m:5000", "r"], "log_max_size": "2m"}
    state = follow(looks.host(), **wanted)
    texts = {one["path"]: one["content"] for one in state["files"]}
    assert texts[podman.CONTAINERS].endswith("[containers]\nlog_size_max = 2097152\n")
    assert texts[podman.REGISTRIES].split("\n", 1)[1] == (
        '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n\n'
        '[[registry.mirror]]\nlocation = "m:5000/hub"\ninsecure = true\n'
        '\n[[registry]]\nlocation = "m:5000"\ninsecure = true\n\n[[registry]]\nlocation = "r"\ninsecure = true\n'
    )
    assert not follow(looks.host(texts=texts), **wanted)["due"]
    # No longer asked for: nothing of it is in force.
    emptied = follow(looks.host(texts=texts))["files"]
    assert [one["content"] for one in emptied] == [podman.repositories.HEAD] * 2


@pytest.mark.parametrize(
    ("subuid", "lingers", "ranges", "linger"),
    [
        ("", False, ["--add-subuids", "100000-165535", "--add-subgids", "100000-165535"], True),
        ("bob:100000:65536\n", False, ["--add-subuids", "165536-231071", "--add-subgids", "165536-231071"], True),
        ("eva:100000:65536\n", False, [], True),
        ("1000:100000:65536\n", True, [], False),
        ("eva:100000:10\n", True, ["--add-subuids", "100010-165545", "--add-subgids", "100010-165545"], False),
        ("junk\n", True, ["--add-subuids", "100000-165535", "--add-subgids", "100000-165535"], False),
    ],
)
def test_a_user_without_root(subuid, lingers, ranges, linger):
    user = {"uid": 1000, "home": "/home/eva", "groups": [], "subuid": subuid, "subgid": subuid, "lingers": lingers}
    found = follow(looks.host(users={"eva": user}), rootless_user="eva")["rootless"]
    assert (found["ranges"], found["linger"], found["due"]) == (ranges, linger, bool(ranges) or linger)


@pytest.mark.parametrize(("active", "enabled", "enable"), [(True, True, False), (False, True, True), (True, False, True)])
def test_docker_runs_now_and_at_boot(active, enabled, enable):
    docker = dict(looks.docker(), active=active, enabled=enabled)
    state = follow(looks.host(engines={"docker": docker}))
    assert (state["docker"]["enable"], state["due"]) == (enable, enable)
    assert follow(looks.host(looks.ROCKY, {}), source="docker")["docker"]["enable"]  # which is yet to be installed
