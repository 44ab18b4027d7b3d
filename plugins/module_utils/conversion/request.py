# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From gguf_file's arguments to the file."""

from __future__ import annotations

import errno
import os
import re
import typing as t

from ..errors import GpufleetError
from ..models.gguf import SPLIT_NAME, GgufHeader
from ..software.lock import held
from ..sizes import human
from ..transfer.files import hash_file, make_directories
from ..transfer.permissions import Permissions, parse_mode
from . import look, merge, program, quantize, target
from .parts import SET, Part, check_set, piece
from .target import Outcome, Target

_OUTSIDE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOTDIR,
)  # fmt: skip
_QUANTIZE_OPTIONS = (
    "type", "imatrix", "allow_requantize", "pure", "output_tensor_type", "token_embedding_type", "tensor_types",
)  # fmt: skip


def answer(params: t.Dict[str, t.Any], check_mode: bool) -> t.Dict[str, t.Any]:
    """What gguf_file returns for its arguments."""
    wish = _wish(params)
    permissions = Permissions(params["owner"], params["group"], parse_mode(params["mode"], "mode"), 0o755)
    permissions.check()
    place = Target(params["path"])
    task = _Task(params, wish, place, permissions, check_mode)
    try:
        outcome = task.ensure()
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        raise GpufleetError("%s: %s" % (error.filename or place.path, error.strerror)) from None
    return _result(place, outcome, check_mode)


def _wish(params: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """What decides the content of the file, as it is recorded. Refuses what needs no look at a file."""
    path, sources = params["path"], params["source"]
    if not sources:
        raise GpufleetError("source is empty: name a file of the model")
    for name, option in [(path, "path")] + [(one, "source") for one in sources]:
        if not os.path.isabs(name):
            raise GpufleetError("%s=%s: give an absolute path" % (option, name))
    if not path.endswith(".gguf") or SPLIT_NAME.match(os.path.basename(path)):
        raise GpufleetError(
            "path=%s: name one file that ends in .gguf, and not as a file of a split set is named: llama.cpp would look for "
            "the others"
            % path
        )
    if os.path.isdir(path):
        raise GpufleetError("path=%s is a directory: name the file" % path)
    wish: t.Dict[str, t.Any] = {"state": params["state"], "source": [os.path.normpath(one) for one in sources]}
    if params["state"] == "merged":
        given = [name for name in _QUANTIZE_OPTIONS if params[name]]
        if given:
            raise GpufleetError("%s is for state=quantized" % given[0])
        if params["sha256"] and not re.fullmatch("[0-9a-fA-F]{64}", params["sha256"]):
            raise GpufleetError("sha256=%s is no sha256: give 64 hexadecimal digits" % params["sha256"])
        return wish
    if params["sha256"]:
        raise GpufleetError("sha256 is for state=merged: what quantizing makes is not known before")
    if params["threads"] < 0:
        raise GpufleetError("threads=%d: give a positive number, or 0 for all processors" % params["threads"])
    # (What only allows the work does not decide its result.)
    wish.update({name: params[name] for name in _QUANTIZE_OPTIONS if name != "allow_requantize"})
    wish["type"] = quantize.file_type(params["type"])
    quantize.check_options(_options(wish, params))
    return wish


def _options(wish: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> quantize.Options:
    return quantize.Options(
        type=wish["type"],
        imatrix=wish["imatrix"],
        allow_requantize=params["allow_requantize"],
        pure=wish["pure"],
        output_tensor_type=wish["output_tensor_type"],
        token_embedding_type=wish["token_embedding_type"],
        tensor_types=tuple(wish["tensor_types"] or ()),
        threads=params["threads"],
    )


class _Task:
    def __init__(
        self,
        params: t.Dict[str, t.Any],
        wish: t.Dict[str, t.Any],
        place: Target,
        permissions: Permissions,
        check_mode: bool,
    ) -> None:
        self.params, self.wish, self.place = params, wish, place
        self.permissions, self.check_mode = permissions, check_mode
        self.merges = wish["state"] == "merged"
        self.sha256 = params["sha256"].lower() if params["sha256"] else None
        self._read: t.Optional[t.Tuple[t.Dict[str, int], str]] = None  # the file at path, and its sha256

    def ensure(self) -> Outcome:
        outcome = Outcome(before=_describe(self.place, self.place.record()))
        if self._is_right(outcome) or self.check_mode:
            return outcome
        if self._judge().state == target.DUE:
            self._plan(Outcome())  # refuses before anything is written
        make_directories(os.path.dirname(self.place.path))
        with held(self.place.lock_path, self.place.path, self.params["lock_timeout"]) as lock:
            again = Outcome(before=outcome.before)
            if not self._is_right(again):  # another run may have come first
                self._act(again, lock)
            return again

    def _judge(self) -> target.Verdict:
        record = self.place.record()
        inputs = {one["path"]: target.identity(one["path"]) for one in record["inputs"]} if record else {}
        if record and self.sha256 not in (None, record["result"]["sha256"]):
            return target.Verdict(target.DUE, "its sha256 was %s" % record["result"]["sha256"])
        found, new = target.identity(self.place.path), target.identity(self.place.new_path)
        return target.judge(self.wish, record, inputs, found, new, self.params["force"])

    def _is_right(self, outcome: Outcome) -> bool:
        """Whether nothing is due; in check mode also what would be done."""
        verdict = self._judge()
        outcome.reason, outcome.record = verdict.reason, self.place.record()
        if verdict.state == target.SAME:
            outcome.kind = outcome.record["result"]["kind"] if outcome.record else None
            if self.permissions.fits(self.place.path):
                outcome.msg = "%s is as wanted" % self.place.path
                return True
            outcome.changed, outcome.reason = True, "its owner or mode is another one"
            outcome.msg = "%s owner, group or mode of %s" % ("would set" if self.check_mode else "set", self.place.path)
        elif verdict.state in (target.RENAME, target.COPIED):
            outcome.changed = True
            word = "give %s its name" if verdict.state == target.RENAME else "read %s and record it anew"
            outcome.msg = "would " + word % self.place.path
        elif self.check_mode:
            self._plan(outcome)
        return False

    def _act(self, outcome: Outcome, lock: int) -> None:
        verdict = self._judge()
        outcome.changed = True
        if verdict.state == target.RENAME:
            self.permissions.give(self.place.new_path)
            target.rename(self.place)
            outcome.msg = "completed what an earlier run had made"
        elif verdict.state == target.COPIED and self._is_copy():
            record = t.cast(dict, self.place.record())
            self.permissions.give(self.place.path)
            outcome.record = target.adopt(self.place, record)
            target.discard(self.place)
            outcome.msg = "read %s: it is what was recorded" % self.place.path
        elif verdict.state == target.SAME:
            self.permissions.give(self.place.path)
            return
        else:
            target.discard(self.place)
            try:
                self._plan(outcome, lock)
            except (GpufleetError, OSError):
                target.discard(self.place)  # while the lock is held: afterwards it may be another run's
                raise
        outcome.record = self.place.record()
        outcome.kind = outcome.record["result"]["kind"] if outcome.record else None

    def _is_copy(self) -> bool:
        record = t.cast(dict, self.place.record())
        return self._digest() == record["result"]["sha256"]

    def _digest(self) -> str:
        """The sha256 of the file at path, read once."""
        found = t.cast(dict, target.identity(self.place.path))
        if self._read is None or self._read[0] != found:
            self._read = found, hash_file(self.place.path, "sha256")
        return self._read[1]

    def _plan(self, outcome: Outcome, lock: t.Optional[int] = None) -> None:
        """Check everything, and where the lock is held also do it."""
        outcome.changed = True
        paths = look.named(self.wish["source"])
        if not self.merges and not SPLIT_NAME.match(os.path.basename(paths[0])):
            paths = list(self.wish["source"])  # (a whole model may be named as a piece is)
        if self.check_mode and not any(os.path.exists(path) for path in paths):
            outcome.msg = "would make %s; nothing more is known, because source=%s is not there yet" % (self.place.path, paths[0])
            return
        for path in paths:
            if os.path.exists(self.place.path) and os.path.exists(path) and os.path.samefile(path, self.place.path):
                raise GpufleetError("path=%s is one of its own sources: give another path" % self.place.path)
        if self.merges:
            self._merge(paths, outcome, lock)
        else:
            self._quantize(paths, outcome, lock)

    def _merge(self, paths: t.List[str], outcome: Outcome, lock: t.Optional[int]) -> None:
        outcome.kind, parts = look.look_at_parts(paths, self.sha256)
        if self.sha256 and outcome.kind == SET:
            raise GpufleetError(
                "sha256 is for the pieces of one file, and %s is of a gguf-split set: what a set was split from has other bytes "
                "in its header. Leave sha256 out" % parts[0].path
            )
        wanted = merge.layout(outcome.kind, parts)
        outcome.predicted_bytes = wanted.size
        replaces = target.identity(self.place.path)
        adopted = self._refuse_foreign(replaces, lock, lambda: merge.digest_of(wanted), wanted.size)
        facts = {"kind": outcome.kind, "tensors": len(wanted.tensors)}
        inputs = [dict(t.cast(dict, target.identity(part.path)), path=part.path) for part in parts]
        if not adopted:
            target.check_room(self.place, wanted.size)
        if lock is None:
            outcome.msg = "would %s %d parts (%s) into %s" % (
                _verb(outcome.kind),
                len(parts),
                human(wanted.size),
                self.place.path,
            )
            return
        if adopted:
            target.remember(self.place, self.place.path, self.permissions, self.wish, inputs, dict(facts, sha256=adopted))
            outcome.msg = "%s was there already and is what the parts make" % self.place.path
            return
        written = merge.write(wanted, self.place.new_path)
        merge.verify(wanted, self.place.new_path)
        found, digest = merge.read_back(self.place.new_path)
        if found != written:
            raise GpufleetError("%s reads back with other bytes than were written: the disk is failing" % self.place.new_path)
        if self.sha256 and digest != self.sha256:
            raise GpufleetError(
                "the %d pieces from %s on make a file with sha256 %s instead of %s: one is damaged, or the order is wrong"
                % (len(parts), parts[0].path, digest, self.sha256)
            )
        self._unchanged(inputs)
        self._finish(inputs, dict(facts, sha256=digest), replaces)
        outcome.made = True
        outcome.msg = "%s %d parts (%s) into %s" % (
            "merged" if outcome.kind == SET else "joined", len(parts), human(wanted.size), self.place.path,
        )  # fmt: skip

    def _quantize(self, paths: t.List[str], outcome: Outcome, lock: t.Optional[int]) -> None:
        options = _options(self.wish, self.params)
        parts = self._model(paths)
        headers = [t.cast(GgufHeader, part.header) for part in parts]
        outcome.kind = "quantized"
        quantize.check_source(parts[0].path, headers[0], options)
        if options.imatrix and not os.path.isfile(options.imatrix):
            raise GpufleetError("imatrix=%s does not exist on this host" % options.imatrix)
        try:
            tool = program.find(self.params["llama_quantize"])
        except program.NotThere as error:
            if not self.check_mode:
                raise
            outcome.msg = "would quantize %s into %s; its size is not known before a run" % (parts[0].path, self.place.path)
            outcome.warnings.append(str(error))
            return
        output = program.run(quantize.arguments(tool, options, parts[0].path, None))
        wanted = quantize.predict(output, headers, options)
        outcome.predicted_bytes = wanted.file_bytes
        replaces = target.identity(self.place.path)
        self._refuse_foreign(replaces, lock)
        target.check_room(self.place, wanted.file_bytes)
        if lock is None:
            outcome.msg = "would quantize %s to %s (%s) in %s" % (
                parts[0].path, options.type, human(wanted.file_bytes), self.place.path,
            )  # fmt: skip
            return
        extra = [options.imatrix] if options.imatrix else []
        inputs = [dict(t.cast(dict, target.identity(path)), path=path) for path in [part.path for part in parts] + extra]
        program.run(quantize.arguments(tool, options, parts[0].path, self.place.new_path), lock)
        size = os.stat(self.place.new_path).st_size
        header = look.header_of(self.place.new_path)
        quantize.check_result(self.place.new_path, header, size, wanted)
        self._unchanged(inputs)
        facts = {"kind": "quantized", "tensors": len(header.tensors), "sha256": hash_file(self.place.new_path, "sha256")}
        self._finish(inputs, facts, replaces)
        outcome.made = True
        outcome.msg = "quantized %s to %s (%s) in %s" % (parts[0].path, options.type, human(size), self.place.path)

    def _model(self, paths: t.List[str]) -> t.List[Part]:
        """The files of one model that llama.cpp can read: one whole file, or all of a set."""
        if len(self.wish["source"]) > 1:
            raise GpufleetError("source: for state=quantized name one file, of a gguf-split set any of its files")
        missing = [path for path in paths if not os.path.exists(path)]
        if missing:
            raise GpufleetError("%s is missing: the model is in %d files" % (", ".join(missing[:5]), len(paths)), missing=missing)
        parts = [look.look(path) for path in paths]
        for part in parts:
            if piece(part.name) and (part.header is None or part.size < part.header.file_bytes):
                raise GpufleetError(
                    "%s is a piece of a file that was cut up: join the pieces first, with state=merged" % part.path
                )
            if part.header is None:
                raise GpufleetError("%s is not a GGUF file: it begins with %r" % (part.path, part.begins))
        check_set(parts)
        return parts

    def _finish(
        self, inputs: t.Sequence[t.Mapping[str, t.Any]], facts: t.Mapping[str, t.Any], replaces: t.Optional[t.Dict[str, int]]
    ) -> None:
        target.finish(self.place, self.permissions, self.wish, inputs, facts, replaces, self.params["force"])

    def _refuse_foreign(
        self,
        found: t.Optional[t.Mapping[str, int]],
        lock: t.Optional[int],
        digest: t.Optional[t.Callable[[], str]] = None,
        size: int = 0,
    ) -> t.Optional[str]:
        """A file that somebody else put there is kept, unless it has the very bytes (then returns its sha256) or force is set.

        A record beside it is no proof: it may be left from a file that was here before.
        """
        record = self.place.record()
        if found is None or target.known_by(record, found):
            return None
        recorded = record is not None and found["size"] == record["result"]["size"]
        if recorded or (digest is not None and found["size"] == size):
            if lock is None and not self.check_mode:
                return None  # read it when it is time to
            own = self._digest()
            if digest is not None and found["size"] == size and own == digest():
                return own
            if record is not None and own == record["result"]["sha256"]:
                return None
        if self.params["force"]:
            return None
        raise GpufleetError(
            "%s is there (%d bytes) and %s: set force to replace it, or give another path"
            % (
                self.place.path,
                found["size"],
                "was not made by this module" if record is None else "is not the file that %s knows" % self.place.record_path,
            )
        )

    def _unchanged(self, inputs: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        for one in inputs:
            found = target.identity(one["path"])
            if found is None or dict(found, path=one["path"]) != one:
                raise GpufleetError("%s changed while it was read: run again when it is whole" % one["path"])


def _verb(kind: str) -> str:
    return "merge" if kind == SET else "join"


def _describe(place: Target, record: t.Optional[t.Mapping[str, t.Any]]) -> str:
    """The file in the lines of a diff."""
    found = target.identity(place.path)
    if found is None:
        return "%s: absent\n" % place.path
    lines = ["%s: %d bytes" % (place.path, found["size"])]
    if record and target.known_by(record, found):
        wish = record["wish"]
        lines.append("%s from %s" % (wish["state"], ", ".join(wish["source"])))
        lines += ["%s: %s" % (key, wish[key]) for key in sorted(wish) if key not in ("state", "source") and wish[key]]
    return "\n".join(lines) + "\n"


def _result(place: Target, outcome: Outcome, check_mode: bool) -> t.Dict[str, t.Any]:
    record = outcome.record or {}
    after = outcome.before
    if outcome.changed and check_mode:
        size = outcome.predicted_bytes
        after = "%s: %s\n" % (place.path, "%d bytes" % size if size is not None else outcome.msg)
    elif outcome.changed:
        after = _describe(place, record)
    result = record.get("result", {}) if not (check_mode and outcome.changed) else {}
    return {
        "changed": outcome.changed,
        "msg": outcome.msg + (" (%s)" % outcome.reason if outcome.reason and outcome.changed else ""),
        "path": place.path,
        "kind": outcome.kind,
        "bytes": result.get("size"),
        "predicted_bytes": outcome.predicted_bytes,
        "tensors": result.get("tensors"),
        "sha256": result.get("sha256"),
        "inputs": [one["path"] for one in record.get("inputs", [])],
        "record": outcome.record,
        "diff": {"before": outcome.before, "after": after},
        "warnings": outcome.warnings,
    }
