# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the toolkit's packages come from, and what old guides have left on a host. Pure."""

from __future__ import annotations

import posixpath
import re
import typing as t

from . import container_engine_repository as repositories

Dict = t.Dict[str, t.Any]
Map = t.Mapping[str, t.Any]

VENDOR = "https://nvidia.github.io/"
# The repositories of today and of all guides before.
ADDRESSES = re.compile(
    r"nvidia\.github\.io/(libnvidia-container|nvidia-docker|nvidia-container-runtime|nvidia-container-toolkit)\b"
)
# The key of these repositories, which apt-key add took into what all repositories may be signed with.
FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
APT_FILE = "/etc/apt/sources.list.d/nvidia-container-toolkit.sources"
APT_KEY = "/etc/apt/keyrings/nvidia-container-toolkit.asc"
YUM_FILE = "/etc/yum.repos.d/nvidia-container-toolkit.repo"
YUM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-nvidia-container-toolkit"
FILES = (APT_FILE, APT_KEY, YUM_FILE, YUM_KEY)
# By their names these are of old guides, whichever mirror they point to.
_NAMES = re.compile(
    r"^(libnvidia-container|nvidia-docker|nvidia-container-runtime|nvidia-container-toolkit)(-experimental)?\.(list|repo|sources)$"
)


def is_vendor(url: str) -> bool:
    return url.startswith((VENDOR, VENDOR.replace("https:", "http:")))


def repository(wanted: Map, look: Map) -> Dict:
    """The file and the key as they shall be, and whether they are."""
    system, url = look["system"], str(wanted["repository_url"]).rstrip("/")
    from_file = wanted["key_content"] is not None
    source = "a file of the one who runs this" if from_file else wanted["key_url"]
    if system["package_manager"] == "apt":
        path, key = APT_FILE, APT_KEY
        # A flat repository: its suite is a directory. Source: NVIDIA's installation guide.
        text = repositories.deb822("%s/deb/%s" % (url, system["architecture"]), "/", key, source)
    elif system["package_manager"] in ("dnf", "yum", "dnf5"):
        path, key = YUM_FILE, YUM_KEY
        # Metadata is signed, packages are not.
        text = repositories.yum(
            "nvidia-container-toolkit", "NVIDIA Container Toolkit", url + "/rpm/$basearch", key, source, packages_signed=False
        )
    else:
        return {
            "due": False,
            "supported": False,
            "problem": "%s has neither apt nor dnf: this role knows no other package manager. Install the toolkit by hand, and "
            "everything else of it works." % system["name"],
        }
    keys = look["fingerprints"].get(key)
    if from_file:
        key_due = look["files"].get(key, {}).get("text", "").strip() != str(wanted["key_content"]).strip()
    else:
        key_due = not keys or bool(wanted["key_fingerprint"] and _plain(wanted["key_fingerprint"]) not in keys)
    file_due = look["files"].get(path, {}).get("text") != text
    return {
        "due": key_due or file_due,
        "supported": True,
        "path": path,
        "text": text,
        "file_due": file_due,
        # A file that says another source of the key, or is not there: its key is not the one that is asked for.
        "key_due": key_due or (file_due and not from_file),
        "key_path": key,
    }


def leftovers(wanted: Map, look: Map, packages: t.Sequence[str], hooks: t.Sequence[str]) -> Dict:
    """Files to remove, files of which some lines go, keys, packages and hooks of guides that do not hold any more."""
    remove, rewrite, warnings = [], [], []
    for path, text in sorted(look["sources"].items()):
        if path in (APT_FILE, YUM_FILE):
            continue
        if _NAMES.match(posixpath.basename(path)):
            remove.append(path)
            continue
        kind = path.rpartition(".")[2]
        left = repositories.without(text, ADDRESSES, kind)
        if left == "" and path not in ("/etc/apt/sources.list",):
            remove.append(path)
        elif left is not None:
            rewrite.append({"path": path, "content": left})
    theirs = {FINGERPRINT, _plain(wanted["key_fingerprint"]), *look["fingerprints"].get(APT_KEY, [])}
    keys = {path: [key for key in found if key in theirs] for path, found in look["fingerprints"].items() if _of_all(path)}
    keys = {path: found for path, found in keys.items() if found}
    there = look["packages"]
    old = [name for name in packages if there.get(name, {}).get("state") in ("installed", "unfinished")]
    hook = [path for path in hooks if look["files"].get(path, {}).get("type") in ("file", "link")]
    if "nvidia-docker2" in old and look["files"].get("/etc/docker/daemon.json", {}).get("type") == "file":
        warnings.append(
            "nvidia-docker2 is removed and not purged: /etc/docker/daemon.json was a configuration file of that package, so "
            "`apt purge nvidia-docker2` would delete it."
        )
    return {
        "due": bool(remove or rewrite or keys or old or hook),
        "remove": remove + hook,
        "rewrite": rewrite,
        "keyrings": [{"path": path, "fingerprints": found} for path, found in sorted(keys.items())],
        "packages": old,
        "warnings": warnings,
    }


def _of_all(path: str) -> bool:
    """Whether it is a keyring that every repository may be signed with."""
    return path == "/etc/apt/trusted.gpg" or path.startswith("/etc/apt/trusted.gpg.d/")


def _plain(fingerprint: str) -> str:
    return re.sub(r"[^0-9A-F]", "", fingerprint.upper())
