# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real wheels, small ones."""

from __future__ import annotations

import zipfile


def build_wheel(directory, name, version, requires=(), source="VALUE = 1\n"):
    """A wheel with one module of the package's name; returns its path."""
    module = name.replace("-", "_")
    info = "%s-%s.dist-info" % (module, version)
    metadata = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)
    metadata += "".join("Requires-Dist: %s\n" % requirement for requirement in requires)
    files = {
        "%s.py" % module: source,
        "%s/METADATA" % info: metadata,
        "%s/WHEEL" % info: "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join("%s,,\n" % path for path in list(files) + ["%s/RECORD" % info])
    path = directory / ("%s-%s-py3-none-any.whl" % (module, version))
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in dict(files, **{"%s/RECORD" % info: record}).items():
            archive.writestr(inside, text)
    return path
