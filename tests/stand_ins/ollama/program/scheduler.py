# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loaded models: who is in memory, for how long, and who waits."""

from __future__ import annotations

import datetime
import re
import subprocess
import threading
import time
import typing as t
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .environment import MAX_DURATION_NS, SECOND_NS, Environment, log
from .model import Model
from .modes import Modes

GIB = 2**30
BUSY = "server busy, please try again.  maximum pending requests exceeded"
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
LIBRARIES = {"CUDA": "cuda_", "ROCm": "rocm_", "Vulkan": "vulkan"}


class Busy(Exception):
    pass


class LoadError(Exception):
    pass


@dataclass
class Runner:
    model: Model
    size: int
    size_vram: int
    context: int
    process: t.Optional[subprocess.Popen] = None
    keep_alive: int = 0  # nanoseconds
    expires: t.Optional[float] = None  # time.time(); None while it is busy
    busy: int = 0
    waiting: t.List[object] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return self.model.manifest.digest

    def row(self) -> t.Dict[str, t.Any]:
        expires = self.expires if self.expires is not None else time.time() + self.keep_alive / SECOND_NS
        return {
            "name": self.model.name.short,
            "model": self.model.name.short,
            "size": self.size,
            "digest": self.digest,
            "details": self.model.details(),
            "expires_at": timestamp(expires),
            "size_vram": self.size_vram,
            "context_length": self.context,
        }


def timestamp(seconds: float) -> str:
    """RFC 3339 with nanoseconds, in local time."""
    moment = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).astimezone()
    text = moment.isoformat()
    fraction = ".%09d" % int((seconds % 1) * SECOND_NS)
    return (text[:19] + fraction.rstrip("0").rstrip(".") + text[19:]).replace("+00:00", "Z")


def gib(count: int) -> str:
    return "%.1f GiB" % (count / GIB)


class Hardware:
    """The GPUs that the stand-in was told of, seen through the variables that hide some."""

    def __init__(self, environment: Environment, modes: Modes, library: t.Optional[Path]) -> None:
        self.kind = modes.text("gpu_library", "CUDA")
        self.gpus = [int(size) for size in modes.text("gpus").split(",") if size]
        self.why = ""
        visible = environment.var("ROCR_VISIBLE_DEVICES" if self.kind == "ROCm" else "CUDA_VISIBLE_DEVICES")
        if visible and self.gpus:
            log("WARN", "runner.go:490", "user overrode visible devices", devices=visible)
            wanted = [int(word) for word in visible.split(",") if re.fullmatch(r"\d+", word.strip())]
            uuids = [number for number in range(len(self.gpus)) if uuid(number) in visible]
            self.gpus = [self.gpus[number] for number in wanted + uuids if number < len(self.gpus)]
        self.folder = LIBRARIES[self.kind] + "v13" if self.kind == "CUDA" else LIBRARIES[self.kind]
        if library is not None:
            chosen = environment.var("OLLAMA_LLM_LIBRARY")
            folders = sorted(
                path.name
                for path in library.glob(LIBRARIES[self.kind] + "*")
                if any(path.glob("*ggml-*")) and (not chosen or path.name == chosen)
            )
            if not folders:
                self.gpus = []
            else:
                self.folder = folders[-1]
        if modes.text("cpu_fallback") == "discovery":
            self.gpus = []

    @property
    def total(self) -> int:
        return sum(self.gpus)

    def default_context(self, overhead: int) -> int:
        total = sum((size - overhead) % 2**64 for size in self.gpus)
        return 262144 if total >= 47 * GIB else 32768 if total >= 23 * GIB else 4096

    def tell(self, context: int) -> None:
        for number, size in enumerate(self.gpus):
            log("INFO", "types.go:42", "inference compute", id=uuid(number), filter_id="", library=self.kind,
                compute="8.9", name="%s%d" % (self.kind, number), description="Stand-in GPU",
                libdirs="ollama,%s" % self.folder, driver="13.0", pci_id="0000:%02x:00.0" % (number + 1),
                type="discrete", total=gib(size), available=gib(size))  # fmt: skip
        if not self.gpus:
            total, available = memory()
            log("INFO", "types.go:60", "inference compute", id="cpu", filter_id="", library="cpu", compute="",
                name="cpu", description="cpu", libdirs="ollama", driver="", pci_id="", type="", total=gib(total),
                available=gib(available))  # fmt: skip
        log("INFO", "routes.go:2056", "vram-based default context", total_vram=gib(self.total), default_num_ctx=context)

    def devices(self) -> t.List[t.Dict[str, t.Any]]:
        return [
            {"id": uuid(number), "library": self.kind, "total_memory": size, "free_memory": size}
            for number, size in enumerate(self.gpus)
        ]


def uuid(number: int) -> str:
    return "GPU-00000000-0000-4000-8000-%012d" % number


def memory() -> t.Tuple[int, int]:
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return 0, 0
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    return int(found.get("MemTotal", 0)) * 1024, int(found.get("MemAvailable", 0)) * 1024


class Scheduler:
    def __init__(
        self, environment: Environment, modes: Modes, hardware: Hardware, library: t.Optional[Path], needs_runner: bool
    ) -> None:
        self._modes, self._hardware, self._library = modes, hardware, library
        self._needs_runner = needs_runner
        self.parallel = environment.uint("OLLAMA_NUM_PARALLEL", 1) or 1
        self.queue = environment.uint("OLLAMA_MAX_QUEUE", 512)
        self.limit = environment.uint("OLLAMA_MAX_LOADED_MODELS", 0) or 3 * max(len(hardware.gpus), 1)
        self.keep_alive = environment.keep_alive()
        self.context = environment.uint("OLLAMA_CONTEXT_LENGTH", 0) or hardware.default_context(
            environment.uint("OLLAMA_GPU_OVERHEAD", 0)
        )
        self._load_timeout = environment.load_timeout() / SECOND_NS
        self._cache_type = environment.var("OLLAMA_KV_CACHE_TYPE").lower()
        self._runners: t.Dict[str, Runner] = {}
        self._changed = threading.Condition()
        self._waiting = 0
        threading.Thread(target=self._reap, daemon=True).start()

    def rows(self) -> t.List[t.Dict[str, t.Any]]:
        with self._changed:
            self._drop_expired()
            runners = sorted(self._runners.values(), key=lambda one: -(one.expires or time.time() + 1))
            return [runner.row() for runner in runners]

    def stop(self) -> None:
        with self._changed:
            for key in list(self._runners):
                self._unload(key)

    def expire(self, model: Model) -> None:
        """Unload it, at once or when its last request is answered."""
        with self._changed:
            runner = self._runners.get(_key(model))
            if runner:
                runner.keep_alive = 0
                if not runner.busy:
                    self._unload(_key(model))

    @contextmanager
    def use(
        self, model: Model, options: t.Mapping[str, t.Any], keep_alive: t.Optional[int]
    ) -> t.Iterator[t.Tuple[Runner, float]]:
        """The loaded model, and how many seconds its load took."""
        began = time.monotonic()
        with self._changed:
            # What waits is what has no slot yet.
            if self._waiting >= self.queue and not self._free_slot(model):
                raise Busy(BUSY)
            self._waiting += 1
            try:
                runner = self._runner(model, options)
                runner.busy += 1
                runner.expires = None
            finally:
                self._waiting -= 1
            runner.keep_alive = self.keep_alive if keep_alive is None else keep_alive
        try:
            yield runner, time.monotonic() - began
        finally:
            with self._changed:
                runner.busy -= 1
                if not runner.busy:
                    never = runner.keep_alive >= MAX_DURATION_NS
                    seconds = MAX_DURATION_NS / SECOND_NS if never else runner.keep_alive / SECOND_NS
                    runner.expires = time.time() + seconds
                    if not runner.keep_alive and self._runners.get(_key(model)) is runner:
                        self._unload(_key(model))
                self._changed.notify_all()

    # --- below: the lock is held --------------------------------------------------------------------

    def _free_slot(self, model: Model) -> bool:
        runner = self._runners.get(_key(model))
        if runner is not None:
            return runner.busy < self.parallel
        return len(self._runners) < self.limit or any(not one.busy for one in self._runners.values())

    def _runner(self, model: Model, options: t.Mapping[str, t.Any]) -> Runner:
        key, context = _key(model), self._wanted_context(model, options)
        while True:
            self._drop_expired()
            runner = self._runners.get(key)
            if runner is not None and (runner.digest != model.manifest.digest or runner.context != context):
                if not runner.busy:
                    self._unload(key)
                    continue
            elif runner is not None and runner.busy < self.parallel:
                return runner
            elif runner is None and self._make_room(model, context):
                return self._load(key, model, context)
            self._changed.wait(0.5)

    def _make_room(self, model: Model, context: int) -> bool:
        need = self._size(model, context)
        while self._runners:
            free = self._hardware.total - sum(one.size_vram for one in self._runners.values())
            fits = not self._hardware.gpus or need <= 0.8 * free
            if len(self._runners) < self.limit and fits:
                return True
            idle = [key for key, one in self._runners.items() if not one.busy]
            if not idle:
                return False
            self._unload(min(idle, key=lambda key: (self._runners[key].keep_alive, key)))
        return True

    def _load(self, key: str, model: Model, context: int) -> Runner:
        path = model.path()
        model.gguf()
        server = self._library / "llama-server" if self._library is not None else None
        process = None
        if server is not None and self._needs_runner:
            if not server.is_file():
                raise LoadError("llama-server binary not found (checked: %s)" % server)
            try:
                process = subprocess.Popen(
                    [str(server), "--model", str(path), "-c", str(context * self.parallel), "-np", str(self.parallel)],
                    stdin=subprocess.DEVNULL,
                )
            except OSError as error:
                raise LoadError("fork/exec %s: %s" % (server, (error.strerror or "").lower())) from error
        if self._cache_type and self._cache_type not in CACHE_TYPES:
            if process:
                process.kill()
                process.wait()
            raise LoadError("llama-server process has terminated: Unsupported cache type: %s" % self._cache_type)
        size = self._size(model, context)
        free = self._hardware.total - sum(one.size_vram for one in self._runners.values())
        fallback = self._modes.text("cpu_fallback")
        runner = Runner(model, size, 0 if fallback else max(0, min(size, free)), context, process)
        self._runners[key] = runner
        seconds = self._modes.number("load_seconds")
        if seconds:
            runner.busy += self.parallel  # nobody uses it yet
            self._changed.wait_for(lambda: False, min(seconds, self._load_timeout))
            runner.busy -= self.parallel
            if seconds > self._load_timeout:
                self._unload(key)
                raise LoadError("timed out waiting for llama-server to start - progress 0.00 - ")
        return runner

    def _size(self, model: Model, context: int) -> int:
        gguf = model.gguf()
        path = model.path()
        heads, kv_heads = gguf.get("attention.head_count", 1) or 1, gguf.get("attention.head_count_kv", 1) or 1
        per_token = 4 * gguf.get("block_count", 1) * kv_heads * (gguf.get("embedding_length", 1) // heads)
        return (path.stat().st_size if path else 0) + per_token * context * self.parallel

    def _wanted_context(self, model: Model, options: t.Mapping[str, t.Any]) -> int:
        wanted = options.get("num_ctx") or model.parameters.get("num_ctx") or self.context
        return max(4, min(int(wanted), model.gguf().get("context_length", int(wanted))))

    def _drop_expired(self) -> None:
        now = time.time()
        for key, runner in list(self._runners.items()):
            if not runner.busy and runner.expires is not None and runner.expires <= now:
                self._unload(key)

    def _unload(self, key: str) -> None:
        runner = self._runners.pop(key)
        if runner.process is not None:
            runner.process.kill()
            runner.process.wait()
        self._changed.notify_all()

    def _reap(self) -> None:
        while True:
            with self._changed:
                self._drop_expired()
                ends = [one.expires for one in self._runners.values() if one.expires is not None]
                self._changed.wait(min(60.0, max(0.01, min(ends) - time.time())) if ends else 60.0)


def _key(model: Model) -> str:
    return str(model.name.path)
