# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that a directory of tests names, and what these tests ask it."""

from __future__ import annotations

import json

import lab_host
import pytest

OLD, NEW = "1.19.1", "1.20.0"
PACKAGES = ("libnvidia-container-tools", "libnvidia-container1", "nvidia-container-toolkit", "nvidia-container-toolkit-base")
SPEC = "/var/run/cdi/nvidia.yaml"
DAEMON = "/etc/docker/daemon.json"
IMAGE = "localhost/busybox:1"
UUID = "GPU-12345678-aaaa-bbbb-cccc-0123456789ab"
# /usr/bin, and modules.dep that names nvidia's module: on such a host nvidia-cdi-refresh.service does its work.
CARD = (
    "mknod -m 666 /dev/nvidia0 c 1 3 && install -m 755 /opt/nvidia-smi /usr/bin/nvidia-smi && "
    "mkdir -p /lib/modules/$(uname -r) && echo kernel/drivers/video/nvidia.ko: > /lib/modules/$(uname -r)/modules.dep"
)


class Host(lab_host.Host):
    journal = ("docker", "nvidia-cdi-refresh")
    def versions(self):
        """Version and dpkg's selection of each of the four packages."""
        text = self.output("dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Want}\n' '*nvidia-container*'")
        lines = [line.split() for line in text.splitlines()]
        return {words[0]: tuple(words[1:]) for words in lines if words[-1] not in ("deinstall", "unknown")}

    def docker_info(self, template):
        return self.output("docker info --format %s", template)

    def pid_of(self, container, engine="docker"):
        """Of its first process; 0 when it does not run."""
        return int(self.run(engine + " inspect --format '{{.State.Pid}}' %s", container).stdout.strip() or 0)

    def sees_gpu(self, engine, *options):
        """What nvidia-smi says in a container."""
        words = " ".join(options)
        return self.output("%s run --rm --network none %s %s nvidia-smi -L" % (engine, words, IMAGE))

    def requests(self):
        """How often the repository was asked for anything."""
        return int(self.output("journalctl --no-pager --unit lab-packages | grep -c '\"GET\\|\"HEAD'; true"))

    def quiet(self):
        """What a run that changes nothing leaves as it is."""
        reloads = self.output("journalctl --no-pager _PID=1 | grep -c ': Reloading\\.*$'; true")
        files = self.output(
            "stat --format '%n %Y %s' {} {} /etc/apt/sources.list.d/* /etc/apt/keyrings/* "
            "/etc/nvidia-container-toolkit/* /var/lib/gpufleet/nvidia_container_toolkit/* 2>/dev/null; true".format(SPEC, DAEMON)
        )
        docker = self.run("systemctl show --value --property MainPID --property NRestarts docker").stdout
        # How often Docker has read its configuration again.
        return {"reloads": reloads, "requests": self.requests(), "files": files, "docker": docker, "hups": self.hups()}

    def hups(self):
        return int(
            self.output("journalctl --no-pager --unit docker | grep -c 'Got signal to reload\\|Reloaded configuration'; true")
        )

    def daemon(self):
        return json.loads(self.file(DAEMON).content_string)


@pytest.fixture(scope="module")
def host(request):
    return Host("llm-" + request.path.parent.name)
