# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""container_image against an engine that says what Docker 26 and Podman 5 say. The real ones are in molecule/vllm_container."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import container_image as images
from ansible_collections.gpufleet.llm.plugins.modules import container_image

NAME = "registry.example:5000/vllm/vllm-openai"
OLD, NEW = "sha256:" + 64 * "a", "sha256:" + 64 * "b"


class Engine:
    """A registry and a store: {name: digest} and {id: image}. ``asked`` are the commands but for looks at an image."""

    def __init__(self, kind):
        self.kind, self.asked, self.store, self.fault, self.running = kind, [], {}, "", ""
        self.registry = {NAME + ":v1": OLD, NAME + "@" + OLD: OLD}

    def __call__(self, words):
        assert words[0] == self.kind
        if words[1:3] == ["image", "inspect"]:
            return self.inspect(words[3])
        self.asked.append(words[1:])
        if self.fault:
            return 1, "", self.fault
        return getattr(self, words[1])(words[2:])

    def inspect(self, reference):
        for image in self.store.values():
            if reference in (image["Id"], image["Id"][7:], *image["RepoTags"], *image["RepoDigests"]):
                shown = dict(image, Id=image["Id"] if self.kind == "docker" else image["Id"][7:])
                return 0, json.dumps([shown]), ""
        words = "Error: No such image: %s" if self.kind == "docker" else "Error: %s: image not known"
        return 1, "[]\n", words % reference

    def add(self, digest, tags=(), digests=()):
        number = "sha256:" + hashlib.sha256(digest.encode()).hexdigest()
        found = self.store.setdefault(number, {"Id": number, "RepoTags": [], "RepoDigests": [], "Size": 5})
        found["RepoTags"] += tags
        found["RepoDigests"] += digests
        return number

    def pull(self, words):
        name = words[-1]
        if name not in self.registry:
            return 125, "", "Error: initializing source: manifest unknown\n"
        digest = self.registry[name]
        self.add(digest, [] if "@" in name else [name], [images.untagged(name) + "@" + digest])
        return 0, "x\n", ""

    def load(self, words):
        with open(words[1], encoding="utf-8") as content:
            names = content.read().split()
        said = ""
        for name in names:
            number = self.add(name, [] if name.startswith("sha256:") else [name])
            said += "Loaded image ID: %s\n" % number if name.startswith("sha256:") else "Loaded image: %s\n" % name
        return 0, said, ""

    def ps(self, words):
        assert words[:3] == ["--all", "--quiet", "--filter"]
        return 0, "c0ffee\n" if words[3] == "ancestor=" + self.running else "", ""

    def image(self, words):
        assert words[:2] == ["rm", "--force"]
        self.store.pop("sha256:" + words[2])
        return 0, "", ""


class Host:
    def __init__(self, tmp_path, kind):
        self.engine, self.records = Engine(kind), str(tmp_path / "records")

    def __call__(self, check_mode=False, **options):
        params = {name: spec.get("default") for name, spec in container_image.ARGUMENTS.items()}
        params.update(engine=self.engine.kind, records=self.records, **options)
        return images.answer(params, check_mode, self.engine)

    def fails(self, message, **options):
        before = len(self.engine.asked)
        with pytest.raises(GpufleetError) as failure:
            self(**options)
        assert message in str(failure.value)
        return len(self.engine.asked) - before


@pytest.fixture(params=["docker", "podman"])
def host(tmp_path, request):
    return Host(tmp_path, request.param)


def test_by_digest(host):
    wish = {"name": NAME + ":v1", "digest": OLD}
    foretold = host(check_mode=True, **wish)
    assert foretold["changed"] and foretold["reference"] == NAME + "@" + OLD and host.engine.asked == []
    done = host(**wish)
    assert done["changed"] and done["reference"] == NAME + "@" + OLD and len(done["id"]) == 64
    assert host.engine.asked == [["pull", "--quiet", NAME + "@" + OLD]]
    again = host(**wish)
    assert (again["changed"], again["reference"], again["id"]) == (False, done["reference"], done["id"])
    assert host(name=NAME + "@" + OLD)["changed"] is False
    assert len(host.engine.asked) == 1


def test_a_tag_is_looked_up_once(host):
    assert host(check_mode=True, name=NAME + ":v1")["reference"] is None
    done = host(name=NAME + ":v1")
    assert done["reference"] == NAME + "@" + OLD
    host.engine.registry[NAME + ":v1"] = NEW
    again = host(name=NAME + ":v1")
    assert not again["changed"] and again["reference"] == NAME + "@" + OLD and len(host.engine.asked) == 1
    host.engine.store.clear()  # somebody removed it
    assert host(name=NAME + ":v1")["reference"] == NAME + "@" + NEW


def archive(path, names):
    path.write_text(names)
    return str(path)


def test_an_archive(host, tmp_path):
    path = archive(tmp_path / "image.tar", "localhost/vllm:1")
    right = hashlib.sha256(b"localhost/vllm:1").hexdigest()
    assert host.fails("has sha256 %s, and sha256=%s is asked for" % (right, 64 * "0"), archive=path, sha256=64 * "0") == 0
    foretold = host(check_mode=True, archive=path)
    assert foretold["changed"] and foretold["actions"] == ["load " + path] and foretold["reference"] is None
    done = host(archive=path, sha256=right)
    assert done["changed"] and done["reference"] == done["id"] and len(done["id"]) == 64
    assert not host(archive=path, sha256=right)["changed"] and not host(archive=path)["changed"]
    assert host.engine.asked == [["load", "--input", path]]
    archive(tmp_path / "image.tar", "sha256:without-a-name")
    changed = host(archive=path)
    assert changed["changed"] and changed["id"] != done["id"]
    assert host.fails("holds 2 images (a:1, b:1): save one alone", archive=archive(tmp_path / "two.tar", "a:1 b:1")) == 1


def test_what_nobody_starts_is_removed(host, tmp_path):
    ids = [host(archive=archive(tmp_path / str(number), "localhost/vllm:%d" % number))["id"] for number in range(4)]
    host.engine.add("somebody else's", ["theirs:1"])
    for name in os.listdir(host.records):
        os.utime(os.path.join(host.records, name), ns=(0, ids.index(name.split("-")[1][:64]) * 10**9))
    (tmp_path / "unit").write_text("ExecStart=docker run %s" % ids[0])
    wish = {"state": "pruned", "used_by": [str(tmp_path / "un*")], "keep": 1}
    foretold = host(check_mode=True, **wish)
    assert len(host.engine.store) == 5
    done = host(**wish)
    assert done["actions"] == foretold["actions"] == ["remove localhost/vllm:2", "remove localhost/vllm:1"]
    assert set(host.engine.store) >= {"sha256:" + ids[0], "sha256:" + ids[3]} and len(host.engine.store) == 3
    assert not host(**wish)["changed"]


def test_one_that_worked_stays_longer_and_one_that_runs_stays(host, tmp_path):
    ids = [host(archive=archive(tmp_path / str(number), "localhost/vllm:%d" % number))["id"] for number in range(4)]
    for name in os.listdir(host.records):
        os.utime(os.path.join(host.records, name), ns=(0, ids.index(name.split("-")[1][:64]) * 10**9))
    wish = {"state": "pruned", "used_by": [str(tmp_path / "un*")], "proven_by": [str(tmp_path / "proven*")], "keep": 1}
    (tmp_path / "unit").write_text("Image=%s" % ids[0])
    os.symlink("/nowhere", tmp_path / "unit-of-nobody")
    (tmp_path / "proven.json").write_text(ids[0])
    host.engine.running = ids[1]
    assert host(**wish)["actions"] == ["remove localhost/vllm:2"]
    (tmp_path / "unit").write_text("Image=%s" % ids[3])
    (tmp_path / "proven.json").write_text(ids[3])
    assert host(**wish)["actions"] == []
    assert set(host.engine.store) == {"sha256:" + ids[number] for number in (0, 1, 3)}
    host.engine.running = ""
    assert host(**wish)["actions"] == ["remove localhost/vllm:1"]


def test_two_archives_of_one_image(host, tmp_path):
    first, second = (archive(tmp_path / name, "localhost/vllm:1") for name in ("a", "b"))
    number = host(archive=first)["id"]
    assert host(archive=second)["id"] == number
    assert not host(archive=first)["changed"] and not host(archive=second)["changed"]
    wish = {"state": "pruned", "used_by": [], "keep": 0}
    assert host(**wish)["actions"] == ["remove localhost/vllm:1"] and host.engine.store == {} and os.listdir(host.records) == []


def test_what_was_there_before_is_not_ours(host):
    host.engine.add(OLD, [NAME + ":v1"], [NAME + "@" + OLD])
    assert host(name=NAME + ":v1")["changed"]
    assert host(state="pruned", used_by=[], keep=0)["actions"] == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "give one of name and archive"),
        ({"name": NAME, "archive": "/x"}, "give one of name and archive"),
        ({"name": "Not An Image"}, "name=Not An Image: give an image as REGISTRY/NAME[:TAG][@sha256:DIGEST]"),
        ({"name": "--privileged"}, "name=--privileged: give an image"),
        ({"name": NAME, "digest": "v1"}, "digest=v1: give sha256: and 64 hex digits"),
        ({"name": NAME + "@" + OLD, "digest": NEW}, "digest=%s: name=%s@%s has another one" % (NEW, NAME, OLD)),
        ({"name": NAME, "sha256": 64 * "0"}, "sha256 is of an archive"),
        ({"archive": "/nowhere/x.tar", "sha256": "0"}, "sha256=0: give 64 hex digits"),
        ({"archive": "/nowhere/x.tar"}, "archive=/nowhere/x.tar: No such file or directory"),
        ({"name": NAME + ":v1", "offline": True}, "offline=true and "),
        ({"name": NAME + ":v1", "auth_file": "/nowhere/config.json"}, "auth_file=/nowhere/config.json: there is no such file"),
    ],
)
def test_refused_before_the_engine_is_asked_for_anything(host, options, message):
    assert host.fails(message, **options) == 0


def test_credentials_for_docker_have_a_name(tmp_path):
    (tmp_path / "auth.json").write_text("{}")
    path = str(tmp_path / "auth.json")
    assert Host(tmp_path, "podman")(name=NAME + ":v1", auth_file=path)["changed"]
    Host(tmp_path, "docker").fails("auth_file=%s: Docker reads credentials from a file config.json alone" % path, name=NAME, auth_file=path)


def test_what_the_registry_and_the_engine_say_comes_through(host):
    host.fails("%s:v9 could not be pulled: Error: initializing source: manifest unknown" % NAME, name=NAME + ":v9")
    host.engine.inspect = lambda _reference: (1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock")
    host.fails("Cannot connect to the Docker daemon", name=NAME + ":v1")


def test_an_engine_that_is_not_there(tmp_path):
    run = images._run(5, None)
    with pytest.raises(GpufleetError, match="gpufleet.llm.container_engine installs it"):
        run(["gpufleet-no-such-engine", "pull"])
