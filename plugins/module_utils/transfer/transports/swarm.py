# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model from the other hosts of the site, with aria2 as BitTorrent client; the mirror is the web seed.

The torrent says nothing that is believed: its files must be those that are asked for, its addresses are replaced, and what comes
is verified like any other file. Peers are those that the mirror's ``/announce`` names, which is a file that Ansible writes.

Source of the options: aria2c(1), 1.36 and 1.37.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import typing as t
import urllib.parse
from dataclasses import dataclass

from ...errors import GpufleetError
from ...hardware import command
from .. import torrent
from ..files import ModelFile, Wanted
from . import aria2, web
from .carrier import Arrived, Item
from .terms import Terms

UNIT = "gpufleet-swarm.service"
_RUN = "/run/gpufleet/swarm"
_POLL_S = 0.1


@dataclass(frozen=True)
class Settings:
    """How this host takes part."""

    port: int = 6881
    upload_bytes_per_s: int = 0  # 0: no limit
    seed_s: int = 600  # how long it gives to others what it has
    seed_ratio: float = 0.0  # or until it gave so many times what it took; 0: no matter


class Swarm:
    """The files of one model, together."""

    def __init__(
        self, settings: Settings, endpoint: str, name: str, token: t.Optional[str], client: web.Web, terms: Terms
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._name = name
        self._token = token
        self._client = client
        self._terms = terms
        self._torrent = b""  # with addresses of this host's own

    def takes(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        """All of them, unless they are small altogether."""
        return list(files) if sum(one.size for one in files) >= aria2.LARGE else []

    def bring(self, items: t.Sequence[Item], folder: str, arrived: Arrived, stop: threading.Event) -> None:
        found = aria2.program()
        if found is None:
            raise GpufleetError("aria2c is not on this host: install the package aria2, or set transport to auto")
        own = folder + ".swarm"
        os.makedirs(own, mode=0o700, exist_ok=True)
        part = os.path.dirname(folder)
        revision = _revision(items[0])
        with aria2.alone(own) as lock:
            try:
                rows = self._fetch_torrent(revision, {item.one.path: item.one.size for item in items}, own)
            except GpufleetError as error:
                self._terms.say("no swarm for %s: %s" % (self._name, error))
                return
            _end_seeding()  # it has the port
            # What is on the disk is read and kept piece by piece, so aria2's own note of it, perhaps an older one, is not needed.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(part, revision + ".aria2"))
            settings, log = os.path.join(own, "aria2.conf"), os.path.join(own, "log")
            aria2.write(settings, self._options(rows, {item.one.path for item in items}, folder, log))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(log)
            # run_command neither gives away a descriptor nor lets go of what runs.
            with subprocess.Popen(  # pylint: disable=ansible-bad-function
                [found, "--conf-path=" + settings, "--stop-with-process=%d" % os.getpid()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(lock,),
            ) as process:  # fmt: skip
                while process.poll() is None:
                    if stop.wait(_POLL_S):
                        process.terminate()
        if process.returncode == 0:
            for item in items:
                arrived(item.one)
        elif process.returncode in (9, 16):  # no space, and a file that cannot be made
            raise GpufleetError("aria2c cannot write: %s" % aria2.tail(log))
        elif not stop.is_set():
            self._terms.say("aria2c ended with %d: %s" % (process.returncode, aria2.tail(log)))

    def seed(self, path: str) -> t.Optional[str]:
        """Give others what lies in the store at ``path``, for a while and beside this run. Its files are only read.

        Returns why not, where that is so.
        """
        if not self._torrent or not self._settings.seed_s:
            return None
        name, rows = torrent.describe(self._torrent)
        if any(not os.path.isfile(os.path.join(path, one)) for one, _size in rows) or os.path.basename(path) != name:
            return "%s is not given to others of the swarm: this host has not all of its files" % path
        program, runner = aria2.program(), command.find("systemd-run")
        if not program or not runner:
            return "%s is not given to others of the swarm: there is no systemd-run" % path
        os.makedirs(_RUN, mode=0o755, exist_ok=True)
        now = time.time()
        _replace(os.path.join(_RUN, name + ".torrent"), self._torrent)
        note = {"dir": os.path.dirname(path), "until": now + self._settings.seed_s, "group": os.stat(path).st_gid}
        _replace(os.path.join(_RUN, name + ".json"), json.dumps(note).encode())
        notes = _notes(now)
        lines = ["%s/%s.torrent\n dir=%s\n" % (_RUN, one, known["dir"]) for one, known in sorted(notes.items())]
        _replace(os.path.join(_RUN, "torrents"), "".join(lines).encode())
        _replace(os.path.join(_RUN, "seed.conf"), self._seed_options(len(notes)).encode())
        _end_seeding()
        words = [runner, "--quiet", "--collect", "--unit=" + UNIT, "--description=Models for other hosts of the site"]
        properties = {
            "RuntimeMaxSec": self._settings.seed_s + 60,  # aria2 ends by itself before that
            "DynamicUser": "yes",
            "SupplementaryGroups": " ".join(sorted({str(one["group"]) for one in notes.values() if one["group"]})),
            "ProtectSystem": "strict",
            "ProtectHome": "yes",
            "PrivateDevices": "yes",
            "NoNewPrivileges": "yes",
            "CapabilityBoundingSet": "",
            "RestrictAddressFamilies": "AF_INET AF_INET6",
            "IOSchedulingClass": "idle",
            "Nice": 10,
        }
        words += ["--property=%s=%s" % pair for pair in properties.items()]
        try:
            done = command.run(words + [program, "--conf-path=" + os.path.join(_RUN, "seed.conf")], timeout=30)
        except (OSError, command.TimedOut) as error:
            return "%s is not given to others of the swarm: %s" % (path, error)
        if done.code:
            return "%s is not given to others of the swarm: %s" % (path, " ".join(done.stderr.split()))
        return None

    def _fetch_torrent(self, revision: str, sizes: t.Mapping[str, int], own: str) -> t.List[t.Tuple[str, int]]:
        """What it has, in its order. Refused when it is not about these files."""
        url = "%s/torrents/%s/%s" % (self._endpoint, self._name, revision)
        path = os.path.join(own, "torrent.got")
        self._client.file(url, path, Wanted(), lambda _missing, _total: None)
        with open(path, "rb") as content:
            got = content.read()
        os.unlink(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + ".json")
        name, rows = torrent.describe(got)
        has = dict(rows)
        if name != revision or len(has) != len(rows) or any(has.get(one) != size for one, size in sizes.items()):
            raise GpufleetError("%s is about other files than its list" % url)
        seed = "%s/%s/resolve/" % (self._endpoint, urllib.parse.quote(self._name))
        self._torrent = torrent.addressed(got, self._endpoint + "/announce", [seed])
        _replace(os.path.join(own, "torrent"), self._torrent)
        return rows

    def _options(self, rows: t.Sequence[t.Tuple[str, int]], wanted: t.Container[str], folder: str, log: str) -> str:
        """A piece may reach into files that nobody wants: their share of it lies elsewhere."""
        part, incoming = os.path.split(folder)
        numbered = list(enumerate((path for path, _size in rows), 1))
        places = {
            number: os.path.join(incoming, path) if path in wanted else os.path.join(incoming + ".swarm", "unwanted", str(number))
            for number, path in numbered
        }
        if any(character in path for path in places.values() for character in "\r\n"):
            raise GpufleetError("a name that aria2 cannot be given")
        values: t.List[t.Tuple[str, t.Any]] = [
            ("torrent-file", os.path.join(folder + ".swarm", "torrent")),
            ("dir", part),
            *(("index-out", "%d=%s" % one) for one in places.items()),
            ("select-file", ",".join(str(number) for number, path in numbered if path in wanted)),
            ("check-integrity", "true"),
            ("allow-overwrite", "true"),
            ("bt-remove-unselected-file", "false"),
            ("seed-time", 0),
            ("stream-piece-selector", "random"),  # else every host would get the same pieces from the web seed
            ("split", 1),
            ("max-connection-per-server", 1),
            ("bt-stop-timeout", self._terms.stall_timeout_s),
            ("max-overall-download-limit", self._terms.limit_bytes_per_s),
            ("log", log),
        ]
        if self._token:  # for the mirror, which is all that it speaks HTTP with
            values.append(("header", "Authorization: Bearer " + self._token))
        return _lines(values + self._common())

    def _seed_options(self, count: int) -> str:
        values: t.List[t.Tuple[str, t.Any]] = [
            ("input-file", os.path.join(_RUN, "torrents")),
            ("bt-seed-unverified", "true"),  # verified they are, and by better hashes
            ("check-integrity", "false"),
            ("seed-time", self._settings.seed_s / 60.0),
            ("seed-ratio", self._settings.seed_ratio),
            ("max-concurrent-downloads", count),
            ("auto-save-interval", 0),
            ("bt-save-metadata", "false"),
        ]
        return _lines(values + self._common())

    def _common(self) -> t.List[t.Tuple[str, t.Any]]:
        values: t.List[t.Tuple[str, t.Any]] = [
            ("listen-port", self._settings.port),
            ("max-overall-upload-limit", self._settings.upload_bytes_per_s),
            ("bt-require-crypto", "true"),
            ("bt-min-crypto-level", "arc4"),
            ("enable-dht", "false"),
            ("enable-dht6", "false"),
            ("bt-enable-lpd", "false"),
            ("enable-peer-exchange", "false"),
            ("file-allocation", "none"),
            ("no-netrc", "true"),
            ("log-level", "warn"),
            ("quiet", "true"),
            ("summary-interval", 0),
            ("connect-timeout", min(self._terms.stall_timeout_s, 10)),
            ("timeout", self._terms.stall_timeout_s),
        ]
        if self._terms.ca_path:
            values.append(("ca-certificate", self._terms.ca_path))
        return values


def _revision(item: Item) -> str:
    """Of an address .../resolve/<revision>/<path>."""
    return item.url.rpartition("/resolve/")[2].partition("/")[0]


def _lines(values: t.Sequence[t.Tuple[str, t.Any]]) -> str:
    return "".join("%s=%s\n" % pair for pair in values)


def _notes(now: float) -> t.Dict[str, t.Any]:
    """What this host gives; what had its time is forgotten."""
    found = {}
    for name in sorted(os.listdir(_RUN)):
        if not name.endswith(".json"):
            continue
        with open(os.path.join(_RUN, name), encoding="utf-8") as content:
            note = json.load(content)
        if note["until"] > now and os.path.isdir(note["dir"]):
            found[name[: -len(".json")]] = note
            continue
        for suffix in (".json", ".torrent"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(_RUN, name[: -len(".json")] + suffix))
    return found


def _end_seeding() -> None:
    program = command.find("systemctl")
    if program and os.path.isdir("/run/systemd/system"):
        with contextlib.suppress(OSError, command.TimedOut):
            command.run([program, "stop", UNIT], timeout=30)  # fails when it does not run


def _replace(path: str, content: bytes) -> None:
    with open(path + ".new", "wb") as out:
        out.write(content)
    os.replace(path + ".new", path)
