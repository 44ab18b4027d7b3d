# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a directory of tests names, and what it is asked here."""

from __future__ import annotations

import lab_host
import pytest


class Host(lab_host.Host):
    def requests(self):
        """What the mirror of NVIDIA's repository was asked for since it started."""
        text = self.output("journalctl --unit lab-mirror --output cat --no-pager")
        return [line for line in text.splitlines() if '"GET ' in line]

    def packages(self):
        """Driver packages with their state and version."""
        text = self.output("dpkg-query --show --showformat '${Package} ${Status} ${Version}\\n'")
        return {
            line.split()[0]: " ".join(line.split()[1:])
            for line in text.splitlines()
            if "nvidia" in line or "linux-headers" in line
        }

    def touched(self):
        """Files below /etc, /boot and /var/lib/gpufleet, with their times."""
        return self.output("find /etc /boot /var/lib/gpufleet /lib/modules -type f -printf '%p %T@\\n' 2>/dev/null | sort; true")


@pytest.fixture(scope="module")
def host(request):
    return Host("llm-" + request.path.parent.name)
