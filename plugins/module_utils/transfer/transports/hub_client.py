# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files by huggingface_hub's own transports: ``xet``, or ``hf_transfer`` of its last version that had it.

It runs as a process of its own: one that goes silent can be ended, and hf_transfer wants a client that vLLM cannot have.
Both begin a file anew in every run.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import typing as t

from ...errors import GpufleetError
from ...version import VERSION
from .. import store
from ..files import ModelFile
from ..watch import bytes_below
from .carrier import Arrived, Item
from .terms import Terms

_POLL_S = 0.2
# Each path is printed when its file lies there, with what went wrong if it does not.
_PROGRAM = """
import concurrent.futures, json, os, sys, threading
job = json.loads(sys.stdin.readline())
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()  # who asked has ended
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
def fetch(path):
    try:
        hf_hub_download(
            job["name"], path, revision=job["revision"], endpoint=job["endpoint"], token=job["token"] or False,
            local_dir=job["folder"], cache_dir=job["cache"], etag_timeout=job["timeout"],
            library_name="gpufleet", library_version=job["version"],
        )
        return path, ""
    except Exception as error:
        return path, "%s: %s" % (type(error).__name__, str(error).splitlines()[0] if str(error) else "")
with concurrent.futures.ThreadPoolExecutor(job["workers"]) as pool:
    for one in concurrent.futures.as_completed([pool.submit(fetch, path) for path in job["paths"]]):
        print(json.dumps(one.result()), flush=True)
"""


class HubClient:
    """All files of a repository."""

    def __init__(
        self, transport: str, python: str, name: str, endpoint: str, token: t.Optional[str], terms: Terms
    ) -> None:
        self._transport, self._python = transport, python
        self._job = {
            "name": name,
            "endpoint": endpoint,
            "token": token,
            "timeout": terms.stall_timeout_s,
            "workers": terms.max_workers,
            "version": VERSION,
        }
        self._terms = terms

    def takes(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        return list(files)

    def bring(self, items: t.Sequence[Item], folder: str, arrived: Arrived, stop: threading.Event) -> None:
        if not os.path.exists(self._python):
            raise GpufleetError(
                "transport=%s needs %s, which is not there: set tools_hf_transfer=true for the role gpufleet.llm.tools, "
                "or set transport to auto" % (self._transport, self._python)
            )
        own = folder + ".client"
        os.makedirs(own, mode=0o700)
        revision = items[0].url.split("/resolve/", 1)[1].partition("/")[0]
        files = {item.one.path: item.one for item in items}
        job = {
            **self._job, "revision": revision, "paths": sorted(files, key=lambda path: -files[path].size), "folder": own,
            # Its own empty cache: the user's could hand out the same damaged file again and again.
            "cache": os.path.join(own, ".cache", "hub"),
        }  # fmt: skip

        def lies_there(path: str) -> None:
            os.replace(os.path.join(own, path), os.path.join(folder, path))
            arrived(files[path])

        self._watch(job, own, lies_there, stop)
        store.remove_tree(own)

    def _watch(
        self, job: t.Dict[str, t.Any], own: str, lies_there: t.Callable[[str], None], stop: threading.Event
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_ENABLE_HF_TRANSFER"}
        # The library reads these when it is imported.
        environment["HF_HUB_DOWNLOAD_TIMEOUT"] = environment["HF_HUB_ETAG_TIMEOUT"] = str(self._terms.stall_timeout_s)
        environment["HF_HUB_DISABLE_TELEMETRY"] = environment["HF_HUB_DISABLE_UPDATE_CHECK"] = "1"
        if self._terms.ca_path:  # httpx's, and that of clients before 1.0
            environment["SSL_CERT_DIR" if os.path.isdir(self._terms.ca_path) else "SSL_CERT_FILE"] = self._terms.ca_path
            environment["REQUESTS_CA_BUNDLE"] = self._terms.ca_path
        if self._transport == "hf_transfer":
            environment.update(HF_HUB_ENABLE_HF_TRANSFER="1", HF_HUB_DISABLE_XET="1")
        # run_command waits for the end.
        with subprocess.Popen(  # pylint: disable=ansible-bad-function
            [self._python, "-c", _PROGRAM], env=environment, universal_newlines=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            reader = threading.Thread(target=self._listen, args=(process.stdout, lies_there), daemon=True)
            reader.start()
            there = t.cast(t.IO[str], process.stdin)
            with contextlib.suppress(BrokenPipeError):  # it did not begin; what there is to say it cannot
                there.write(json.dumps(job) + "\n")
                there.flush()
            seen, alive = -1, time.monotonic()
            while process.poll() is None:
                stop.wait(_POLL_S)
                now = bytes_below(own)
                if now != seen:
                    seen, alive = now, time.monotonic()
                if time.monotonic() - alive > self._terms.stall_timeout_s:
                    self._terms.say("%s brought nothing for %d s and was ended" % (self._transport, self._terms.stall_timeout_s))
                    process.kill()
                if stop.is_set():
                    process.kill()
            reader.join()

    def _listen(self, lines: t.IO[str], lies_there: t.Callable[[str], None]) -> None:
        for line in lines:
            try:
                path, problem = json.loads(line)
            except ValueError:  # what a library has to say besides
                continue
            if problem:
                self._terms.say("%s: %s: %s" % (self._transport, path, problem))
            else:
                lies_there(path)
