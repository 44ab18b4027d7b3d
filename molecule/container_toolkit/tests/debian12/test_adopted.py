# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of the guide of 2021, with a Docker that knows no CDI and a Podman that reads only old specifications.

The tests build on one another.
"""

from __future__ import annotations

import json

import pytest
from conftest import DAEMON, IMAGE, NEW, OLD, PACKAGES, SPEC, UUID

ENVIRONMENT = "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"
LEFTOVERS = (
    "/etc/apt/sources.list.d/nvidia-docker.list",
    "/etc/apt/sources.list.d/libnvidia-container.list",
    "/etc/apt/sources.list.d/nvidia-container-runtime.list",
    "/etc/apt/trusted.gpg.d/nvidia.gpg",
    "/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json",
    "/etc/cdi/nvidia.yaml",
)
LEGACY = ("--runtime=nvidia", "--env=NVIDIA_VISIBLE_DEVICES=all")


@pytest.fixture(scope="module")
def before(host):
    return {
        "daemon": host.file(DAEMON).content,
        "mode": host.file(DAEMON).mode,
        "docker": host.show("MainPID", "docker"),
        "containers": {name: host.pid_of(name) for name in ("old", "plain")},
    }


def same(host, before):
    """What is the admin's, and what runs."""
    assert host.file(DAEMON).content == before["daemon"] and host.file(DAEMON).mode == before["mode"]
    assert host.show("MainPID", "docker") == before["docker"]
    assert {name: host.pid_of(name) for name in before["containers"]} == before["containers"]
    assert all(before["containers"].values())


def test_a_docker_without_cdi_is_refused_before_anything_happens(host, play, before):
    found = host.quiet()
    run = play()
    assert run.rc != 0
    assert (
        "docker 20.10.24+dfsg1 knows no CDI, which begins with 25.0: set nvidia_container_toolkit_runtime to legacy" in run.words
    )
    assert host.quiet() == found
    same(host, before)


def test_check_mode_shows_what_is_about_to_change(host, play, before):
    found = host.quiet()
    run = play("--check", "--diff", runtime="legacy")
    assert run.rc == 0, run.text
    assert host.quiet() == found
    same(host, before)
    assert all(host.file(path).exists for path in LEFTOVERS)
    for line in (
        "-deb https://nvidia.github.io/libnvidia-container/experimental",
        "+Signed-By: /etc/apt/keyrings",
        "nvidia-docker.list",
    ):
        assert line in run.text
    assert "nvidia-container-toolkit=%s-1, nvidia-container-toolkit-base=%s-1" % (OLD, OLD) in run.words
    assert "Forget keys that may sign for every repository" in run.changes and "Say what would be installed" in run.changes


def test_adoption_leaves_what_is_the_admins_and_what_runs(host, play, before):
    run = play(runtime="legacy")
    assert run.rc == 0, run.text
    same(host, before)
    # Said first: what the installation does to containers of the old hook.
    assert run.text.index("may lose them then") < run.text.index("TASK [gpufleet.llm.nvidia_container_toolkit : Install with apt")
    assert "old (docker)" in run.words
    # A newer version is in the repository, and is not what was asked for.
    assert host.versions() == {name: (OLD + "-1", "hold") for name in PACKAGES}
    assert "1.20.1-1" in host.output("apt-cache madison nvidia-container-toolkit")


def test_leftovers_are_gone_and_others_stay(host):
    assert [path for path in LEFTOVERS if host.file(path).exists] == []
    assert host.file("/etc/apt/sources.list.d/mine.list").content_string == (
        "# by hand\ndeb http://deb.debian.org/debian bookworm-updates main\n"
    )
    debian = host.file("/usr/share/keyrings/debian-archive-bookworm-stable.gpg").content
    assert host.file("/etc/apt/trusted.gpg").content == debian
    # Removed, not purged: daemon.json is still known as a file of that package.
    assert host.output("dpkg-query --show --showformat '${db:Status-Abbrev}' nvidia-docker2").strip() == "rc"
    assert host.run("apt-get -qq update").stderr == ""


def test_the_specification_is_one_that_this_podman_reads(host):
    assert (
        host.output("grep -v '^#' %s", ENVIRONMENT) == "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS=no-additional-gids-for-device-nodes"
    )
    assert "cdiVersion: 0.5.0" in host.file(SPEC).content_string
    assert host.show("UnitFileState", "nvidia-cdi-refresh") == "enabled"
    assert UUID in host.sees_gpu("podman", "--device nvidia.com/gpu=all")
    assert UUID in host.sees_gpu("docker", *LEGACY)
    # And that it would not read today's.
    host.output("env -u NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS nvidia-ctk cdi generate --output /etc/cdi/today.yaml")
    host.output("mv %s /root/ && sed -i s/nvidia.com/example.com/ /etc/cdi/today.yaml", SPEC)
    refused = host.run("podman run --rm --network none --device example.com/gpu=all %s true", IMAGE)
    host.output("rm /etc/cdi/today.yaml && mv /root/nvidia.yaml %s", SPEC)
    assert refused.rc != 0


def test_nothing_to_do(host, play, before):
    found = host.quiet()
    run = play(runtime="legacy")
    assert (run.rc, run.changed) == (0, 0), run.text
    assert run.text.count("TASK [") == 3 + 1 * ("Validating" in run.text)
    assert host.quiet() == found
    same(host, before)


def test_upgrade_of_all_at_once(host, play, before):
    run = play(runtime="legacy", version=NEW)
    assert run.rc == 0, run.text
    assert host.versions() == {name: (NEW + "-1", "hold") for name in PACKAGES}
    assert "cdiVersion: 0.5.0" in host.file(SPEC).content_string
    same(host, before)
    assert (
        json.loads(host.file("/var/lib/gpufleet/nvidia_container_toolkit/proven.json").content_string)["docker"]["toolkit"] == NEW
    )


def test_a_daemon_json_without_the_runtime_gets_it_and_nothing_stops(host, play, before):
    admins = {"log-opts": {"max-size": "50m", "max-file": "3"}, "labels": ["größe=klein"], "live-restore": True}
    text = json.dumps(admins, indent="\t", ensure_ascii=False)  # no end of line at its end
    host.output(
        "docker rm --force old && printf %%s %s > %s && systemctl reload docker && systemctl restart docker", text, DAEMON
    )
    assert "nvidia" not in host.docker_info("{{json .Runtimes}}")
    docker = host.show("MainPID", "docker")
    run = play("--diff", runtime="legacy", version=NEW)
    assert run.rc == 0, run.text
    assert host.daemon() == dict(admins, runtimes={"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}})
    after = host.file(DAEMON).content_string
    assert after.startswith(text[: text.rindex("\n")]) and after.endswith("\t}\n}")
    assert host.file(DAEMON).mode == before["mode"]
    # By a signal, not by a restart.
    assert host.show("MainPID", "docker") == docker
    assert host.pid_of("plain") == before["containers"]["plain"]
    assert UUID in host.sees_gpu("docker", *LEGACY)
