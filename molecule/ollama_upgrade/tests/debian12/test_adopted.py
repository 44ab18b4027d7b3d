# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of the vendor's script, adopted, upgraded and not upgraded. The tests build on one another."""

from __future__ import annotations

import pytest
from conftest import NEW, OLD, TINY

UNIT = "/etc/systemd/system/ollama.service"
DROP_IN = UNIT + ".d/zz-gpufleet.conf"
STORE = "/usr/share/ollama/.ollama/models"
OURS = "/opt/gpufleet/ollama/%s/bin/ollama"


def vendor(host):
    """All that was there before, and must be there after."""
    files = [UNIT, UNIT + ".d/override.conf", "/usr/share/ollama/.ollama/id_ed25519", "/usr/share/ollama/.ollama/id_ed25519.pub"]
    return {"files": host.output("sha256sum " + " ".join(files)), "models": host.models(), "store": host.store(STORE)}


@pytest.fixture(scope="module")
def before(host):
    return vendor(host)


def serves_as_before(host):
    assert host.runs() == (OLD, "none", "/usr/local/bin/ollama")
    assert host.show("UnitFileState", "ollama") == "enabled"
    assert "OLLAMA_KEEP_ALIVE:1h0m0s" in host.config()
    assert host.run("test -f /usr/local/bin/ollama -a ! -L /usr/local/bin/ollama -a ! -e %s", DROP_IN).rc == 0
    assert host.answer()


@pytest.fixture(scope="module")
def foretold(host, play, before):
    """Check mode, before anything was done."""
    found = host.quiet()
    run = play("--check", "--diff")
    assert run.rc == 0, run.text
    assert host.quiet() == found and vendor(host) == before
    assert host.run("ls -d /opt/gpufleet /var/lib/gpufleet %s", DROP_IN).stdout == ""
    return run


def test_check_mode_shows_what_is_about_to_change(foretold):
    assert foretold.changed > 0
    for line in ("+++ after: " + DROP_IN, "put it in place as /opt/gpufleet/ollama/" + OLD, "+Environment=OLLAMA_MODELS=" + STORE):
        assert line in foretold.text
    assert "override.conf stays, but %s comes after it" % DROP_IN in foretold.words


@pytest.mark.stand_in
def test_a_failed_adoption_leaves_the_vendors_service_running(host, play, before, foretold):
    run = play(version="0.33.9", ollama_ready_timeout_s=4)
    assert run.rc != 0
    assert "ollama with Ollama 0.33.9 does not work" in run.words
    assert "llama-server process has terminated" in run.words
    assert "The configuration before is back: Ollama %s serves again." % OLD in run.words
    serves_as_before(host)
    assert vendor(host) == before


def test_adoption_loses_nothing_and_the_unit_stays(host, play, before, foretold):
    run = play()
    assert run.rc == 0, run.text
    assert vendor(host) == before
    assert before["store"]["problems"] == [] and list(before["models"]) == [TINY + ":latest"]
    assert host.runs() == (OLD, OLD, OURS % OLD)
    assert OURS % OLD + " serve" in host.show("ExecStart", "ollama")
    # What systemctl edit wrote comes first, and what it sets beside this role stays.
    assert host.show("DropInPaths", "ollama").split() == [UNIT + ".d/override.conf", DROP_IN]
    assert host.show("CPUWeight", "ollama") == "90"
    assert "OLLAMA_KEEP_ALIVE:1h0m0s" not in host.config()
    assert host.output("command -v ollama") == "/usr/local/bin/ollama"
    assert host.output("readlink -f /usr/local/bin/ollama") == OURS % OLD
    assert host.answer()
    # Check mode had told the truth. Beside what it said there are the role's own notes.
    notes = ("Create the directories", "Remember", "Keep")
    foretold, done = ([name for name in one.changes if not name.startswith(notes)] for one in (foretold, run))
    assert foretold == done


def test_nothing_to_do_from_any_path_and_locale(host, play):
    found = host.quiet()
    there = {"PATH": "/usr/bin:/bin", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"}
    run = play(environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, odd_environment=there)
    assert (run.rc, run.changed) == (0, 0), run.text
    assert host.quiet() == found


def test_upgrade_keeps_the_version_before(host, play, before):
    run = play(version=NEW)
    assert run.rc == 0, run.text
    assert host.runs() == (NEW, NEW, OURS % NEW)
    assert {OLD, NEW} <= set(host.output("ls /opt/gpufleet/ollama").split())
    assert vendor(host) == before
    assert host.answer()
    assert NEW in host.output("HOME=/root ollama --version")


@pytest.mark.stand_in
def test_a_failed_upgrade_goes_back_to_what_served(host, play, before):
    run = play(version="0.33.8", ollama_ready_timeout_s=4)
    assert run.rc != 0
    assert "ollama with Ollama 0.33.8 does not work" in run.words
    assert "panic: runtime error: invalid memory address" in run.words
    assert "The configuration before is back: Ollama %s serves again." % NEW in run.words
    assert host.runs() == (NEW, NEW, OURS % NEW)
    assert host.show("NRestarts", "ollama") == "0"
    assert host.answer()
    found = host.quiet()
    run = play(version=NEW)
    assert (run.rc, run.changed) == (0, 0), run.text
    assert "Show the plans that are new" not in run.text
    assert host.quiet() == found
    assert vendor(host) == before
    assert {OLD, NEW} <= set(host.output("ls /opt/gpufleet/ollama").split())


def test_back_to_the_version_before_without_a_download(host, play, before):
    asked = host.quiet()["asked"]
    run = play(version=OLD)
    assert run.rc == 0, run.text
    assert host.quiet()["asked"] == asked
    assert host.runs() == (OLD, OLD, OURS % OLD)
    assert set(host.output("ls /opt/gpufleet/ollama").split()) == {OLD, NEW, "current"}
    assert vendor(host) == before
    assert host.answer()
