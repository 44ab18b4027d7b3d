# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have the right key, by its fingerprint, and fetch it only where it is not there."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import openpgp
from ansible_collections.gpufleet.llm.plugins.modules import signing_key

# Made for this test by gpg --quick-generate-key: ed25519, and thrown away.
KEY = (Path(__file__).parents[2] / "fixtures" / "signing" / "key.asc").read_text()
FINGERPRINT = (Path(__file__).parents[2] / "fixtures" / "signing" / "fingerprint").read_text().strip()
BINARY = base64.b64decode("".join(KEY.split("\n\n")[1].split("\n=")[0].split()))


@pytest.fixture
def site():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            known = {"/key.asc": KEY.encode(), "/page": b"<html>Please log in</html>"}
            self.send_response(200 if self.path in known else 404)
            self.end_headers()
            self.wfile.write(known.get(self.path, b""))

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://127.0.0.1:%d" % server.server_port, asked
    server.shutdown()
    server.server_close()


def run(check=False, **options):
    """What the module answers, in this process: starting it takes half a second of processor time."""
    params = dict({"content": None, "url": None, "fingerprint": "", "timeout": 30}, **options)
    module = types.SimpleNamespace(params=params, check_mode=check, tmpdir=None, atomic_move=os.replace)
    try:
        return signing_key.work(module)
    except GpufleetError as error:
        return {"failed": True, "msg": str(error)}


def test_from_nothing_to_nothing_to_do(site, tmp_path):
    url, asked = site
    dest = tmp_path / "keyrings" / "vendor.asc"
    options = {"url": url + "/key.asc", "dest": str(dest), "fingerprint": FINGERPRINT[:20] + " " + FINGERPRINT[20:].lower()}
    assert run(check=True, **options)["changed"] is True and asked == [] and not dest.exists()
    assert run(**options) == dict(run(**options), changed=True)
    assert dest.read_text() == KEY and dest.stat().st_mode & 0o777 == 0o644
    asked.clear()
    assert run(**options)["changed"] is False
    assert run(url=url + "/gone", dest=str(dest))["changed"] is False  # any key is one
    assert asked == []
    dest.write_text("half a key")
    assert run(**options)["changed"] is True and dest.read_text() == KEY


@pytest.mark.parametrize(
    "path, fingerprint, words",
    [
        ("/key.asc", "0" * 40, "was expected. Nothing was written"),
        ("/page", FINGERPRINT, "/page: This is not an OpenPGP key"),
        ("/gone", "", "cannot be fetched from"),
    ],
)
def test_what_is_not_the_key_is_never_written(site, tmp_path, path, fingerprint, words):
    dest = tmp_path / "vendor.asc"
    dest.write_text("what was there")
    answer = run(url=site[0] + path, dest=str(dest), fingerprint=fingerprint)
    assert answer["failed"] is True and words in answer["msg"]
    assert dest.read_text() == "what was there"


def test_the_module_itself_and_content_instead_of_a_url(tmp_path):
    options = {"content": KEY, "dest": str(tmp_path / "a.asc"), "fingerprint": FINGERPRINT}
    command = [sys.executable, signing_key.__file__]
    done = subprocess.run(command, input=json.dumps(options), capture_output=True, text=True, timeout=60, check=False)
    answer = json.loads(done.stdout)
    assert answer["changed"] is True and answer["fingerprints"] == [FINGERPRINT]
    assert (tmp_path / "a.asc").read_text() == KEY


@pytest.mark.parametrize(
    "content",
    [KEY.encode(), BINARY, KEY.replace("\n", "\r\n").encode(), KEY.replace("\n\n", "\nVersion: 1\n\n").encode()],
    ids=["armoured", "binary", "from Windows", "with a header"],
)
def test_fingerprints(content):
    assert openpgp.fingerprints(content) == [FINGERPRINT]


def test_two_keys_in_a_file():
    assert openpgp.fingerprints((KEY + KEY).encode()) == [FINGERPRINT, FINGERPRINT]


@pytest.mark.parametrize(
    "content", [b"", b"\x99", b"\x99\x00", BINARY[:40], b"\x00\x01", b"\xc6\xff\xff\xff\xff\xff", b"\xd1\x01x"]
)
def test_no_key(content):
    with pytest.raises(GpufleetError, match="not an OpenPGP key"):
        openpgp.fingerprints(content)
