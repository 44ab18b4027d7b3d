# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA's Container Toolkit on hosts of all kinds: what is due, what is refused, what is not proven."""

from __future__ import annotations

import json

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_toolkit as toolkit
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_toolkit_cdi as cdi
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_toolkit_sources as sources
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment import container_looks as looks

OLD_FLAG = "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS=no-additional-gids-for-device-nodes"


def follow(look, **wanted):
    return toolkit.follow(dict(looks.TOOLKIT, **wanted), look)


def done(engines=None, texts=None, **more):
    """A host on which all is as asked for, with a card."""
    files = {sources.APT_FILE: sources.repository(looks.TOOLKIT, looks.host())["text"], cdi.ENVIRONMENT: "# vendor's\n"}
    arguments = {
        "packages": looks.installed(),
        "fingerprints": {sources.APT_KEY: ["A" * 40]},
        "units": looks.UNITS,
        "cdi": [looks.SPEC],
        "card": True,
    }
    arguments.update(more)
    look = looks.host(engines=engines, texts=dict(files, **(texts or {})), **arguments)
    record = follow(look)["proof"]["record"]
    look["files"][toolkit.RECORD] = looks.file(json.dumps(record))
    return look


def test_nothing_is_due_where_all_is_well():
    state = follow(done())
    assert (state["due_parts"], state["problems"], state["warnings"]) == ([], [], [])
    assert state["proof"]["proven"] == ["podman"] and state["proof"]["not_proven"] == ""


@pytest.mark.parametrize(
    ("engines", "wanted", "problem"),
    [
        ({"docker": looks.docker("20.10.24+dfsg1")}, {}, "docker 20.10.24+dfsg1 knows no CDI, which begins with 25.0"),
        ({"docker": looks.docker("24.0.7")}, {"runtime": "legacy"}, None),
        ({"docker": looks.docker("25.0.0")}, {}, None),
        (
            {"podman": looks.podman("3.4.4")},
            {"runtime": "legacy"},
            "podman 3.4.4 knows no CDI, which begins with 4.1: upgrade it",
        ),
        ({"podman": looks.podman("4.3.1")}, {}, None),
        ({"containerd": looks.other("1.6.20")}, {}, "containerd 1.6.20 knows no CDI"),
        ({"crio": looks.other("1.22.0")}, {}, "crio 1.22.0 knows no CDI"),
        ({"podman": looks.podman()}, {"engines": ["docker"]}, "docker is not on this host"),
        ({"docker": looks.docker("20.10.24"), "podman": looks.podman()}, {"engines": ["podman"]}, None),
        ({}, {"engines": "docker"}, "nvidia_container_toolkit_engines=docker: give auto, or a list"),
        ({}, {"version": "1.17.8"}, "nvidia_container_toolkit_version=1.17.8 has no units"),
        ({}, {"version": "latest"}, "nvidia_container_toolkit_version=latest: give a release such as 1.20.0"),
        ({}, {"packages": ["nvidia-container-toolkit"]}, "nvidia_container_toolkit_packages=nvidia-container-toolkit: give ["),
        (
            {},
            {"packages": [looks.FOUR[0], looks.FOUR[1]]},
            "depends on the exact version of libnvidia-container-tools, libnvidia-container1",
        ),
        ({}, {"packages": [looks.FOUR[1]]}, None),
        (
            {},
            {"offline": True},
            "nvidia_container_toolkit_repository_url=https://nvidia.github.io/libnvidia-container/stable is the vendor's",
        ),
        ({}, {"offline": True, "repository_url": "https://mirror.example.com/nvidia"}, None),
    ],
)
def test_refusals(engines, wanted, problem):
    problems = follow(looks.host(engines=engines), **wanted)["problems"]
    assert len(problems) == (0 if problem is None else 1)
    if problem:
        assert problem in problems[0]


def test_offline_is_no_hindrance_where_the_packages_are_there():
    assert follow(done(), offline=True, proof=False)["problems"] == []


@pytest.mark.parametrize(
    ("engines", "packages", "wanted", "system", "specs"),
    [
        (None, {}, {}, None, ["%s=1.20.0-1" % name for name in looks.FOUR]),
        (None, {}, {"version": "1.19.1-2"}, None, ["%s=1.19.1-2" % name for name in looks.FOUR]),
        (None, {}, {"packages": [looks.FOUR[1]]}, None, ["nvidia-container-toolkit-base=1.20.0-1"]),
        (None, {}, {}, looks.ROCKY, ["%s-1.20.0-1" % name for name in looks.FOUR]),
        # One that is not asked for goes along, for the others would not install beside it.
        (
            None,
            looks.installed("1.19.1-1"),
            {"packages": [looks.FOUR[1]]},
            None,
            ["%s=1.20.0-1" % name for name in (looks.FOUR[1], looks.FOUR[0], looks.FOUR[2], looks.FOUR[3])],
        ),
    ],
)
def test_packages_are_exact_and_together(engines, packages, wanted, system, specs):
    found = follow(looks.host(system, engines, packages=packages), **wanted)["packages"]
    assert found["specs"] == specs and found["install_due"] and set(found["hold"]) == set(found["names"])


@pytest.mark.parametrize(
    ("packages", "wanted", "install", "hold"),
    [
        (looks.installed(), {}, [], []),
        (looks.installed("1.20.0-1.el9"), {}, [], []),
        (looks.installed(held=False), {}, [], list(looks.FOUR)),
        (looks.installed(held=False), {"hold": False}, [], []),
        (looks.installed("1.20.1-1"), {}, list(looks.FOUR), list(looks.FOUR)),
        (dict(looks.installed(), libnvidia_container1={}), {}, [], []),
        (
            {name: dict(one, state="unfinished") for name, one in looks.installed().items()},
            {},
            list(looks.FOUR),
            list(looks.FOUR),
        ),
    ],
)
def test_what_of_the_packages_is_due(packages, wanted, install, hold):
    found = follow(looks.host(packages=packages), **wanted)["packages"]
    assert (found["install"], found["hold"]) == (install, hold)


@pytest.mark.parametrize(
    ("engines", "version", "flag"),
    [
        ({"podman": looks.podman("5.1.0")}, "1.20.0", False),
        ({"podman": looks.podman("5.0.3")}, "1.20.0", True),
        ({"podman": looks.podman("4.3.1")}, "1.20.0", True),
        ({"podman": looks.podman("4.3.1")}, "1.18.2", False),
        ({"docker": looks.docker("26.1.0")}, "1.19.0", False),
        ({"docker": looks.docker("25.0.5")}, "1.19.0", True),
        ({"containerd": looks.other("1.7.15")}, "1.19.0", True),
        ({"containerd": looks.other("1.7.16")}, "1.19.0", False),
        ({"crio": looks.other("1.29.4")}, "1.19.0", True),
        ({"crio": looks.other("1.30.0")}, "1.19.0", False),
        # One that reads no CDI at all needs no old one either.
        ({"docker": looks.docker("20.10.24")}, "1.20.0", False),
    ],
)
def test_the_specification_is_one_that_all_engines_read(engines, version, flag):
    text = follow(looks.host(engines=engines), version=version, runtime="legacy")["cdi"]["environment"]
    assert (OLD_FLAG in (text or "")) == flag


@pytest.mark.parametrize(
    ("text", "variables", "after"),
    [
        (None, {}, None),
        ("# a\nX=1\n", {}, None),
        (None, {"A": 1}, cdi.MARK + "the role nvidia_container_toolkit sets this\nA=1\n"),
        ("# a\nX=1\n", {"X": 1}, None),
        ("# a\nX='1'\n", {"X": 1}, None),
        ("X=1\nY=2\n", {"X": 3}, "X=1\nY=2\n" + cdi.MARK + "the role nvidia_container_toolkit sets this\nX=3\n"),
        (
            "%s=a\n" % cdi.FLAGS,
            {cdi.FLAGS: "b"},
            "{0}=a\n{1}the role nvidia_container_toolkit sets this\n{0}=a,b\n".format(cdi.FLAGS, cdi.MARK),
        ),
        ("%s=a,b\n" % cdi.FLAGS, {cdi.FLAGS: "b"}, None),
        # Ours, no longer wanted.
        ("Y=2\n" + cdi.MARK + "x\nA=1\n", {}, "Y=2\n"),
    ],
)
def test_the_units_variables(text, variables, after):
    assert cdi.environment(text, variables) == after
    if after:
        assert cdi.environment(after, variables) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"cdi": []}, "there is none"),
        ({"cdi": [], "card": False}, ""),
        ({"cdi": [dict(looks.SPEC, missing=["/dev/nvidia3"])]}, "it names devices that are not there: /dev/nvidia3"),
        ({"cdi": [dict(looks.SPEC, names_driver=False)]}, "it was made for another driver than 580.95.05"),
        ({"cdi": [dict(looks.SPEC, mtime=100.0)]}, "what it is made with has changed"),
        ({"engines": {"podman": looks.podman("4.9.0")}}, "what it is made with has changed"),
        (
            {
                "engines": {"podman": looks.podman("4.9.0")},
                "texts": {cdi.ENVIRONMENT: cdi.environment("", {cdi.FLAGS: cdi.OLD_SPECIFICATION})},
            },
            "its version 0.7.0 is too new for podman",
        ),
        ({"gpu": dict(looks.CARD, refreshable=False), "cdi": []}, ""),
    ],
)
def test_why_the_specification_is_made_anew(change, why):
    change = dict(change)
    engines = change.pop("engines", None)
    texts = change.pop("texts", None)
    state = follow(done(engines, texts, **change))
    assert state["cdi"]["why"] == why and state["cdi"]["generate"] == bool(why)


@pytest.mark.parametrize(
    ("specs", "card", "stale"),
    [
        ([looks.SPEC, dict(looks.SPEC, path="/etc/cdi/nvidia.yaml")], True, ["/etc/cdi/nvidia.yaml"]),
        ([dict(looks.SPEC, path="/etc/cdi/nvidia.yaml")], True, []),  # the only one so far
        ([dict(looks.SPEC, path="/etc/cdi/nvidia.yaml")], False, ["/etc/cdi/nvidia.yaml"]),
        ([looks.SPEC, dict(looks.SPEC, path="/etc/cdi/nvidia.yaml", generated=False)], True, []),
        ([looks.SPEC, dict(looks.SPEC, path="/etc/cdi/mine.yaml")], True, []),
    ],
)
def test_stale_specifications(specs, card, stale):
    assert follow(looks.host(cdi=specs, card=card))["cdi"]["stale"] == stale


DOCKER = {"/etc/docker/daemon.json": '{"labels": ["a"]}'}


@pytest.mark.parametrize(
    ("docker", "runtime", "texts", "writes", "reload", "restart", "waits"),
    [
        (looks.docker(), "cdi", DOCKER, True, False, True, False),
        (looks.docker(cdi_spec_dirs=["/etc/cdi", "/var/run/cdi"]), "cdi", DOCKER, True, False, False, False),
        (looks.docker("28.2.0", cdi_spec_dirs=["/etc/cdi", "/var/run/cdi"]), "cdi", DOCKER, False, False, False, False),
        (looks.docker(), "legacy", DOCKER, True, True, False, False),
        (
            looks.docker(runtimes=["nvidia", "runc"]),
            "legacy",
            {"/etc/docker/daemon.json": '{"runtimes":{"nvidia":{"path":"nvidia-container-runtime"}}}'},
            False,
            False,
            False,
            False,
        ),
        (looks.docker(containers=[("web", "")]), "cdi", DOCKER, True, False, True, False),
        (looks.docker(containers=[("chat", "devices")]), "cdi", DOCKER, True, False, False, True),
        (looks.docker(containers=[("chat", "legacy")]), "cdi", DOCKER, True, False, False, True),
        (looks.docker(containers=[("chat", "cdi")], live_restore=True), "cdi", DOCKER, True, False, True, False),
        (dict(looks.docker(), active=False, info=None), "cdi", DOCKER, True, False, False, False),
    ],
)
def test_docker(docker, runtime, texts, writes, reload, restart, waits):
    found = follow(looks.host(engines={"docker": docker}, texts=texts), runtime=runtime)["docker"]
    assert (found["text"] is not None, found["reload"], found["restart_now"], found["waits"]) == (writes, reload, restart, waits)


def test_a_restart_that_waits_is_done_when_it_is_allowed_and_is_no_work_of_this_run():
    text = {"/etc/docker/daemon.json": '{"features": {"cdi": true}}'}
    look = done({"docker": looks.docker(containers=[("chat", "devices")])}, text)
    state = follow(look)
    assert state["due_parts"] == [] and state["docker"]["waits"] and "chat" in state["docker"]["restart_why"]
    assert state["proof"]["not_proven"] == "Not proven, that containers see a GPU: docker: it has to be restarted first."
    assert follow(look, restart_engine=True)["due_parts"] == ["docker", "proof"]


def test_a_daemon_json_that_is_none_is_a_refusal():
    state = follow(looks.host(engines={"docker": looks.docker()}, texts={"/etc/docker/daemon.json": "{"}))
    assert len(state["problems"]) == 1 and "/etc/docker/daemon.json is no JSON" in state["problems"][0]


@pytest.mark.parametrize(
    ("packages", "gpu", "driver", "said"),
    [
        ({}, "legacy", "systemd", True),
        ({}, "cdi", "systemd", False),
        ({}, "legacy", "cgroupfs", False),
        (looks.installed(), "legacy", "systemd", False),  # nothing is installed, so nothing is read again
    ],
)
def test_what_a_daemon_reload_would_do_is_said_first(packages, gpu, driver, said):
    docker = looks.docker(containers=[("chat", gpu)], cgroup_driver=driver, cdi_spec_dirs=["/var/run/cdi"])
    warnings = follow(looks.host(engines={"docker": docker}, packages=packages))["warnings"]
    assert any("may lose them" in warning and "chat (docker)" in warning for warning in warnings) == said


@pytest.mark.parametrize(
    ("engine", "version", "runtime", "texts", "configure"),
    [
        ("containerd", "1.7.20", "cdi", {}, True),
        ("containerd", "2.1.0", "cdi", {}, False),
        ("containerd", "2.1.0", "legacy", {}, True),
        (
            "containerd",
            "1.7.20",
            "cdi",
            {
                toolkit.CONTAINERD_DROP_IN: "enable_cdi = true\nnvidia-container-runtime",
                toolkit.CONTAINERD: 'imports = ["/etc/containerd/conf.d/*.toml"]',
            },
            False,
        ),
        (
            "containerd",
            "1.7.20",
            "cdi",
            {toolkit.CONTAINERD_DROP_IN: "enable_cdi = true\nnvidia-container-runtime", toolkit.CONTAINERD: ""},
            True,
        ),
        ("crio", "1.31.0", "cdi", {}, False),
        ("crio", "1.31.0", "legacy", {}, True),
        ("crio", "1.31.0", "legacy", {toolkit.CRIO_DROP_IN: 'runtime_path = "/usr/bin/nvidia-container-runtime"'}, False),
    ],
)
def test_nvidia_ctk_is_called_only_where_its_result_is_not_there(engine, version, runtime, texts, configure):
    found = follow(looks.host(engines={engine: looks.other(version)}, texts=texts), runtime=runtime)[engine]
    assert (found["configure"], found["due"]) == (configure, configure)


def test_an_engine_that_is_older_than_its_drop_in_is_restarted():
    look = looks.host(engines={"crio": looks.other("1.31.0")})
    look["files"][toolkit.CRIO_DROP_IN] = looks.file("nvidia-container-runtime", mtime_s=1001.0)
    found = follow(look, runtime="legacy")["crio"]
    assert (found["due"], found["configure"], found["restart"]) == (True, False, True)


@pytest.mark.parametrize(
    ("gpu", "wanted", "said"),
    [
        ({"cards": 0, "devices": []}, {}, "podman: there is no NVIDIA card"),
        ({"cards": 2, "devices": []}, {}, "podman: there are 2 NVIDIA cards, and no driver that works"),
        ({"smi": None}, {}, "podman: the device files are there, and nvidia-smi is not"),
        ({}, {"proof": False}, "podman: nvidia_container_toolkit_proof is off"),
        ({"refreshable": False}, {}, "podman: there is no CDI specification, and nvidia-cdi-refresh.service makes none"),
    ],
)
def test_what_is_not_proven_is_said(gpu, wanted, said):
    state = follow(looks.host(gpu=dict(looks.CARD, **gpu)), **wanted)
    assert said in state["proof"]["not_proven"] and not state["proof"]["due"]


def test_the_proof():
    look = done(
        {"docker": looks.docker("29.1.5", cdi_spec_dirs=["/var/run/cdi"]), "podman": looks.podman()},
        system=dict(looks.DEBIAN, selinux=True),
    )
    del look["files"][toolkit.RECORD]
    proofs = follow(look)["proof"]["engines"]
    assert [one["argv"] for one in proofs] == [
        [
            name,
            "run",
            "--rm",
            "--network=none",
            "--device=nvidia.com/gpu=all",
            "--security-opt=label=disable",
            "docker.io/library/ubuntu:24.04",
            "nvidia-smi",
            "-L",
        ]
        for name in ("docker", "podman")
    ]
    assert [one["pull"] for one in proofs] == [
        [name, "pull", "--quiet", "docker.io/library/ubuntu:24.04"] for name in ("docker", "podman")
    ]
    legacy = follow(look, runtime="legacy")["proof"]["engines"][0]["argv"]
    assert "--runtime=nvidia" in legacy and "--device=nvidia.com/gpu=all" not in legacy


@pytest.mark.parametrize("change", [{"version": "1.20.1"}, {"proof_image": "x:1"}])
def test_it_is_proven_again_when_something_has_changed(change):
    look = done(packages=looks.installed("%s-1" % change.get("version", "1.20.0")))
    assert follow(look, **change)["due_parts"] == ["proof"]


def test_containerd_is_dockers_own_unless_it_is_named():
    engines = {"docker": looks.docker("29.1.5"), "containerd": looks.other("1.7.20")}
    assert list(follow(looks.host(engines=engines))["engines"]) == ["docker"]
    assert list(follow(looks.host(engines=engines), engines=["containerd"])["engines"]) == ["containerd"]


def test_a_host_without_an_engine_is_said():
    assert "There is no container engine on this host" in follow(looks.host(engines={}))["warnings"][0]
