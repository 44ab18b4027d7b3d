# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image in a container engine of this host, known by what it is and not by a name that may point elsewhere tomorrow.

What was brought is recorded, one file for each image and each way it was asked for::

    <records>/<engine>-<id>-<hash of name and archive>.json
        {"schema", "engine", "id", "reference", "name", "proven", "ours", "archive": {"path", "size", "mtime_ns", "inode", "sha256"}}

so that a second run asks the engine whether it still has the image, and nobody else. ``proven`` is one that has served, ``ours``
one that was not there before.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import subprocess
import tempfile
import typing as t

from ..errors import GpufleetError

SCHEMA = "gpufleet.image/1"
ENGINES = ("docker", "podman")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_NAME = re.compile(r"^[a-z0-9]([a-zA-Z0-9._:/-]*[a-zA-Z0-9_])?(@sha256:[0-9a-f]{64})?$")

Runner = t.Callable[[t.List[str]], t.Tuple[int, str, str]]
Params = t.Mapping[str, t.Any]


def answer(params: Params, check_mode: bool, runner: t.Optional[Runner] = None) -> t.Dict[str, t.Any]:
    """What the module returns for its options."""
    images = Images(params["engine"], params["records"], runner or _run(params["timeout"], params["auth_file"]))
    if params["state"] == "pruned":
        return images.prune(params, check_mode)
    _check(params)
    found = images.archived(params) if params["archive"] else images.named(params)
    if found:
        return dict(found, changed=False, actions=[])
    if params["archive"]:
        action = "load %s" % params["archive"]
    else:
        action = "pull %s" % _wanted(params)
        if params["offline"]:
            raise GpufleetError(
                "offline=true and %s has no %s. Give archive=PATH of an image saved elsewhere, or a name that is there"
                % (params["engine"], _wanted(params))
            )
    if check_mode:
        # By its digest it is known already; else nobody knows it before it is here.
        wanted = "" if params["archive"] else _wanted(params)
        reference = wanted if "@" in wanted else None
        return {"changed": True, "actions": [action], "id": None, "reference": reference, "size_bytes": None}
    done = images.load(params) if params["archive"] else images.pull(params)
    return dict(done, changed=True, actions=[action])


def _check(params: Params) -> None:
    if bool(params["name"]) == bool(params["archive"]):
        raise GpufleetError("give one of name and archive")
    if params["name"] and not _NAME.match(params["name"]):
        raise GpufleetError("name=%s: give an image as REGISTRY/NAME[:TAG][@sha256:DIGEST]" % params["name"])
    if params["digest"] and not _DIGEST.match(params["digest"]):
        raise GpufleetError("digest=%s: give sha256: and 64 hex digits" % params["digest"])
    if params["name"] and params["digest"] and "@" in params["name"] and not params["name"].endswith(params["digest"]):
        raise GpufleetError("digest=%s: name=%s has another one" % (params["digest"], params["name"]))
    if params["sha256"] and not re.match("^[0-9a-f]{64}$", params["sha256"]):
        raise GpufleetError("sha256=%s: give 64 hex digits" % params["sha256"])
    if params["auth_file"] and not os.path.isfile(params["auth_file"]):
        raise GpufleetError("auth_file=%s: there is no such file" % params["auth_file"])
    if params["auth_file"] and params["engine"] == "docker" and os.path.basename(params["auth_file"]) != "config.json":
        raise GpufleetError("auth_file=%s: Docker reads credentials from a file config.json alone" % params["auth_file"])
    if params["sha256"] and not params["archive"]:
        raise GpufleetError("sha256 is of an archive: give digest for an image of a registry")


def _wanted(params: Params) -> str:
    """The reference to pull. With a digest, a tag only says what it was meant to be."""
    if not params["digest"] or "@" in params["name"]:
        return params["name"]
    return "%s@%s" % (untagged(params["name"]), params["digest"])


def untagged(name: str) -> str:
    """The repository of a reference."""
    name = name.split("@", 1)[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.split(":", 1)[0]


class Images:
    """Those of one engine that were brought by this module."""

    def __init__(self, engine: str, records: str, runner: Runner) -> None:
        self.engine, self.records, self.runner = engine, records, runner

    # --- what is there ------------------------------------------------------------------------------

    def named(self, params: Params) -> t.Optional[t.Dict[str, t.Any]]:
        wanted = _wanted(params)
        if "@" in wanted:
            image = self._inspect("%s@%s" % (untagged(wanted), wanted.rpartition("@")[2]))
            return self._found(image, wanted) if image else None
        for record in self._recorded():
            if record["name"] == wanted:
                image = self._inspect(record["id"])
                if image:
                    return self._found(image, record["reference"])
        return None

    def archived(self, params: Params) -> t.Optional[t.Dict[str, t.Any]]:
        now = _stat(params["archive"])
        for record in self._recorded():
            was = record["archive"] or {}
            same = all(was.get(key) == now[key] for key in now)
            if same and params["sha256"] in (None, was["sha256"]):
                image = self._inspect(record["id"])
                if image:
                    return self._found(image, record["reference"])
        return None

    def _recorded(self) -> t.List[t.Dict[str, t.Any]]:
        """The newest first."""
        found = []
        for path in glob.glob(os.path.join(glob.escape(self.records), self.engine + "-*.json")):
            try:
                with open(path, encoding="utf-8") as content:
                    record = json.load(content)
                if record["schema"] == SCHEMA:
                    found.append((os.stat(path).st_mtime_ns, path, record))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # what nobody can read is as good as not there: the image is looked at anew
        return [record for _time, _path, record in sorted(found, key=lambda one: one[:2], reverse=True)]

    def _inspect(self, reference: str) -> t.Optional[t.Dict[str, t.Any]]:
        code, out, problem = self.runner([self.engine, "image", "inspect", reference])
        if code == 0:
            return json.loads(out)[0]
        # "No such image" (Docker), "image not known", "no such object" (Podman): else the engine itself does not work.
        if not re.search("no such image|not known|no such object", problem, re.IGNORECASE):
            raise GpufleetError("%s image inspect %s failed: %s" % (self.engine, reference, problem.strip()))
        return None

    @staticmethod
    def _found(image: t.Mapping[str, t.Any], reference: str) -> t.Dict[str, t.Any]:
        return {"id": _bare(image["Id"]), "reference": reference, "size_bytes": image.get("Size")}

    # --- bringing it --------------------------------------------------------------------------------

    def pull(self, params: Params) -> t.Dict[str, t.Any]:
        wanted = _wanted(params)
        before = self._inspect(wanted)
        self._do(["pull", "--quiet", wanted], "%s could not be pulled" % wanted)
        image = self._inspect(wanted)
        if image is None:
            raise GpufleetError("%s pulled %s and does not know it" % (self.engine, wanted))
        repository = untagged(wanted)
        digests = [one for one in image.get("RepoDigests") or [] if untagged(one) == repository]
        reference = wanted if "@" in wanted else digests[0] if digests else _bare(image["Id"])
        found = self._found(image, reference)
        known = any(record["id"] == found["id"] and record["ours"] for record in self._recorded())
        self._record(found, wanted, None, known or before is None or before["Id"] != image["Id"])
        return found

    def load(self, params: Params) -> t.Dict[str, t.Any]:
        path = params["archive"]
        stat, digest = _stat(path), _sha256(path)
        if params["sha256"] not in (None, digest):
            raise GpufleetError(
                "archive=%s has sha256 %s, and sha256=%s is asked for: it is another one, or came over damaged"
                % (path, digest, params["sha256"])
            )
        said = self._do(["load", "--input", path], "archive=%s could not be loaded" % path)
        names = re.findall(r"^Loaded image(?:\(s\))?(?: ID)?: (.+)$", said, re.MULTILINE)
        if not names:
            raise GpufleetError("%s load of %s did not say what it loaded: %s" % (self.engine, path, said.strip()))
        if len({self._id(name) for name in names}) > 1:
            raise GpufleetError("archive=%s holds %d images (%s): save one alone" % (path, len(names), ", ".join(names)))
        image = self._inspect(names[0])
        if image is None:
            raise GpufleetError("%s loaded %s and does not know it" % (self.engine, names[0]))
        found = self._found(image, _bare(image["Id"]))
        self._record(found, names[0], dict(stat, sha256=digest), True)
        return found

    def _id(self, name: str) -> str:
        image = self._inspect(name)
        return _bare(image["Id"]) if image else name

    def _do(self, words: t.List[str], problem: str) -> str:
        code, out, error = self.runner([self.engine] + words)
        if code != 0:
            raise GpufleetError("%s: %s" % (problem, (error or out).strip().splitlines()[-1] if error or out else code))
        return out

    def _record(
        self, found: t.Mapping[str, t.Any], name: str, archive: t.Optional[t.Mapping[str, t.Any]], ours: bool
    ) -> None:
        self._write({
            "schema": SCHEMA, "engine": self.engine, "id": found["id"], "reference": found["reference"], "name": name,
            "archive": dict(archive) if archive else None, "proven": False, "ours": ours,
        })  # fmt: skip

    def _path(self, record: t.Mapping[str, t.Any]) -> str:
        asked = "%s %s" % (record["name"], (record["archive"] or {}).get("path", ""))
        number = hashlib.sha256(asked.encode()).hexdigest()[:12]
        return os.path.join(self.records, "%s-%s-%s.json" % (self.engine, record["id"], number))

    def _write(self, record: t.Mapping[str, t.Any]) -> None:
        os.makedirs(self.records, mode=0o755, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".image.", dir=self.records)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump(record, out, indent=1, sort_keys=True)
            out.write("\n")
            os.fchmod(out.fileno(), 0o644)
        os.replace(temporary, self._path(record))

    # --- removing it --------------------------------------------------------------------------------

    def prune(self, params: Params, check_mode: bool) -> t.Dict[str, t.Any]:
        """Remove what this module brought and nothing needs, but for ``keep`` of them: those that worked first, then the newest."""
        used, proven = _texts(params["used_by"]), _texts(params["proven_by"])
        images: t.Dict[str, t.List[t.Dict[str, t.Any]]] = {}
        for record in self._recorded():
            images.setdefault(record["id"], []).append(record)
            if _names(proven, record) and not record["proven"]:
                record["proven"] = True
                if not check_mode:
                    self._write(record)
        unused = [
            records for records in images.values()
            if records[0]["ours"] and not any(_names(used + proven, record) for record in records)
        ]  # fmt: skip
        actions = []
        for records in sorted(unused, key=lambda one: not any(record["proven"] for record in one))[params["keep"]:]:
            number, name = records[0]["id"], records[0]["name"]
            there = self._inspect(number) is not None
            if there and self._do(["ps", "--all", "--quiet", "--filter", "ancestor=" + number], "no list of containers"):
                continue  # somebody else runs it
            actions.append("remove %s" % name)
            if check_mode:
                continue
            if there:  # by force, for it may have several names
                self._do(["image", "rm", "--force", number], "%s could not be removed" % name)
            for record in records:
                os.unlink(self._path(record))
        return {"changed": bool(actions), "actions": actions, "id": None, "reference": None, "size_bytes": None}


def _texts(patterns: t.Sequence[str]) -> str:
    text = ""
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        try:
            with open(path, encoding="utf-8", errors="replace") as content:
                text += content.read()
        except (FileNotFoundError, IsADirectoryError):
            continue  # a link to nowhere names nothing
    return text


def _names(text: str, record: t.Mapping[str, t.Any]) -> bool:
    return record["id"] in text or record["reference"].rpartition("sha256:")[2] in text


def _bare(digest: str) -> str:
    return digest.rpartition(":")[2]


def _stat(path: str) -> t.Dict[str, t.Any]:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise GpufleetError("archive=%s: %s" % (path, error.strerror)) from None
    return {"path": path, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as content:
        for block in iter(lambda: content.read(1 << 22), b""):
            digest.update(block)
    return digest.hexdigest()


def _run(timeout_s: int, auth_file: t.Optional[str]) -> Runner:
    def run(words: t.List[str]) -> t.Tuple[int, str, str]:
        environment = dict(os.environ, LC_ALL="C")
        if auth_file:  # Podman takes the file, Docker the directory with a config.json
            environment["REGISTRY_AUTH_FILE"] = auth_file
            environment["DOCKER_CONFIG"] = os.path.dirname(auth_file)
        try:
            # run_command belongs to a module, and has no timeout.
            process = subprocess.run(  # pylint: disable=ansible-bad-function
                words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False, env=environment
            )
        except FileNotFoundError:
            raise GpufleetError(
                "%s is not on this host. The role gpufleet.llm.container_engine installs it, or choose the other engine"
                % words[0]
            ) from None
        except subprocess.TimeoutExpired:
            raise GpufleetError("%s did not end in timeout=%d s" % (" ".join(words), timeout_s)) from None
        return process.returncode, process.stdout.decode(errors="replace"), process.stderr.decode(errors="replace")

    return run
