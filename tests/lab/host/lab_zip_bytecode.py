# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the bytecode of what is imported from zip archives, which Python itself compiles anew in every process.

So does Ansible bring its modules: a third of the processor time that a task takes on a host is this. What is kept is found
by the hash of the source, so a changed module is compiled. Only the lab's hosts have this: see tests/lab/lab.
"""

import _imp
import marshal
import os
import sys
import zipimport

PLACE = "/var/cache/gpufleet-lab/bytecode"
compile_source = zipimport._compile_source


def kept_or_compiled(path, source):
    import hashlib

    kept = "%s/%s-%s" % (PLACE, sys.implementation.cache_tag, hashlib.sha256(source).hexdigest())
    try:
        with open(kept, "rb") as stream:
            code = marshal.load(stream)
    except (OSError, EOFError, TypeError, ValueError):
        code = compile_source(path, source)
        try:
            os.makedirs(PLACE, exist_ok=True)
            part = "%s.%d" % (kept, os.getpid())
            with open(part, "wb") as stream:
                marshal.dump(code, stream)
            os.rename(part, kept)
        except OSError:  # another user's process: it goes without
            pass
        return code
    _imp._fix_co_filename(code, path)
    return code


zipimport._compile_source = kept_or_compiled
