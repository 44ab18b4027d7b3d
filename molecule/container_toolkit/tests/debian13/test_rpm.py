# SPDX-License-Identifier: GPL-3.0-or-later
"""The same host again, with the shape of Rocky 9: real dnf, rpm and versionlock, and nothing that answers for Debian.

It is Debian's build of them, and Debian under them. The tests build on one another, and come after those of test_fresh.py.
"""

from __future__ import annotations

import pytest
from conftest import NEW, OLD, PACKAGES, SPEC, UUID

LOCKS = "/etc/dnf/plugins/versionlock.list"
REPO = "/etc/yum.repos.d/nvidia-container-toolkit.repo"
# dnf.conf says what Rocky's does. The two packages stand for what the host has from Debian.
ROCKY = r"""
set -eu
docker ps --quiet | xargs -r docker rm --force; podman rm --all --force
systemctl disable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service
dpkg --purge --force-hold nvidia-container-toolkit nvidia-container-toolkit-base libnvidia-container-tools libnvidia-container1
rm -rf /etc/apt /var/run/cdi /var/lib/gpufleet/nvidia_container_toolkit /etc/nvidia-container-runtime
mkdir -p /opt/debian /opt/rocky /etc/yum.repos.d /etc/pki/rpm-gpg
mv /usr/bin/apt* /usr/bin/dpkg* /opt/debian/
rm /etc/os-release /etc/debian_version
printf '%s\n' 'NAME="Rocky Linux"' 'VERSION="9.6 (Blue Onyx)"' 'ID="rocky"' 'ID_LIKE="rhel centos fedora"' 'VERSION_ID="9.6"' \
    'PLATFORM_ID="platform:el9"' 'PRETTY_NAME="Rocky Linux 9.6 (Blue Onyx)"' > /etc/os-release
echo 'Rocky Linux release 9.6 (Blue Onyx)' > /etc/redhat-release
echo 9 > /etc/dnf/vars/releasever
find /usr/lib/python3/dist-packages/dnf-plugins -name '*.py' ! -name versionlock.py -delete
printf '%s\n' '[main]' gpgcheck=1 installonly_limit=3 clean_requirements_on_remove=True best=True skip_if_unavailable=False \
    > /etc/dnf/dnf.conf
for line in 'bash /bin/sh' 'python3-dnf-plugin-versionlock versionlock'; do
    set -- $line
    printf '%s\n' "Name: $1" 'Version: 1' 'Release: 1.el9' 'Summary: Stand-in' 'License: GPL-3.0-or-later' 'BuildArch: noarch' \
        "Provides: $2" '%description' 'Stand-in.' '%files' > /opt/rocky/$1.spec
    rpmbuild -bb --quiet --define '_topdir /opt/rpmbuild' --define '_rpmdir /opt/rocky' /opt/rocky/$1.spec
done
createrepo_c --quiet /opt/rocky
printf '%s\n' '[baseos]' name=Rocky baseurl=file:///opt/rocky gpgcheck=0 > /etc/yum.repos.d/rocky.repo
"""


class Rocky:
    def __init__(self, host):
        self.host, self.output = host, host.output

    def versions(self):
        lines = self.output("rpm --query --all --queryformat '%{NAME} %{VERSION}-%{RELEASE}.%{ARCH}\n' '*nvidia-container*'")
        return dict(line.split() for line in lines.splitlines())

    def locked(self):
        """What dnf itself says is held."""
        return sorted(self.output("dnf --quiet versionlock list").splitlines())

    def quiet(self):
        paths = "%s %s /etc/yum.repos.d /etc/pki/rpm-gpg/* %s /var/lib/rpm/rpmdb.sqlite" % (LOCKS, REPO, SPEC)
        return self.host.requests(), self.output("stat --format '%n %Y %s' " + paths)


@pytest.fixture(scope="module")
def rocky(host):
    host.output(ROCKY)
    return Rocky(host)


def at(version):
    return {name: "%s-1.x86_64" % version for name in PACKAGES}


def locks(version):
    return sorted("%s-0:%s-1.*" % (name, version) for name in PACKAGES)


def test_all_of_it_with_dnf(rocky, play):
    run = play()
    assert run.rc == 0, run.text
    assert "Install the packages" in run.changes
    assert rocky.versions() == at(OLD)  # of three versions in the repository not the newest
    assert rocky.locked() == locks(OLD)
    for engine in ("docker", "podman"):
        assert "a container of %s sees GPU 0: NVIDIA RTX PRO 6000" % engine in run.words
    assert UUID in rocky.host.sees_gpu("podman", "--device nvidia.com/gpu=all")


def test_a_second_run_is_a_look(rocky, play):
    found = rocky.quiet()
    run = play()
    assert (run.rc, run.changed) == (0, 0), run.text
    assert rocky.quiet() == found


@pytest.mark.parametrize(
    "repository, said",
    [("tampered", "Bad GPG signature"), ("stranger", "Bad GPG signature"), ("exchanged", "checksum doesn't match")],
)
def test_dnf_refuses_what_the_key_has_not_signed(rocky, repository, said):
    """With the file that the role has written, but for the address."""
    address = "--setopt=nvidia-container-toolkit.baseurl=http://127.0.0.1:8098/%s/rpm/x86_64" % repository
    dnf = rocky.host.run("dnf -y --disableplugin=versionlock %s install nvidia-container-toolkit-%s-1", address, NEW)
    assert dnf.rc != 0 and said in dnf.stdout + dnf.stderr, dnf.stdout + dnf.stderr
    assert rocky.versions() == at(OLD)


def test_an_upgrade_that_dnf_refuses_leaves_all_as_it_was(rocky, play):
    run = play(version=NEW, repository="exchanged")
    assert run.rc != 0 and "nvidia-container-toolkit-base-%s-1.x86_64: Cannot download" % NEW in run.words, run.text
    assert rocky.versions() == at(OLD) and rocky.locked() == locks(OLD)


def test_upgrade_to_another_exact_version(rocky, play):
    run = play(version=NEW)
    assert run.rc == 0, run.text
    assert rocky.versions() == at(NEW)
    assert rocky.locked() == locks(NEW)
    # Held: 1.20.1 is there, and dnf leaves it.
    assert "Nothing to do" in rocky.output("dnf -y upgrade")
