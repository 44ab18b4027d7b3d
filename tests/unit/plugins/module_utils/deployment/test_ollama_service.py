# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of Ollama: every default filled in, everything wrong said at once."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama_service as service

NOTHING = {
    "version": "0.33.2", "instances": [], "settings": {}, "env": {}, "host": "127.0.0.1", "port": 11434, "gpus": "auto",
    "models_path": "", "models": [], "expose": False, "https_proxy": "", "http_proxy": "", "no_proxy": [], "ca_file": "",
}  # fmt: skip

PROBLEMS = [
    ({"version": "latest"}, "ollama_version=latest: give a release"),
    ({"version": "0.33"}, "ollama_version=0.33: give a release"),
    ({"settings": {"keep_alive": "1d"}}, "ollama_keep_alive=1d: give a duration"),
    ({"settings": {"keep_alive": "5 min"}}, "ollama_keep_alive=5 min: give a duration"),
    ({"settings": {"load_timeout": "soon"}}, "ollama_load_timeout=soon: give a duration"),
    ({"settings": {"no_cloud": "disabled"}}, "ollama_no_cloud=disabled: give true or false"),
    ({"settings": {"flash_attention": "auto"}}, "ollama_flash_attention=auto: give true or false"),
    ({"settings": {"num_parallel": "-1"}}, "ollama_num_parallel=-1: give a whole number"),
    ({"settings": {"max_queue": "many"}}, "ollama_max_queue=many: give a whole number"),
    ({"settings": {"kv_cache_type": "q3_0"}}, "ollama_kv_cache_type=q3_0: give one of"),
    ({"settings": {"debug": 3}}, "ollama_debug=3: give 0, 1"),
    ({"settings": {"fit_target": "1G"}}, "ollama_fit_target=1G: give MiB"),
    ({"settings": {"origins": ["chat.example.org"]}}, "ollama_origins=chat.example.org: give origins"),
    ({"settings": {"origins": "https://a,"}}, "ollama_origins=https://a,: give a list without empty items"),
    ({"settings": {"OLLAMA_MAX_VRAM": "much"}}, "ollama_old_settings.OLLAMA_MAX_VRAM=much: give a number of bytes"),
    ({"settings": {"OLLAMA_PORT": 80}}, "ollama_old_settings.OLLAMA_PORT: the server has no OLLAMA_PORT"),
    ({"settings": {"OLLAMA_HOST": "0.0.0.0"}}, "ollama_old_settings.OLLAMA_HOST: it is set by host and port"),
    ({"env": {"OLLAMA_KEEPALIVE": 1}}, "Did you mean OLLAMA_KEEP_ALIVE?"),
    ({"env": {"OLLAMA_KEEP_ALIVE": "5m"}}, "ollama_env.OLLAMA_KEEP_ALIVE: set ollama_keep_alive"),
    ({"env": {"LLAMA_ARG_FIT_TARGET": "512"}}, "ollama_env.LLAMA_ARG_FIT_TARGET: set ollama_fit_target"),
    ({"env": {"LLAMA_ARG_THREADS": "many"}}, "ollama_env.LLAMA_ARG_THREADS=many: give a whole number"),
    ({"env": {"HTTPS_PROXY": "http://x"}}, "ollama_env.HTTPS_PROXY: it is set by ollama_https_proxy"),
    ({"env": {"A B": "1"}}, "A B is no name of an environment variable"),
    ({"env": {"A": "1\n2"}}, "ollama_env.A: give text of one line"),
    ({"host": "0.0.0.0"}, "ollama_host=0.0.0.0 is reachable from outside"),
    ({"host": "10.0.0.300"}, "ollama_host=10.0.0.300: give an address"),
    ({"host": "127.0.0.1:11434"}, "ollama_host=127.0.0.1:11434: give an address"),
    ({"port": "http"}, "ollama_port=http: give a number"),
    ({"port": 0.5}, "ollama_port=0.5: give a number"),
    ({"models_path": "models"}, "ollama_models_path=models: give an absolute path"),
    ({"models_path": "/srv/../root"}, "ollama_models_path=/srv/../root: give an absolute path"),
    ({"models": ["a", "a"]}, "ollama_models: a is there twice"),
    ({"models": [{"from": "a"}]}, "ollama_models: an entry has no name"),
    ({"https_proxy": "proxy:3128"}, "ollama_https_proxy: give a URL"),
    ({"https_proxy": "http://me:secret@proxy:3128"}, "ollama_https_proxy holds a password"),
    ({"ca_file": "ca.pem"}, "ollama_ca_file=ca.pem: give an absolute path"),
    ({"instances": [{"name": "Chat"}]}, "ollama_instances[Chat]: a name consists"),
    ({"instances": [{"name": "a", "prot": 1}]}, "ollama_instances[a].prot: an instance has no such key. Did you mean port?"),
    ({"instances": [{"name": "a"}, {"name": "a", "port": 1}]}, "there are two named a"),
    ({"instances": [{"name": "a"}, {"name": "b"}]}, "two want port 11434"),
    ({"instances": [{"name": "a", "host": "::"}]}, "ollama_instances[a].host=:: is reachable from outside"),
    ({"instances": [{"name": "a", "settings": {"keep_alive": "1w"}}]}, "ollama_instances[a].settings.keep_alive=1w"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "said"), PROBLEMS, ids=[said for _asked, said in PROBLEMS])
def test_it_is_said(asked, said):
    found = service.read_service(dict(NOTHING, **asked))["problems"]
    assert len(found) == 1 and said in found[0], found
    assert "secret" not in found[0]


def test_all_at_once():
    asked = dict(NOTHING, version="1", port=0, settings={"keep_alive": "x", "max_queue": "y"}, models_path="z")
    assert len(service.read_service(asked)["problems"]) == 5


def test_nothing_asked_is_one_instance():
    answer = service.read_service(NOTHING)
    assert answer["problems"] == answer["warnings"] == []
    (only,) = answer["instances"]
    assert (only["name"], only["unit"], only["url"]) == ("ollama", "ollama.service", "http://127.0.0.1:11434")


def test_an_instance_has_the_rest_from_the_role():
    asked = dict(
        NOTHING,
        settings={"keep_alive": "1h", "max_queue": 8, "vulkan": ""},
        env={"A": True, "B": 2},
        models=["one"],
        expose=True,
        instances=[
            {"name": "chat", "host": "::", "port": "11500", "settings": {"max_queue": 16}, "env": {"B": "x"}},
            {"name": "embed", "port": 11501, "models": [{"name": "two"}], "models_path": "/data/models/"},
        ],
    )
    chat, embed = service.read_service(asked)["instances"]
    assert chat["unit"] == "ollama-chat.service"
    assert (chat["address"], chat["url"]) == ("[::]:11500", "http://[::1]:11500")
    assert chat["settings"] == {"keep_alive": "1h", "max_queue": 16}
    assert chat["environment"] == {"A": "1", "B": "x"}
    assert [model["name"] for model in chat["models"]] == ["one"]
    assert embed["models_path"] == "/data/models"
    assert [model["name"] for model in embed["models"]] == ["two"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"OLLAMA_GPU_OVERHEAD": "1G"}, "reserves nothing for GGUF models since Ollama 0.30: LLAMA_ARG_FIT_TARGET"),
        ({"OLLAMA_MAX_VRAM": "8G"}, "has had no effect since Ollama 0.1.45: LLAMA_ARG_FIT_TARGET"),
        ({"OLLAMA_NUM_CTX": 8192}, "OLLAMA_CONTEXT_LENGTH is set instead"),
        ({"OLLAMA_TMPDIR": "/x"}, "was removed in Ollama 0.6.6: left out"),
    ],
    ids=str,
)
def test_old_names_are_mapped_and_said(settings, said):
    for where in ("settings", "env"):
        answer = service.read_service(dict(NOTHING, **{where: settings}))
        assert answer["problems"] == []
        assert said in answer["warnings"][0]
        assert answer["instances"][0]["settings"] == settings


def test_the_environment():
    asked = dict(NOTHING, https_proxy="http://proxy:3128", no_proxy="intra, 127.0.0.1", ca_file="/etc/ssl/ca.pem",
                 settings={"keep_alive": "90", "OLLAMA_GPU_OVERHEAD": "2G"},
                 env={"GGML_X": "1", "HSA_OVERRIDE_GFX_VERSION": "10.3.0", "LLAMA_ARG_THREADS": 8})  # fmt: skip
    (instance,) = service.read_service(asked)["instances"]
    found = service.environment(instance, None, "/var/lib/ollama", "/srv/models/ollama", prunes=False)
    assert found == {
        "GGML_X": "1",
        "HOME": "/var/lib/ollama",
        "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
        "HTTPS_PROXY": "http://proxy:3128",
        "LLAMA_ARG_FIT_TARGET": "2048",
        "LLAMA_ARG_THREADS": "8",
        "NO_PROXY": "localhost,127.0.0.1,::1,intra",
        "OLLAMA_HOST": "127.0.0.1:11434",
        "OLLAMA_KEEP_ALIVE": "1m30s",
        "OLLAMA_MODELS": "/srv/models/ollama",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SSL_CERT_FILE": "/etc/ssl/ca.pem",
    }
    assert instance["settings"]["LLAMA_ARG_THREADS"] == 8  # so it is planned with
    planned = {"environment": {"OLLAMA_KEEP_ALIVE": "-1s", "OLLAMA_NOPRUNE": "0"}}
    found = service.environment(instance, planned, "/h", "/m", prunes=False)
    assert (found["OLLAMA_KEEP_ALIVE"], found["OLLAMA_NOPRUNE"]) == ("-1s", "0")
