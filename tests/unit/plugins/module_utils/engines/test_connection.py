# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.engines import arguments
from ansible_collections.gpufleet.llm.plugins.module_utils.engines.connection import Address, Security
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.server import StandIn
from ansible_collections.gpufleet.llm.tests.stand_ins.openai.support import client

KEY = "sk-test-5e1f0c"


@pytest.mark.parametrize(
    "url, expected",
    [
        ("http://127.0.0.1:8000", Address("http", "127.0.0.1", 8000)),
        ("http://127.0.0.1:8000/", Address("http", "127.0.0.1", 8000)),
        ("http://127.0.0.1:8000/v1", Address("http", "127.0.0.1", 8000)),
        ("http://127.0.0.1:8000/v1/", Address("http", "127.0.0.1", 8000)),
        ("https://llm.example.org/team-a/v1", Address("https", "llm.example.org", 443, prefix="/team-a")),
        ("http://[::1]:8000", Address("http", "::1", 8000)),
        ("http://node", Address("http", "node", 80)),
        ("unix:///run/vllm/chat.sock", Address("unix", path="/run/vllm/chat.sock")),
    ],
)
def test_address(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://node", "http://", "http://node:port", "unix://run/x", "http://node/?key=1", ""]
)
def test_address_refused(url: str) -> None:
    with pytest.raises(GpufleetError, match="give http://HOST:PORT, https://HOST:PORT or unix://"):
        Address.parse(url)


def test_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(GpufleetError) as caught:
        Address.parse("http://user:%s@node:8000" % KEY)
    assert KEY not in str(caught.value) and "api_key_file" in str(caught.value)


def options(**given: t.Any) -> t.Dict[str, t.Any]:
    absent = {name: spec.get("default") for name, spec in arguments.ENDPOINT_ARGUMENTS.items()}
    return dict(absent, url="http://127.0.0.1:1", **given)


def test_key_from_a_file(tmp_path: t.Any) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    assert arguments.client(options(api_key_file=str(tmp_path / "key"))).security.key == KEY


@pytest.mark.parametrize(
    "content, message",
    [(None, "does not exist on this host"), ("", "is empty"), ("\n", "is empty"), (KEY + "\nX: y", "visible ASCII")],
)
def test_key_refused_without_repeating_it(tmp_path: t.Any, content: t.Optional[str], message: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(GpufleetError, match=message) as caught:
        arguments.client(options(api_key_file=str(path)))
    assert KEY not in str(caught.value)


def test_timeout_refused() -> None:
    with pytest.raises(GpufleetError, match="timeout=0: must be more than 0"):
        arguments.client(options(timeout=0))


@pytest.mark.parametrize(
    "security, message",
    [
        ({"ca_path": "/nowhere.pem"}, "ca_path=/nowhere.pem cannot be used"),
        ({"client_cert": "/nowhere.pem"}, "client_cert=/nowhere.pem"),
    ],
)
def test_unusable_certificates(security: t.Dict[str, str], message: str) -> None:
    with pytest.raises(GpufleetError, match=message):
        Security(**security).context()


def test_get_over_every_transport(tmp_path: t.Any, certificates: t.Dict[str, str]) -> None:
    own = (certificates["server"], certificates["server_key"])
    for server, security in [
        (StandIn(), {}),
        (StandIn(host="::1"), {}),
        (StandIn(uds=str(tmp_path / "s")), {}),
        (StandIn(certificate=own), {"ca_path": certificates["server"]}),
        (StandIn(certificate=own), {"validate_certs": False}),
        (
            StandIn(certificate=own, client_ca=certificates["stranger"]),
            {
                "ca_path": certificates["server"],
                "client_cert": certificates["stranger"],
                "client_key": certificates["stranger_key"],
            },
        ),
    ]:
        with server:
            answer = client(server.url, **security).get("/version")
        assert (answer.status, answer.text) == (200, '{"version":"0.32.0"}'), server.url


@pytest.mark.parametrize(
    "raw, verdict",
    [
        (b"", "server_error"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "not_an_openai_endpoint"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "server_error"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "server_error"),
    ],
)
def test_broken_answers(replay: t.Callable[..., str], raw: bytes, verdict: str) -> None:
    with pytest.raises(GpufleetError) as caught:
        client(replay(raw)).get("/health")
    assert caught.value.details["verdict"] == verdict
