# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key files of repositories: read without gpg, fetched, verified, taken out of keyrings."""

from __future__ import annotations

import os

import pytest

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.software import openpgp, repository_key

# Two keys that gpg made for this: ed25519 and RSA. The fingerprints are what gpg said.
KEYS = b"""-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawGWDBYJKwYBBAHaRw8BAQdADQoJ4howaouq3REjhY85YaLXz5yxtg9uYRkC
oIudQ3u0A2FAeIiQBBMWCAA4FiEEScowu5mHuhMlg6bFjN5kxoYBpFkFAmsBlgwC
GwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQjN5kxoYBpFkdFAEAjwmD2jMg
h+UXL84OgxUkTxvKt8EpxfHqnE/CifUsVMgBAMpHif9cZw1GNxgFtOmHh2rtWgwp
+EOgVQbbPJPngncBmQENBGsBlg0BCAC/AaZLbRBP4RnqZ196rqljzisdbEma8+NL
Y5yq4rW3H3reaHYsxUVHKw1hjRPBMNW+5e+oLH3akwBahBMKk9lwMmBK2R2/KIKY
3e+X8RobHF899/gZv/qCMDnmL5mt9R0OozVCfoRjN1z7df7ejP7MQ8nl4WNrHKsd
/6GzOjkI2E/Iy/iapzr6dklsdCcHj0cwcWZBbpIpRwGF83lqnVSeXXZ6MSeWbA3A
invdP6sVgwWMs6waRKq+Ppf4T0TiZnz+sOS9+QbYy3Ib/xs6T8D1XCUOs8gwkrhP
pPqBEUD4sc0e4gkYz0xhpwWysLa6dUqGwtpaFtqt0KWrnoZuM0sVABEBAAG0A2JA
eIkBTgQTAQoAOBYhBH+dTuhGV+/qDG/YmEr5A5hT4EXFBQJrAZYNAhsDBQsJCAcC
BhUKCQgLAgQWAgMBAh4BAheAAAoJEEr5A5hT4EXFDkYIAIjBnKqsQLxwgpgrfsJ/
C5rpwrlvtKJE09NTMqSIzZR9fTg9v1AocHbqqqlmQ45Way7+HU+ns38aDw3DMNTX
9L79b+/wiD56wEFB+2ifnWeK81opEb1f3LdUPvxO73bkTqrhOnoURh4nLTzu3mED
ctrg9RGcFcOwJ9AsSkYmIB9kZ0nzEHO+NiA+edT0CGSk5+sfOvJBm0WFixxXwfKn
BzNeIpQcdw0utRol52vGd+oCyufkvD9wWKFJGmd7s2kegQi2Oby/iWvlNRPbf2C6
kq+tI7gIUj16ZZ95foRA3aVqIl2sL32YXfWVufbykc8YDLpEBBqF/O4iBZmFeOpZ
d5E=
=GWhk
-----END PGP PUBLIC KEY BLOCK-----
"""
FIRST, SECOND = "49CA30BB9987BA132583A6C58CDE64C68601A459", "7F9D4EE84657EFEA0C6FD8984AF9039853E045C5"
SPACED = " ".join(FIRST[start : start + 4] for start in range(0, 40, 4)).lower()


def test_fingerprints_are_those_that_gpg_says():
    assert openpgp.fingerprints(KEYS) == openpgp.fingerprints(openpgp.binary(KEYS)) == [FIRST, SECOND]
    assert openpgp.fingerprints(KEYS.replace(b"\n", b"\r\n")) == [FIRST, SECOND]
    assert openpgp.fingerprints(openpgp.armor(openpgp.binary(KEYS)).encode()) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("unwanted", "left"), [([FIRST], [SECOND]), ([SECOND], [FIRST]), ([], [FIRST, SECOND]), (["A" * 40], [FIRST, SECOND])]
)
@pytest.mark.parametrize("content", [KEYS, openpgp.binary(KEYS)], ids=["armored", "binary"])
def test_a_keyring_without_some(content, unwanted, left):
    found = openpgp.without(content, unwanted)
    assert openpgp.fingerprints(found) == left and openpgp.is_armored(found) == openpgp.is_armored(content)


def test_a_keyring_without_any():
    assert openpgp.without(KEYS, {FIRST, SECOND}) == b""


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>no such page</html>", openpgp.binary(KEYS)[:-5], KEYS[:200], b"\x99\x01", b"\xc6\x80", b"\x99\x00\x01\x07"],
)
def test_what_is_no_key(content):
    with pytest.raises(GpufleetError):
        openpgp.fingerprints(content)


@pytest.fixture
def chown(monkeypatch):
    """What is written belongs to root: where the tests are not root's, it stays theirs."""
    if os.getuid() != 0:
        monkeypatch.setattr(os, "fchown", lambda *arguments: None)
        monkeypatch.setattr(os, "chown", lambda *arguments: None)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "key").write_bytes(openpgp.binary(KEYS))
    (tmp_path / "page").write_bytes(b"<html>Sign in</html>")
    return tmp_path.as_uri()


def ensure(path, check_mode=False, content=None, url=None, wanted=()):
    before, after = repository_key.ensure(str(path), content, url, wanted, 5, check_mode)
    return before != after


def test_by_address(tmp_path, server, chown):
    path = tmp_path / "keyrings" / "a.asc"
    assert ensure(path, True, url=server + "/key") and not path.exists()
    with pytest.raises(GpufleetError, match="and not %s as asked for. Nothing was written" % FIRST):
        ensure(path, url=server + "/key", wanted=[SPACED])  # whoever trusts the file trusts the second one too
    assert not path.exists()
    assert ensure(path, url=server + "/key", wanted=[SPACED, SECOND])
    assert openpgp.is_armored(path.read_bytes()) and openpgp.fingerprints(path.read_bytes()) == [FIRST, SECOND]
    assert oct(path.stat().st_mode)[-3:] == "644" and os.listdir(path.parent) == ["a.asc"]
    # With a fingerprint, nobody is asked again.
    assert not ensure(path, url="http://192.0.2.1/never", wanted=[FIRST, SECOND])
    assert not ensure(path, url="http://192.0.2.1/never")
    path.chmod(0o600)
    assert ensure(path, url=server + "/key", wanted=[FIRST, SECOND]) and oct(path.stat().st_mode)[-3:] == "644"


def test_by_content(tmp_path, chown):
    path = tmp_path / "a.asc"
    text = KEYS.decode()
    assert ensure(path, True, content=text) and not path.exists()
    assert ensure(path, content=text) and not ensure(path, content=text)


@pytest.mark.parametrize(
    ("name", "wanted", "why"),
    [
        ("key", ["B" * 40], "its fingerprint is %s, %s, and not %s as asked for" % (FIRST, SECOND, "B" * 40)),
        ("page", [], "it is no file of OpenPGP keys"),
        ("missing", [], "cannot be fetched"),
    ],
)
def test_nothing_else_is_written(tmp_path, server, name, wanted, why):
    path = tmp_path / "a.asc"
    with pytest.raises(GpufleetError, match=why):
        ensure(path, url=server + "/" + name, wanted=wanted)
    assert not path.exists()


def test_taken_out(tmp_path, chown):
    path = tmp_path / "trusted.gpg"
    path.write_bytes(openpgp.binary(KEYS))

    def remove(name, check_mode=False):
        before, after = repository_key.remove(str(path), [name], check_mode)
        return before != after

    assert remove(SPACED, True) and openpgp.fingerprints(path.read_bytes()) == [FIRST, SECOND]
    assert remove(SPACED) and openpgp.fingerprints(path.read_bytes()) == [SECOND]
    assert not remove(SPACED)
    assert remove(SECOND) and not path.exists()
    assert not remove(SECOND)
