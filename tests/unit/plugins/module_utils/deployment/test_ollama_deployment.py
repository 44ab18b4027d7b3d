# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role decides from one look at a host."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama, ollama_service, watchdog
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.deployment import ollama_looks as looks
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.planning import ollama_hosts

FACTS = {looks.DIGEST: ollama_hosts.model("llama3.1-8b")}
NAME = "llama3.1:8b"
MODELS = "/srv/models/ollama"


def only(state):
    assert len(state["instances"]) == 1
    return state["instances"][0]


def with_model(look, path=MODELS, **changes):
    look["stores"][path] = looks.store(looks.model(NAME, **changes))
    return look


# --- what is asked for ---

PROBLEMS = {
    "keep": ({"keep": "all"}, {}, "ollama_keep_versions=all: give how many"),
    "keep, a boolean": ({"keep": True}, {}, "ollama_keep_versions=True: give how many"),
    "addons": ({"addons": ["cuda"]}, {}, "ollama_addons=['cuda']: give auto or a list of rocm, jetpack5"),
    "addons as text": ({"addons": "rocm,cuda"}, {}, "ollama_addons=rocm,cuda: give auto"),
    "home of all": ({"home": "/home"}, {}, "ollama_home=/home: give an absolute path"),
    "relative home": ({"home": "ollama"}, {}, "ollama_home=ollama: give an absolute path"),
    "store of all": ({}, {"models_path": "/srv/"}, "models_path=/srv of instance ollama belongs to the system"),
    "root as store": ({}, {"models_path": "/"}, "models_path=/ of instance ollama belongs to the system"),
    "option": ({}, {"models": [{"name": "a", "source": "b"}]}, "ollama_models[a]: source: a model has no such option"),
    "place of the server": ({}, {"models": [{"name": "a", "url": "b"}]}, "ollama_models[a]: url: a model has no such"),
    "state": ({}, {"models": [{"name": "a", "state": "here"}]}, "ollama_models[a]: state=here: give one of"),
    "name": ({}, {"models": ["a//b"]}, "ollama_models[a//b]: "),
    "twice": ({}, {"models": ["a", "A:latest"]}, "ollama_models[A:latest]: a is the same model. Once is enough."),
    "two sources": (
        {}, {"models": [{"name": "a", "from": "b", "gguf": ["/c"]}]}, "ollama_models[a]: from and gguf are both given"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_problems(case):
    role, asked, message = PROBLEMS[case]
    (found,) = ollama_service.problems(looks.wanted(**asked), looks.role(**role))
    assert found.startswith(message), found


@pytest.mark.parametrize(
    "role", [{}, {"keep": "2"}, {"addons": "rocm"}, {"addons": ["rocm", "mlx"]}, {"addons": []}, {"home": "/srv/ollama"}]
)
def test_no_problems(role):
    asked = looks.wanted(models=["a", {"name": "b", "from": "a"}], models_path="/data/models")
    assert ollama_service.problems(asked, looks.role(**role)) == []


def test_models_as_text():
    (instance,) = looks.wanted(models="qwen3:8b, llama3.1:8b")["instances"]
    assert [model["name"] for model in instance["models"]] == ["qwen3:8b", "llama3.1:8b"]


def test_look_for():
    asked = looks.wanted(
        instances=[{"name": "ollama"}, {"name": "b", "port": 1, "models_path": "/b", "models": ["a"]}],
        models=["a", {"name": "c", "gguf": ["/x-00001-of-00002.gguf"]}],
    )
    options = ollama.look_for(asked, looks.role(group="ai"))
    assert options["names"] == ["a", "c"] and options["stores"] == [MODELS, "/b"]
    assert options["groups"] == ["render", "video", "ai"]
    assert options["sources"] == ["/x-00001-of-00002.gguf", "/x-00002-of-00002.gguf"]
    assert [(unit["name"], unit["url"]) for unit in options["units"]] == [
        ("ollama.service", "http://127.0.0.1:11434"), ("ollama-b.service", "http://127.0.0.1:1"),
    ]  # fmt: skip
    assert options["units"][1]["files"] == [
        "/etc/systemd/system/ollama-b.service", "/etc/systemd/system/ollama-b.service.d/zz-gpufleet.conf",
    ]  # fmt: skip
    assert set(options["units"][1]["files"] + options["records"]) < set(options["files"])


# --- what follows ---


def test_a_fresh_host():
    state = looks.follow(looks.wanted(models=[NAME]), looks.fresh())
    instance = only(state)
    assert ollama.due_now(state) and state["problems"] == [] and state["warnings"] == []
    assert state["account_due"] and state["release_due"] and state["links_due"]
    assert not state["zstd_due"] and state["previous"] == ""
    assert instance["service_due"] and not instance["adopted"] and instance["plan"] is None and instance["asked"] == ""
    assert (instance["store"], instance["home"]) == (MODELS, "/var/lib/ollama")
    assert [model["reasons"] for model in instance["models_due"]] == [["it is not there"]]
    assert instance["environment"]["OLLAMA_MODELS"] == MODELS and instance["environment"]["OLLAMA_NO_CLOUD"] == "1"
    assert state["unwanted"] == [] and state["user_removed"]


@pytest.mark.parametrize("gpus", [None, "L4", "2 x L40S"])
def test_all_is_well(gpus):
    asked = looks.wanted(models=[NAME])
    look = looks.done(asked, with_model(looks.fresh(gpus)), FACTS)
    state = looks.follow(asked, look)
    assert not ollama.due_now(state) and state["problems"] == []
    assert only(state)["asked"] == NAME and only(state)["plan"]["inputs"]


DUE = {
    "stale": (lambda look: look["units"]["ollama.service"].update(stale=True), "service_due"),
    "not read": (lambda look: look["units"]["ollama.service"].update(needs_daemon_reload=True), "service_due"),
    "stopped": (lambda look: look["units"]["ollama.service"].update(active=False), "service_due"),
    "disabled": (lambda look: look["units"]["ollama.service"].update(enabled=False), "service_due"),
    "silent": (lambda look: look["units"]["ollama.service"].update(version=None), "service_due"),
    "never proven": (lambda look: look["files"].pop("/var/lib/gpufleet/ollama/ollama/proven.json"), "service_due"),
    "release damaged": (lambda look: look["releases"][looks.NEW].update(complete=False), "release_due"),
    "release gone": (lambda look: look["releases"].clear(), "release_due"),
    "another add-on": (lambda look: look["releases"][looks.NEW].update(addons=["mlx"]), "release_due"),
    "fewer libraries": (lambda look: look["releases"][looks.NEW].update(libraries=["vulkan"]), "release_due"),
    "another current": (lambda look: look["files"]["/opt/gpufleet/ollama/current"].update(target="0.1.0"), "links_due"),
    "a file as command": (lambda look: look["files"].update({ollama.CLI: {"type": "file"}}), "links_due"),
    "no user": (lambda look: look.update(user=None), "account_due"),
    "not in render": (lambda look: look["user"].update(groups=["ollama", "video"]), "account_due"),
    "model gone": (lambda look: look["stores"][MODELS]["models"].clear(), "models_due"),
    "blob cut": (lambda look: look["stores"][MODELS]["models"][0].update(problems=["too short"]), "models_due"),
}


@pytest.mark.parametrize("case", DUE)
def test_one_thing_is_due(case):
    change, key = DUE[case]
    asked = looks.wanted(models=[NAME])
    look = looks.done(asked, with_model(looks.fresh()), FACTS)
    change(look)
    state = looks.follow(asked, look)
    keys = ("account_due", "release_due", "links_due", "unwanted")
    found = {name for name in keys if state[name]}
    found |= {name for name in ("service_due", "plan_new", "models_due") if only(state)[name]}
    assert found == {key} and ollama.due_now(state)


def test_groups_that_a_host_lacks_are_not_wanted():
    look = dict(looks.done(looks.wanted(), looks.fresh()), groups=[])
    look["user"] = looks.account(groups=["ollama"])
    state = looks.follow(looks.wanted(), look)
    assert state["groups"] == [] and not ollama.due_now(state)


def test_an_adopted_unit_keeps_its_store_and_home():
    look = looks.fresh()
    home = "/usr/share/ollama"
    look["user"] = looks.account(home=home, groups=["ollama"])
    look["stores"] = {home + "/.ollama/models": looks.store(looks.model(NAME))}
    look["units"]["ollama.service"] = looks.unit(
        fragment_path=looks.VENDOR_UNIT, version=looks.OLD, drop_in_paths=["/etc/systemd/system/ollama.service.d/o.conf"]
    )
    look["files"][looks.VENDOR_UNIT] = looks.text("[Service]\nExecStart=/usr/local/bin/ollama serve\n")
    state = looks.follow(looks.wanted(), look)
    instance = only(state)
    assert instance["adopted"] and instance["unit_path"].endswith("/ollama.service.d/zz-gpufleet.conf")
    assert (instance["home"], instance["store"]) == (home, home + "/.ollama/models")
    assert len(state["warnings"]) == 1 and "o.conf stays, but" in state["warnings"][0]
    assert [one["path"] for one in instance["directories"] if "mode" in one] == [instance["state_path"]]
    assert looks.follow(looks.wanted(models_path="/m"), look)["instances"][0]["store"] == "/m"
    look["units"]["ollama.service"]["models_path"] = "/data/models"
    assert only(looks.follow(looks.wanted(), look))["store"] == "/data/models"


@pytest.mark.parametrize("home", ["/", "/nonexistent", "/home"])
def test_a_home_that_is_none(home):
    look = dict(looks.fresh(), user=looks.account(home=home))
    state = looks.follow(looks.wanted(), look)
    assert state["home"] == "/var/lib/ollama" and state["home_removed"] == "/var/lib/ollama"


def test_a_person_is_not_removed():
    look = dict(looks.fresh(), user=looks.account(uid=1000, home="/home/ai"))
    state = looks.follow(looks.wanted(), look)
    assert not state["user_removed"] and state["home_removed"] == "/home/ai/.ollama"


def test_directories():
    look = looks.fresh()
    look["stores"]["/data/a/models"] = looks.store(exists=False, missing=["/data", "/data/a"])
    made = {one["path"]: (one["owner"], one["mode"]) for one in only(
        looks.follow(looks.wanted(models_path="/data/a/models"), look))["directories"]}  # fmt: skip
    assert made == {
        "/var/lib/gpufleet/ollama/ollama": ("root", "0755"), "/var/lib/ollama": ("ollama", "0755"),
        "/data": ("root", "0755"), "/data/a": ("root", "0755"), "/data/a/models": ("ollama", "0755"),
    }  # fmt: skip
    look["stores"] = {"/var/lib/ollama/.ollama/models": looks.store(exists=False, missing=["/var/lib/ollama/.ollama"])}
    found = only(looks.follow(looks.wanted(models_path="/var/lib/ollama/.ollama/models"), look))["directories"]
    assert [one["owner"] for one in found] == ["root", "ollama", "ollama", "ollama"]


REFUSED = {
    "port taken": ({}, {"listeners": [11434]}, {}, "port 11434 of instance ollama is taken by something else"),
    "store blocked": (
        {"models_path": "/home/ai/models"}, {"stores": {"/home/ai/models": looks.store(blocked="/home/ai")}}, {},
        "models_path=/home/ai/models of instance ollama: the user ollama may not pass through /home/ai",
    ),
    "architecture": ({}, {"architecture": "ppc64le"}, {}, "Ollama has no release for ppc64le"),
    "group": ({}, {"user": looks.account(groups=["users"])}, {}, "the user ollama is there and the group ollama is not"),
    "old driver": (
        {}, {"hardware": ollama_hosts.host("L4", driver_version="535.1")}, {}, "GPU 0 (L4): driver 535.1, and with"
    ),
    "no driver": ({}, {"hardware": ollama_hosts.host("L4", driver_version=None)}, {}, "GPU 0 (L4) has no working"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    asked, changes, role, message = REFUSED[case]
    look = dict(looks.fresh(), **changes)
    (found,) = looks.follow(looks.wanted(**asked), look, looks.role(**role))["problems"]
    assert found.startswith(message), found
    gone = looks.follow(looks.wanted(**asked), look, looks.role(state="absent", **role))
    assert gone["problems"] == []


def test_a_port_is_taken_by_others_only():
    asked = looks.wanted(instances=[{"name": "ollama", "port": 5}, {"name": "b", "port": 11434}])
    look = dict(looks.fresh(), listeners=[5, 11434])
    look["units"] = {"ollama.service": looks.unit(port=11434)}
    (found,) = looks.follow(asked, look)["problems"]
    assert found.startswith("port 5 of instance ollama is taken")
    look["units"]["ollama-b.service"] = looks.unit(port=5)
    assert looks.follow(asked, look)["problems"] == []


GPU = {
    "a GPU": ("L4", {}, {}, {}, "nvidia", ["/dev/nvidiactl", "/dev/nvidia-uvm"]),
    "no GPU": (None, {}, {}, {}, "", []),
    "not wanted": ("L4", {"driver_version": "535.1"}, {"gpus": "none"}, {}, "", []),
    "allowed to run on the CPU": ("L4", {"driver_version": "535.1"}, {}, {"allow_cpu": True}, "", []),
    "an old Ollama": ("L4", {"driver_version": "535.1"}, {}, {"version": "0.24.0"}, "nvidia", None),
    "WSL": ("L4", {"environment": "wsl"}, {}, {}, "nvidia", ["/dev/dxg"]),
    "an AMD GPU": ("MI300X", {}, {}, {}, "amd", ["/dev/kfd"]),
}


@pytest.mark.parametrize("case", GPU)
def test_gpu(case):
    name, hardware, asked, role, gpu, devices = GPU[case]
    look = looks.fresh("L4" if name == "MI300X" else name, **hardware)
    if gpu == "amd":
        look["hardware"]["driver_version"] = None
        look["hardware"]["accelerators"][0].update(
            vendor="amd", usable=False, problem="for Ollama only", driver="amdgpu", compute_capability=None
        )
    state = looks.follow(looks.wanted(**asked), look, looks.role(**role))
    assert state["problems"] == [] and only(state)["gpu"] == gpu
    assert devices is None or only(state)["devices"] == devices
    assert state["addons"] == (["rocm"] if gpu == "amd" else [])


JETSON = {
    "# R35 (release), REVISION: 4.1, GCID: 1": ["jetpack5"],
    "# R36 (release), REVISION: 4.3, GCID: 1": ["jetpack6"],
    "# R38 (release), REVISION: 2.0, GCID: 1": [],
    "": [],
}


@pytest.mark.parametrize("content", JETSON)
def test_jetson(content):
    look = looks.fresh("L4", **looks.JETSON)
    look["files"]["/etc/nv_tegra_release"] = looks.text(content)
    state = looks.follow(looks.wanted(), look)
    assert state["problems"] == [] and state["addons"] == JETSON[content]
    assert only(state)["devices"] == ["/dev/nvmap"]


@pytest.mark.parametrize(
    "role, addons",
    [({"addons": ["rocm", "mlx"]}, ["mlx", "rocm"]), ({"addons": "rocm"}, ["rocm"]), ({"archive": ["/a.tgz"]}, [])],
)
def test_addons(role, addons):
    look = looks.fresh("L4")
    look["hardware"]["accelerators"][0].update(vendor="amd", driver="amdgpu")
    assert looks.follow(looks.wanted(), look, looks.role(**role))["addons"] == addons


@pytest.mark.parametrize("given", [["vulkan", "cuda_v13"], ["cuda_v13", "vulkan"], "vulkan,cuda_v13"])
def test_the_order_of_libraries_does_not_matter(given):
    look = looks.done(looks.wanted(), looks.fresh())
    look["releases"][looks.NEW]["libraries"] = ["cuda_v13", "vulkan"]
    state = looks.follow(looks.wanted(), look, looks.role(libraries=given))
    assert not ollama.due_now(state)


def test_two_instances_of_one_store():
    asked = looks.wanted(instances=[{"name": "a"}, {"name": "b", "port": 1}, {"name": "c", "port": 2, "models_path": "/c"}])
    found = looks.follow(asked, looks.fresh())["instances"]
    assert [one["environment"].get("OLLAMA_NOPRUNE") for one in found] == [None, "1", None]


@pytest.mark.parametrize("setting", [True, False])
def test_a_wish_about_pruning_counts(setting):
    asked = looks.wanted(instances=[{"name": "a"}, {"name": "b", "port": 1}], settings={"noprune": setting})
    found = looks.follow(asked, looks.fresh())["instances"]
    assert [one["environment"]["OLLAMA_NOPRUNE"] for one in found] == [str(int(setting))] * 2


# --- plans ---


def test_models_that_were_not_read():
    state = looks.follow(looks.wanted(models=[NAME]), with_model(looks.fresh()))
    (unread,) = state["unread"]
    assert (unread["digest"], unread["blob"]) == (looks.DIGEST, "/blobs/" + looks.DIGEST)
    assert only(state)["plan"] is None and not only(state)["plan_new"]


@pytest.mark.parametrize(
    "asked, look, again",
    [
        ({}, {}, False),
        ({"settings": {"keep_alive": "1h"}}, {}, True),
        ({"gpus": "none"}, {}, True),
        ({"models": [{"name": NAME, "state": "loaded"}]}, {}, False),
        ({"env": {"LANG": "C"}}, {}, False),
        ({}, {"hardware": ollama_hosts.host("2 x L4")}, True),
    ],
)
def test_a_plan_is_kept_while_its_inputs_are_the_same(asked, look, again):
    before = looks.done(looks.wanted(models=[NAME]), with_model(looks.fresh("L4")), FACTS)
    before.update(look)
    state = looks.follow(looks.wanted(**dict({"models": [NAME]}, **asked)), before, facts=FACTS)
    assert only(state)["plan_new"] == again and only(state)["plan"]["environment"]


def test_another_model_of_the_name_is_planned_for():
    asked = looks.wanted(models=[NAME])
    look = with_model(looks.done(asked, with_model(looks.fresh("L4")), FACTS), digest="6" * 64)
    assert [model["digest"] for model in looks.follow(asked, look)["unread"]] == ["6" * 64]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"inputs": 1}'])
def test_a_plan_that_is_damaged_is_made_anew(content):
    asked = looks.wanted(models=[NAME])
    look = looks.done(asked, with_model(looks.fresh("L4")), FACTS)
    look["files"]["/var/lib/gpufleet/ollama/ollama/plan.json"]["text"] = content
    assert only(looks.follow(asked, look, facts=FACTS))["plan_new"]


def test_a_plan_that_is_refused():
    asked = looks.wanted(models=[NAME], settings={"context_length": 131072, "num_parallel": 64})
    (problem,) = looks.follow(asked, with_model(looks.fresh(None, memory_gib=8)), facts=FACTS)["problems"]
    assert problem.startswith("ollama: ") and "What would help: " in problem


def test_what_cannot_be_read_is_not_planned_for():
    other = "6" * 64
    look = looks.fresh("L4")
    look["stores"][MODELS] = looks.store(looks.model(NAME), looks.model("other", other))
    asked = looks.wanted(models=[NAME, "other"])
    instance = only(looks.follow(asked, look, facts=dict(FACTS, **{other: None})))
    assert [model["name"] for model in instance["plan"]["models"]] == [NAME] and instance["plan_new"]
    asked = looks.wanted(models=["other", NAME])
    assert only(looks.follow(asked, look, facts=dict(FACTS, **{other: None})))["asked"] == NAME
    assert only(looks.follow(asked, look, facts={looks.DIGEST: None, other: None}))["plan"] is None


@pytest.mark.parametrize("role", [{"plan": False}, {"version": "0.24.0"}, {"state": "absent"}])
def test_without_a_plan(role):
    state = looks.follow(looks.wanted(models=[NAME]), with_model(looks.fresh("L4")), looks.role(**role))
    assert only(state)["plan"] is None and state["unread"] == [] and only(state)["asked"] == NAME


def test_what_one_instance_takes_is_reserved_for_the_next():
    asked = looks.wanted(instances=[{"name": "a"}, {"name": "b", "port": 1}], models=[NAME])
    first, second = looks.follow(asked, with_model(looks.fresh("L4")), facts=FACTS)["instances"]
    sizes = [one["plan"]["numbers"]["gpus"][0] for one in (first, second)]
    assert sizes[0] != sizes[1]
    assert first["plan"]["inputs"] != second["plan"]["inputs"]


@pytest.mark.parametrize("state", ["absent", "unloaded"])
def test_models_that_go_are_not_planned_for(state):
    found = looks.follow(looks.wanted(models=[{"name": NAME, "state": state}]), with_model(looks.fresh("L4")))
    assert only(found)["known"] == [] and found["unread"] == []


# --- what the watchdog looks after ---

WATCHED = {"watchdog": True, "ready_timeout_s": 120}
WATCH = "/etc/gpufleet/watchdog/ollama.json"


def test_a_watch_over_what_is_on_a_gpu():
    look = with_model(looks.fresh("L4"))
    (watch,) = looks.follow(looks.wanted(models=[NAME]), look, looks.role(**WATCHED), FACTS)["watches"]
    card = look["hardware"]["accelerators"][0]
    assert watch["unit"] == "ollama.service" and (watch["engine"], watch["probe"]) == ("ollama", False)
    assert watch["devices"] == [card["uuid"]] and watch["gpu_models"] == [NAME] and watch["kernel_module"] == "nvidia"
    assert watch["nodes"] == ["/dev/nvidiactl", "/dev/nvidia-uvm"] and watch["start_s"] == 180
    watchdog.config(watch)  # the program on the host knows all of it


@pytest.mark.parametrize(
    "gpus, asked, role, there, wanted",
    [
        (None, {}, {}, False, []),
        (None, {}, {}, True, [{"unit": "ollama.service", "state": "absent"}]),
        ("L4", {}, {"watchdog": False}, False, []),
        ("L4", {}, {"watchdog": False}, True, [{"unit": "ollama.service", "state": "absent"}]),
        ("L4", {"gpus": "none"}, {}, True, [{"unit": "ollama.service", "state": "absent"}]),
        ("L4", {}, {"state": "absent"}, True, [{"unit": "ollama.service", "state": "absent"}]),
        ("L4", {}, {"state": "absent"}, False, []),
    ],
)
def test_what_is_not_on_a_gpu_costs_nothing(gpus, asked, role, there, wanted):
    look = looks.fresh(gpus)
    if there:
        look["files"][WATCH] = looks.text("{}")
    assert looks.follow(looks.wanted(**asked), look, looks.role(**dict(WATCHED, **role)))["watches"] == wanted


def test_an_accepted_cpu_is_no_fallback():
    look = with_model(looks.fresh("L4"))
    (watch,) = looks.follow(looks.wanted(models=[NAME]), look, looks.role(**WATCHED, allow_cpu=True), FACTS)["watches"]
    assert watch["gpu_models"] == []


# --- instances that are not wanted any more ---


def test_an_instance_that_left_the_list():
    look = looks.done(looks.wanted(), looks.fresh())
    status = {"instance": "old", "exists": True, "active": True, "models_path": "/old", "port": 5}
    look["others"] = {"ollama-old.service": status}
    look["listeners"] = [5, 11434]
    state = looks.follow(looks.wanted(), look)
    (gone,) = state["unwanted"]
    assert ollama.due_now(state) and gone["exists"] and (gone["name"], gone["unit"]) == ("old", "ollama-old.service")
    assert gone["files"] == [
        "/etc/systemd/system/ollama-old.service", "/etc/systemd/system/ollama-old.service.d/zz-gpufleet.conf",
        "/var/lib/gpufleet/ollama/old/plan.json", "/var/lib/gpufleet/ollama/old/proven.json",
    ]  # fmt: skip
    assert state["watches"] == [{"unit": "ollama-old.service", "state": "absent"}]
    look["stores"]["/old"] = looks.store()
    assert looks.follow(looks.wanted(), look)["stores"] == [MODELS, "/old"]
    # The port that it has is free when it is gone.
    assert looks.follow(looks.wanted(port=5), look)["problems"] == []


@pytest.mark.parametrize("version, zstd, due", [("0.33.2", False, True), ("0.33.2", True, False), ("0.13.5", False, False)])
def test_zstd(version, zstd, due):
    state = looks.follow(looks.wanted(version=version), dict(looks.fresh(), zstd=zstd), looks.role(version=version))
    assert state["zstd_due"] == due


def test_very_many_models():
    names = ["m%d" % number for number in range(500)]
    look = looks.fresh()
    look["stores"][MODELS] = looks.store(*[looks.model(name, blob=None) for name in names])
    state = looks.follow(looks.wanted(models=names), look)
    assert only(state)["models_due"] == []


# --- what is in force without a plan ---


@pytest.mark.parametrize(
    ("gpus", "name", "value"),
    [
        ([1], "CUDA_VISIBLE_DEVICES", "UUID"),
        (["GPU-1"], "CUDA_VISIBLE_DEVICES", "GPU-1"),
        ("none", "CUDA_VISIBLE_DEVICES", "-1"),
        ("none", "ROCR_VISIBLE_DEVICES", "-1"),
        ("auto", "CUDA_VISIBLE_DEVICES", None),
    ],
)
def test_chosen_gpus_without_a_plan(gpus, name, value):
    look = looks.fresh("2 x L40S")
    if value == "UUID":
        value = look["hardware"]["accelerators"][1]["uuid"]
    instance = only(looks.follow(looks.wanted(gpus=gpus), look))
    assert instance["plan"] is None and instance["environment"].get(name) == value


@pytest.mark.parametrize(
    ("model", "refused"),
    [(NAME, True), ({"name": "a", "state": "latest"}, True), ({"name": "a", "gguf": ["/a.gguf"]}, False),
     ({"name": "a", "state": "absent"}, False)],
)  # fmt: skip
def test_offline_nothing_is_pulled(model, refused):
    state = looks.follow(looks.wanted(models=[model]), looks.fresh(), looks.role(offline=True))
    assert ["bring it with ollama_bundle" in problem for problem in state["problems"]] == [True] * refused


def test_offline_what_is_there_is_served():
    asked = looks.wanted(models=[NAME])
    state = looks.follow(asked, looks.done(asked, with_model(looks.fresh()), FACTS), looks.role(offline=True))
    assert state["problems"] == [] and not ollama.due_now(state)
