# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The signed repository that scenarios install from."""

from __future__ import annotations

import hashlib
import re
import subprocess

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.software import openpgp
from ansible_collections.gpufleet.llm.tests.stand_ins.packages import apt_repository

TOOL = {
    "name": "tool", "version": "1:2.0-1", "depends": ["base (= 1)", "libc6"],
    "files": {"/usr/bin/tool": {"content": "#!/bin/sh\n", "mode": "0755"}, "/etc/tool.conf": "a = b\n"},
    "scripts": {"postinst": "#!/bin/sh\nexit 0\n"},
}  # fmt: skip


@pytest.mark.parametrize("suite, index", [(None, "."), ("stable", "dists/stable")])
def test_a_repository_that_apt_takes(tmp_path, suite, index):
    place = tmp_path / "repository"
    wish = {"packages": [TOOL, {"name": "base", "version": "1"}], "suite": suite, "origin": "NVIDIA CUDA"}
    made = apt_repository.build(place, **wish, home=tmp_path / "home")
    assert made["changed"] is True
    assert apt_repository.build(place, **wish)["changed"] is False
    key = (place / "key.asc").read_bytes()
    assert openpgp.fingerprints(key) == [made["fingerprint"]]
    keyring = str(tmp_path / "key.gpg")
    dearmor = ["gpg", "--homedir", str(tmp_path / "home"), "--dearmor", "--output", keyring, str(place / "key.asc")]
    subprocess.run(dearmor, check=True, capture_output=True)
    release = (place / index / "Release").read_text()
    subprocess.run(["gpgv", "--keyring", keyring, str(place / index / "InRelease")], check=True, capture_output=True)
    assert "Label: NVIDIA CUDA\n" in release
    for digest, size, path in re.findall(r"^ (\w+) (\d+) (\S+)$", release, re.M):
        content = (place / index / path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, int(size))
    packages = next((place / index).rglob("Packages")).read_text()
    paragraph = packages.split("\n\n")[0]
    assert "Package: tool\nVersion: 1:2.0-1\n" in paragraph and "Depends: base (= 1), libc6\n" in paragraph
    deb = place / re.search(r"^Filename: (.*)$", paragraph, re.M).group(1)
    assert hashlib.sha256(deb.read_bytes()).hexdigest() in paragraph
    listed = subprocess.run(["dpkg-deb", "--contents", str(deb)], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^-rwxr-xr-x root/root .* ./usr/bin/tool$", listed, re.M)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "key.gpg", "repository"]  # nothing is left behind


def test_a_changed_repository_keeps_its_key(tmp_path):
    first = apt_repository.build(tmp_path / "r", [{"name": "a", "version": "1"}], home=tmp_path / "home")
    again = apt_repository.build(tmp_path / "r", [{"name": "a", "version": "2"}], home=tmp_path / "home")
    assert again["changed"] is True and again["fingerprint"] == first["fingerprint"]
    assert [path.name for path in (tmp_path / "r" / "pool").iterdir()] == ["a_2_all.deb"]
