# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills, cut lines, servers that start again and full disks, with bytes counted at the server."""

from __future__ import annotations

import os
import random
import select
import socket
import subprocess
import threading
import time

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.sources import plain
from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.transports import aria2
from ansible_collections.gpufleet.llm.tests.bench import download_kills
from ansible_collections.gpufleet.llm.tests.stand_ins.hub.hub import Fault, Hub
from ansible_collections.gpufleet.llm.tests.unit.plugins.module_utils.transfer.support import contents

pytest.importorskip("huggingface_hub")

MIB = 1024 * 1024
FILES = {"model-%d.safetensors" % number: random.Random(number).randbytes(3 * MIB) for number in range(4)}
SIZE = sum(map(len, FILES.values()))
# A run that ends takes no byte twice but what lay in the kernel's buffers: 128 KiB at the server, what the client had not read.
BUFFERS = MIB


@pytest.mark.slow
@pytest.mark.parametrize(
    # aria2 writes down once a second what it has; HTTP continues after the last byte on the disk.
    "transport, megabytes, files, twice_bytes",
    [("http", 48, 12, BUFFERS), ("aria2", 150, 3, 150e6 / 10)],
)
def test_killed_at_random_moments(tmp_path, transport, megabytes, files, twice_bytes):
    one = download_kills.trial(tmp_path, transport, megabytes, files, kills=5, seconds=10)
    assert (one.kills, one.wrong, one.left_over) == (5, [], [])
    assert one.twice_bytes <= one.kills * twice_bytes


class Relay:
    """A line to a server that can be cut: what is on it stays where it is, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._there = port
        self._cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, seconds: float) -> None:
        self._cut.set()
        time.sleep(seconds)
        self._cut.clear()

    def _accept(self) -> None:
        while True:
            here, _address = self._listener.accept()
            threading.Thread(target=self._carry, args=(here,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        dead = self._cut.is_set()
        with here, socket.create_connection(("127.0.0.1", self._there)) as there:
            while True:
                ready, _w, _x = select.select([here] if dead else [here, there], [], [], 0.05)
                dead = dead or self._cut.is_set()  # for good: its two ends have lost one another
                for one in ready:
                    piece = one.recv(65536)
                    if not piece:
                        return
                    if not dead:
                        (there if one is here else here).sendall(piece)


def wait_until_half(hub: Hub) -> None:
    end = time.monotonic() + 20
    while hub.begun < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.5)


def test_the_network_is_cut(hub, run):
    hub.add("org/tiny", FILES)
    hub.faults.append(Fault("slow", path="*.safetensors", rate=2e6, times=-1))
    relay = Relay(int(hub.url.rpartition(":")[2]))
    cut = threading.Thread(target=lambda: (wait_until_half(hub), relay.cut(4)))
    cut.start()
    result = run(endpoint=relay.url, transport="http", timeout=3)
    cut.join()
    assert contents(result["path"]) == FILES
    assert any("nothing came for" in said for said in run.said)
    # What the line had taken and not delivered came again, for each of four files.
    assert sum(one.sent_bytes for one in hub.requests if "/resolve/" in one.path) <= SIZE + 4 * BUFFERS


@pytest.mark.parametrize("transport", ["http", "aria2"])
def test_the_server_starts_again(tmp_path, run, monkeypatch, transport):
    monkeypatch.setattr(plain, "FIRST_WAIT_S", 0.2)
    monkeypatch.setattr(aria2, "LARGE", MIB)
    monkeypatch.setattr(aria2, "FIRST_PAUSE_S", 0.2)
    root, sent = tmp_path / "hub", []
    with Hub(root) as first:
        commit, port = first.add("org/tiny", FILES), int(first.url.rpartition(":")[2])
    first = Hub(root, port=port, faults=[Fault("slow", path="*.safetensors", rate=2e6, times=-1)])

    def start_again() -> None:
        with first:
            wait_until_half(first)
        first.hang_up()
        time.sleep(0.5)
        sent.append(sum(one.sent_bytes for one in first.requests))
        time.sleep(1)
        with Hub(root, port=port) as second:
            done.wait(20)
            sent.append(sum(one.sent_bytes for one in second.requests if "/resolve/" in one.path))

    done, server = threading.Event(), threading.Thread(target=start_again)
    server.start()
    result = run(endpoint=first.url, transport=transport, revision=commit)
    done.set()
    server.join()
    assert contents(result["path"]) == FILES
    assert 0 < sent[1] < SIZE - MIB, "nothing was continued"
    assert sum(sent) <= SIZE + 4 * BUFFERS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk of its own; CI is root")
def test_the_disk_fills_and_is_freed(hub, run):
    hub.add("org/tiny", FILES)
    run.store.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(run.store)], check=True)
    try:
        hub.faults.append(Fault("slow", path="*.safetensors", rate=3e6, times=-1))
        ballast = run.store / "ballast"
        fill = threading.Thread(target=lambda: (wait_until_half(hub), ballast.write_bytes(bytes(8 * MIB))))
        fill.start()
        with pytest.raises(GpufleetError, match="No space left on device. Check store="):
            run(endpoint=hub.url, transport="http")
        fill.join()
        with pytest.raises(GpufleetError, match="needs .* more and the file system of .* short") as short:
            run(endpoint=hub.url, transport="http")
        assert short.value.details["short_bytes"] > 0
        ballast.unlink()
        hub.faults.clear()
        assert contents(run(endpoint=hub.url, transport="http")["path"]) == FILES
        sent = sum(one.sent_bytes for one in hub.requests if "/resolve/" in one.path)
        assert sent <= SIZE + 2 * 4 * BUFFERS
    finally:
        subprocess.run(["umount", str(run.store)], check=True)
