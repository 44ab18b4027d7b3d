# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A signed apt repository of packages with the real names, for roles that install a vendor's packages.

    apt_repository.py < description.json          description: the arguments of build()

What a vendor does with reprepro, in one call: dpkg-deb packs, gpg signs, and apt checks all of it as it does elsewhere.
Needs dpkg-deb and gpg. The same description again does nothing, so that the key stays the one that hosts have.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

OWNER = "Throw-away key of gpufleet.llm's tests <tests@example.com>"
FIELDS = ("depends", "pre-depends", "recommends", "provides", "conflicts", "breaks", "replaces")


def build(
    directory: str | os.PathLike,
    packages: t.Sequence[dict],
    suite: str | None = None,
    component: str = "main",
    origin: str = "gpufleet-tests",
    home: str | os.PathLike | None = None,
) -> dict:
    """The repository in ``directory``: ``{"key": path of its public key, "fingerprint": ..., "changed": bool}``.

    packages: {name, version, architecture ("all"), depends and other relations (a string or a list),
    files: {"/path": "content" or {"content", "mode": "0755"}}, scripts: {"postinst": "#!/bin/sh ..."}}.
    Several versions of one name may stand side by side.
    suite: None makes the flat layout ("deb URI /") of NVIDIA's repositories, a name that of a distribution.
    origin: what apt calls the origin, for pins by "release o=".
    home: a directory that keeps the secret key, so that a changed repository is signed by the same one.
    """
    target = pathlib.Path(directory).absolute()
    wish = [list(packages), suite, component, origin, pathlib.Path(__file__).read_text(encoding="utf-8")]
    digest = hashlib.sha256(json.dumps(wish, sort_keys=True).encode()).hexdigest()
    record = target / "built.json"
    if record.exists():
        built = json.loads(record.read_text(encoding="utf-8"))
        if built.pop("description") == digest:
            return dict(built, changed=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".%s-" % target.name) as work:
        made = pathlib.Path(work) / "repository"
        (made / "pool").mkdir(parents=True)
        made.chmod(0o755)
        entries = [_pack(pathlib.Path(work) / "tree", made, package) for package in packages]
        index = _index(made, entries, suite, component, origin)
        fingerprint = _sign(made, index, pathlib.Path(home or pathlib.Path(work) / "gnupg"))
        answer = {"key": str(target / "key.asc"), "fingerprint": fingerprint}
        (made / "built.json").write_text(json.dumps(dict(answer, description=digest)), encoding="utf-8")
        if target.exists():
            target.rename(pathlib.Path(work) / "before")
        made.rename(target)
    return dict(answer, changed=True)


def _pack(tree: pathlib.Path, repository: pathlib.Path, package: dict) -> str:
    """Packs one package into the pool; its paragraph of the index."""
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "DEBIAN").mkdir(parents=True)
    tree.chmod(0o755)
    for path, entry in package.get("files", {}).items():
        entry = {"content": entry} if isinstance(entry, str) else entry
        _write(tree / path.lstrip("/"), entry["content"], int(entry.get("mode", "0644"), 8))
    for name, text in package.get("scripts", {}).items():
        _write(tree / "DEBIAN" / name, text, 0o755)
    configuration = sorted(path for path in package.get("files", {}) if path.startswith("/etc/"))
    if configuration:
        _write(tree / "DEBIAN" / "conffiles", "".join(path + "\n" for path in configuration), 0o644)
    fields = {
        "Package": package["name"],
        "Version": package["version"],
        "Architecture": package.get("architecture", "all"),
        "Maintainer": OWNER,
        "Section": "misc",
        "Priority": "optional",
    }
    for name in FIELDS:
        value = package.get(name)
        if value:
            fields[name.title()] = value if isinstance(value, str) else ", ".join(value)
    fields["Description"] = "stand-in for %s" % package["name"]
    control = "".join("%s: %s\n" % field for field in fields.items())
    _write(tree / "DEBIAN" / "control", control, 0o644)
    file = "pool/%s_%s_%s.deb" % (fields["Package"], fields["Version"].rpartition(":")[2], fields["Architecture"])
    _run("dpkg-deb", "--build", "--root-owner-group", "-Zgzip", "-z1", str(tree), str(repository / file))
    return control + "Filename: %s\n%s" % (file, _sums(repository / file))


def _sums(path: pathlib.Path) -> str:
    content = path.read_bytes()
    return "Size: %d\nSHA256: %s\n" % (len(content), hashlib.sha256(content).hexdigest())


def _index(repository: pathlib.Path, entries: list[str], suite: str | None, component: str, origin: str) -> pathlib.Path:
    """Writes Packages and Release; the directory of the latter."""
    top = repository if suite is None else repository / "dists" / suite
    architectures = [_run("dpkg", "--print-architecture").strip()]
    places = [top] if suite is None else [top / component / ("binary-" + name) for name in architectures]
    text = "\n".join(entries).encode()
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / "Packages").write_bytes(text)
        (place / "Packages.gz").write_bytes(gzip.compress(text, mtime=0))
    release = "Origin: %s\nLabel: %s\n" % (origin, origin)
    if suite is not None:
        release += "Suite: %s\nCodename: %s\nComponents: %s\n" % (suite, suite, component)
    release += "Architectures: %s\n" % " ".join(architectures)
    now = datetime.datetime.now(datetime.timezone.utc)
    release += "Date: %s\nSHA256:\n" % now.strftime("%a, %d %b %Y %H:%M:%S UTC")
    for place in places:
        for path in sorted(place.glob("Packages*")):
            content = path.read_bytes()
            release += " %s %d %s\n" % (hashlib.sha256(content).hexdigest(), len(content), path.relative_to(top))
    (top / "Release").write_text(release, encoding="utf-8")
    return top


def _sign(repository: pathlib.Path, index: pathlib.Path, home: pathlib.Path) -> str:
    """Signs Release and leaves the public key beside it, in ASCII armour; its fingerprint."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", "")
    try:
        if not _run(*gpg, "--list-secret-keys"):
            _run(*gpg, "--quick-generate-key", OWNER, "ed25519", "sign", "never")
        release = str(index / "Release")
        _run(*gpg, "--clearsign", "--output", str(index / "InRelease"), release)
        _run(*gpg, "--detach-sign", "--armor", "--output", release + ".gpg", release)
        (repository / "key.asc").write_text(_run(*gpg, "--armor", "--export"), encoding="utf-8")
        keys = _run(*gpg, "--with-colons", "--fingerprint")
    finally:  # its agent would outlive the directory it works in
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, capture_output=True)
    return next(line.split(":")[9] for line in keys.splitlines() if line.startswith("fpr:"))


def _write(path: pathlib.Path, content: str, mode: int) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)


def _run(*words: str) -> str:
    result = subprocess.run(words, text=True, capture_output=True, check=False)
    if result.returncode:
        raise RuntimeError("%s: %s" % (" ".join(words[:2]), result.stderr.strip()))
    return result.stdout


if __name__ == "__main__":
    json.dump(build(**json.load(sys.stdin)), sys.stdout)
    print()
