# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs a model of 200 MB by hand, as one would with tar: large enough that its import can be killed on the way."""

import gzip
import io
import sys
import tarfile

sys.path.insert(0, "/var/cache/gpufleet-lab/ollama/stand_in")
import registry

image = registry.tiny(seed=5, pad=200_000_000)
files = {"manifests/registry.ollama.ai/library/large/latest": image.manifest}
files.update({"blobs/" + digest.replace(":", "-"): content for digest, content in image.blobs.items()})
with gzip.open(sys.argv[1], "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
    for name, content in files.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
