# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import random
import ssl

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import web as http_file
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.files import Wanted
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.software.mirror import Fault, Mirror, sha256

DATA = random.Random(4).randbytes(300_000)
SUM = sha256(DATA)
PATH = "/file"


@pytest.fixture(autouse=True)
def _no_system_certificates(monkeypatch):
    """To read them takes longer than all the rest."""
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda _self, _purpose: None)


@pytest.fixture
def mirror():
    with Mirror() as running:
        running.files[PATH] = DATA
        yield running


class Fetch:
    """Fetches, remembering how long it would have slept and what room was asked for."""

    def __init__(self, mirror, directory, **access):
        self.mirror, self.part, self.access = mirror, str(directory / "parts" / "file.part"), access
        self.slept, self.rooms = [], []

    def __call__(self, digest=SUM, url=None):
        web = http_file.Web(http_file.Access(**{"stall_timeout_s": 5, **self.access}), self.slept.append)
        found = web.file(url or self.mirror.url + PATH, self.part, Wanted(digest), lambda *sizes: self.rooms.append(sizes))
        self.received = web.received
        return found

    def content(self):
        with open(self.part, "rb") as stream:
            return stream.read()

    def interrupt(self, size=100_000):
        """As if killed after ``size`` bytes."""
        self.mirror.faults[PATH] = [Fault(cut=size)]
        self.access["retries"] = 0
        with pytest.raises(GpufleetError):
            self()
        del self.access["retries"]
        self.mirror.requests.clear()
        assert os.path.getsize(self.part) == size


@pytest.fixture
def fetch(mirror, tmp_path):
    return Fetch(mirror, tmp_path)


def test_whole(fetch):
    assert fetch() == SUM and fetch.content() == DATA and fetch.received == len(DATA)
    assert fetch.rooms == [(len(DATA), len(DATA))] and fetch.slept == []
    assert os.stat(fetch.part).st_mode & 0o777 == 0o600


def test_what_is_complete_needs_no_network(fetch, mirror):
    fetch()
    mirror.requests.clear()
    assert fetch() == SUM and fetch.received == 0 and mirror.requests == []


def test_a_killed_run_is_continued(fetch, mirror):
    fetch.interrupt()
    assert fetch() == SUM and fetch.content() == DATA
    assert mirror.asked(PATH) == ["bytes=100000-"] and fetch.received == len(DATA) - 100_000
    assert fetch.rooms[-1] == (len(DATA) - 100_000, len(DATA))


def test_continued_from_another_mirror(fetch, mirror):
    fetch.interrupt()
    with Mirror() as other:
        other.files[PATH] = DATA
        assert fetch(url=other.url + PATH) == SUM
        assert other.requests[0][1]["Range"] == "bytes=100000-" and "If-Range" not in other.requests[0][1]


@pytest.mark.parametrize("change", ["sum", "no note", "torn note", "no sum"])
def test_bytes_of_unknown_origin_are_not_continued(fetch, mirror, change):
    fetch.interrupt()
    if change == "no note":
        os.unlink(fetch.part + ".json")
    elif change == "torn note":
        with open(fetch.part + ".json", "w", encoding="utf-8") as note:
            note.write('{"url')
    elif change == "sum":
        mirror.files[PATH] = b"other" + DATA
    digest = {"sum": sha256(b"other" + DATA), "no sum": None}.get(change, SUM)
    assert fetch(digest) == sha256(mirror.files[PATH])
    assert mirror.asked(PATH) == [None]


def test_a_server_without_ranges(fetch, mirror):
    fetch.interrupt()
    mirror.ranges = False
    assert fetch() == SUM and fetch.content() == DATA and fetch.received == len(DATA)


def test_a_file_that_became_shorter(fetch, mirror):
    fetch.interrupt(200_000)
    mirror.files[PATH] = DATA[:150_000]
    with Mirror() as other:  # without If-Range it says 416
        other.files[PATH] = DATA[:150_000]
        with pytest.raises(GpufleetError, match="arrived wrong"):
            fetch(url=other.url + PATH)
        assert other.asked(PATH)[:2] == ["bytes=200000-", None]


def test_a_part_that_rotted_is_fetched_again(fetch, mirror):
    fetch.interrupt()
    with open(fetch.part, "r+b") as stream:
        stream.write(b"rot")
    assert fetch() == SUM and fetch.content() == DATA
    assert mirror.asked(PATH) == ["bytes=100000-", None]


def test_a_whole_part_that_rotted_is_fetched_again(fetch, mirror):
    fetch()
    with open(fetch.part, "r+b") as stream:
        stream.write(b"rot")
    assert fetch() == SUM and fetch.content() == DATA
    assert mirror.asked(PATH) == [None, None]


def test_wrong_bytes_are_removed(fetch, mirror):
    mirror.files[PATH] = b"X" + DATA[1:]
    with pytest.raises(GpufleetError) as failure:
        fetch()
    assert "sha256 expected %s, got %s" % (SUM, sha256(mirror.files[PATH])) in str(failure.value)
    assert os.listdir(os.path.dirname(fetch.part)) == [] and len(mirror.requests) == 1
    mirror.files[PATH] = DATA
    assert fetch() == SUM


def test_cut_often_but_always_further(fetch, mirror):
    mirror.faults[PATH] = [Fault(cut=20_000)] * 9
    assert fetch() == SUM and fetch.content() == DATA
    assert fetch.slept == [1.0] * 9 and fetch.received == len(DATA)


def test_stalled(fetch, mirror):
    fetch.access["stall_timeout_s"] = 0.2
    mirror.faults[PATH] = [Fault(cut=1000, stall_s=1)]
    assert fetch() == SUM
    assert mirror.asked(PATH) == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    "fault, slept",
    [
        (Fault(status=500), [1.0, 2.0, 4.0]),
        (Fault(status=503, headers={"Retry-After": "7"}), [7.0, 7.0, 7.0]),
        (Fault(status=429, headers={"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}), [0.0, 0.0, 0.0]),
        (Fault(status=502, headers={"Retry-After": "soon"}), [1.0, 2.0, 4.0]),
    ],
)
def test_busy_then_well(fetch, mirror, fault, slept):
    mirror.faults[PATH] = [fault] * 3
    assert fetch() == SUM and fetch.slept == slept


@pytest.mark.parametrize(
    "fault, access, message, requests",
    [
        (Fault(status=500), {"retries": 2}, "HTTP 500 Internal Server Error. Given up after 3 attempts", 3),
        (Fault(status=404), {}, "HTTP 404 Not Found. Check version and url", 1),
        (Fault(status=401), {}, "set username and password", 1),
        (Fault(status=403), {}, "set username and password", 1),
        (Fault(status=407), {}, "The proxy wants credentials", 1),
        (Fault(status=418), {}, "HTTP 418", 1),
        (Fault(status=503, headers={"Retry-After": "9999"}), {}, "within timeout=3600 s: HTTP 503", 1),
        (Fault(cut=0), {"retries": 1}, "ended 300000 bytes before the end. Given up after 2 attempts", 2),
        (Fault(stall_s=1, cut=0), {"retries": 0, "stall_timeout_s": 0.1}, "nothing came for stall_timeout=", 1),
        (Fault(pace=(1000, 0.05)), {"timeout_s": 0.2}, "cannot be fetched within timeout=", 1),
        (Fault(status=302, headers={"Location": "ftp://127.0.0.1/x"}), {}, "redirects to ftp://127.0.0.1", 1),
    ],
)
def test_failures(fetch, mirror, fault, access, message, requests):
    fetch.access.update(access)
    mirror.always = fault
    with pytest.raises(GpufleetError) as failure:
        fetch()
    assert message in str(failure.value) and mirror.url in str(failure.value)
    assert len(mirror.requests) == requests


def test_nobody_there(fetch, mirror):
    mirror.__exit__()
    fetch.access["retries"] = 1
    with pytest.raises(GpufleetError, match="Connection refused. Given up after 2 attempts"):
        fetch()


def test_no_room_before_the_first_byte(mirror, tmp_path):
    def room(_missing, _total):
        raise GpufleetError("no room")

    path = tmp_path / "file.part"
    with pytest.raises(GpufleetError, match="no room"):
        http_file.Web(http_file.Access()).file(mirror.url + PATH, str(path), Wanted(SUM), room)
    assert path.stat().st_size == 0


def test_redirected_to_another_host_with_range_and_without_credentials(fetch, mirror):
    with Mirror() as storage:
        storage.files[PATH + "?signature=secret"] = DATA
        mirror.redirect = storage.url
        fetch.access.update(username="me", password="secret")
        storage.faults[PATH + "?signature=secret"] = [Fault(cut=5000)]
        assert fetch() == SUM
        assert [headers.get("Range") for _path, headers in storage.requests] == [None, "bytes=5000-"]
        assert all("Authorization" in headers for _path, headers in mirror.requests)
        assert not any("Authorization" in headers for _path, headers in storage.requests)


def test_credentials_follow_within_a_server(fetch, mirror):
    mirror.files["/there"] = DATA
    mirror.faults[PATH] = [Fault(status=308, headers={"Location": "/there"})]
    fetch.access.update(username="me", password="secret")
    assert fetch() == SUM
    assert [path for path, headers in mirror.requests if "Authorization" in headers] == [PATH, "/there"]


@pytest.mark.parametrize("how", ["option", "option without scheme", "environment"])
def test_through_a_proxy(fetch, mirror, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("http_proxy", mirror.url)
    else:
        fetch.access["proxy"] = mirror.url if how == "option" else mirror.url[len("http://") :]
    assert fetch(url="http://nowhere.invalid" + PATH) == SUM
    monkeypatch.setenv("no_proxy", "nowhere.invalid")
    os.unlink(fetch.part)
    with pytest.raises(GpufleetError, match="there is no such host"):
        fetch(url="http://nowhere.invalid" + PATH)


@pytest.mark.parametrize("proxy", ["socks5://me:secret@localhost:1", "http://", "http://host:port"])
def test_proxies_that_are_refused(proxy):
    with pytest.raises(GpufleetError, match="give http://HOST:PORT") as failure:
        http_file.Web(http_file.Access(proxy=proxy))
    assert "secret" not in str(failure.value)


def test_a_list_that_never_ends(mirror):
    with pytest.raises(GpufleetError, match="larger than 1000 bytes"):
        http_file.Web(http_file.Access()).answer(mirror.url + PATH, most=1000)


def test_tls(fetch, mirror, certificates):
    with Mirror((certificates["server"], certificates["server_key"])) as safe:
        safe.files[PATH] = DATA
        with pytest.raises(GpufleetError, match="is not trusted .self.signed certificate.. Set ca_path"):
            fetch(url=safe.url + PATH)
        fetch.access["ca_path"] = certificates["server"]
        assert fetch(url=safe.url + PATH) == SUM
        os.unlink(fetch.part)
        safe.redirect = mirror.url
        with pytest.raises(GpufleetError, match="redirects to http://127.0.0.1, which is not protected"):
            fetch(url=safe.url + PATH)
