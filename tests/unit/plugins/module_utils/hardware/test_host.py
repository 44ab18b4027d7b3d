# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.hardware import cgroup, host

GIB = 2**30
GROUP_V2 = "proc/self/cgroup = 0::/system.slice/ssh.service\n"


def test_two_sockets_with_hyperthreading(tree):
    cpu = host.cpu(tree("xeon"), allowed=range(8), machine="x86_64")
    assert cpu == {
        "model": "Intel(R) Xeon(R) Platinum 8480+",
        "architecture": "x86_64",
        "sockets": 2,
        "cores": 4,
        "threads": 8,
        "quota_cpus": None,
        "numa_nodes": [
            {"id": 0, "cpus": [0, 1, 4, 5], "memory_total_bytes": 32 * GIB},
            {"id": 1, "cpus": [2, 3, 6, 7], "memory_total_bytes": 32 * GIB},
        ],
        "features": ["avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "amx_tile"],
    }


@pytest.mark.parametrize(
    ("allowed", "sockets", "cores", "threads"),
    [([0, 4], 1, 1, 2), ([0, 1], 1, 2, 2), ([3], 1, 1, 1), ([0, 2, 4], 2, 2, 3)],
)
def test_affinity(tree, allowed, sockets, cores, threads):
    cpu = host.cpu(tree("xeon"), allowed=allowed)
    assert (cpu["sockets"], cpu["cores"], cpu["threads"]) == (sockets, cores, threads)
    assert sorted(sum((node["cpus"] for node in cpu["numa_nodes"]), [])) == sorted(allowed)


@pytest.mark.parametrize(
    ("lines", "quota", "cores", "threads"),
    [
        (GROUP_V2 + "sys/fs/cgroup/system.slice/ssh.service/cpu.max = max 100000\n", None, 4, 8),
        (GROUP_V2 + "sys/fs/cgroup/system.slice/ssh.service/cpu.max = 250000 100000\n", 2.5, 2, 2),
        (GROUP_V2 + "sys/fs/cgroup/system.slice/cpu.max = 600000 100000\n", 6.0, 4, 6),  # set on a group above
        (GROUP_V2 + "sys/fs/cgroup/system.slice/ssh.service/cpu.max = 50000 100000\n", 0.5, 1, 1),
        ("proc/self/cgroup = 0::/\nsys/fs/cgroup/cpu.max = 300000 100000\n", 3.0, 3, 3),  # in a container
        # Version 1, and a container that sees the host's path but not the host's tree.
        (
            "proc/self/cgroup = 4:cpu,cpuacct:/docker/abc\n"
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us = 200000\n"
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us = 100000\n",
            2.0,
            2,
            2,
        ),
        (
            "proc/self/cgroup = 4:cpu:/job\n"
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us = -1\n"
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us = 100000\n",
            None,
            4,
            8,
        ),
    ],
)
def test_cpu_quota(tree, lines, quota, cores, threads):
    cpu = host.cpu(tree("xeon", lines), allowed=range(8))
    assert (cpu["quota_cpus"], cpu["cores"], cpu["threads"]) == (quota, cores, threads)


def test_arm_without_a_model_name_and_a_memory_only_node(tree):
    cpu = host.cpu(tree("grace"), allowed=[0, 1], machine="aarch64")
    assert (cpu["model"], cpu["cores"]) == ("Arm Neoverse-V2", 2)
    assert cpu["features"] == ["asimd", "bf16", "i8mm", "sve", "sve2"]
    assert [node["cpus"] for node in cpu["numa_nodes"]] == [[0, 1], []]


def test_a_kernel_without_numa(tree):
    root = tree("", "proc/meminfo = MemTotal: 1024 kB\nproc/cpuinfo = model name\\t: X\n")
    assert host.cpu(root, allowed=[0])["numa_nodes"] == [{"id": 0, "cpus": [0], "memory_total_bytes": 2**20}]


def test_memory_of_the_machine(tree):
    assert host.memory(tree("xeon")) == (64 * GIB, 48 * GIB, None)


@pytest.mark.parametrize(
    ("lines", "total", "available"),
    [
        # A quarter of the 4 GiB in use is file cache, which the kernel gives back.
        (
            GROUP_V2 + "sys/fs/cgroup/system.slice/ssh.service/memory.max = 8589934592\n"
            "sys/fs/cgroup/system.slice/ssh.service/memory.current = 4294967296\n"
            "sys/fs/cgroup/system.slice/ssh.service/memory.stat = anon 3221225472\\ninactive_file 1073741824\n",
            8 * GIB,
            5 * GIB,
        ),
        (
            "proc/self/cgroup = 9:memory:/docker/abc\n"
            "sys/fs/cgroup/memory/memory.limit_in_bytes = 2147483648\n"
            "sys/fs/cgroup/memory/memory.usage_in_bytes = 1073741824\n",
            2 * GIB,
            1 * GIB,
        ),
    ],
)
def test_memory_of_a_limited_group(tree, lines, total, available):
    memory = host.memory(tree("xeon", lines))
    assert (memory.total_bytes, memory.available_bytes) == (total, available)
    assert "%.1f GiB of the machine's 64.0 GiB" % (total / GIB) in memory.warning


@pytest.mark.parametrize("limit", ["max", "137438953472", "9223372036854771712"])
def test_a_limit_that_limits_nothing(tree, limit):
    root = tree("xeon", GROUP_V2 + "sys/fs/cgroup/system.slice/ssh.service/memory.max = %s\n" % limit)
    assert host.memory(root) == (64 * GIB, 48 * GIB, None)


def test_disk_of_a_path_that_will_exist(tmp_path):
    disk = host.disk(str(tmp_path / "srv" / "models"))
    stat = os.statvfs(tmp_path)
    assert disk["path"] == str(tmp_path / "srv" / "models")
    assert disk["measured_at"] == str(tmp_path)
    assert disk["total_bytes"] == stat.f_blocks * stat.f_frsize
    assert 0 < disk["free_bytes"] <= disk["total_bytes"]


@pytest.mark.parametrize(
    ("lines", "environment"),
    [
        ("etc/hostname = x\n", "bare"),
        ("dev/dxg = \n", "wsl"),
        ("etc/nv_tegra_release = # R35\n", "jetson"),
        ("proc/device-tree/model = NVIDIA Jetson AGX Thor Developer Kit\\x00\n", "jetson"),
        (".dockerenv = \n", "container"),
        ("run/.containerenv = \n", "container"),
        ("run/systemd/container = docker\n", "container"),
        ("proc/1/environ = PATH=/bin\\x00container=lxc\\x00\n", "container"),
        ("proc/1/environ = not_a_container=1\\x00\n", "bare"),
    ],
)
def test_environment(tree, lines, environment):
    assert host.environment(tree("", lines)) == environment


@pytest.mark.parametrize(
    ("line", "unit"),
    [
        ("0::/system.slice/vllm-chat.service", "vllm-chat.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/ollama.service", "ollama.service"),
        ("0::/system.slice/docker-4f5e.scope", "docker-4f5e.scope"),
        ("1:name=systemd:/system.slice/vllm-a.service\\n0::/", "vllm-a.service"),
        ("0::/", None),
    ],
)
def test_unit_of_a_process(tree, line, unit):
    assert cgroup.unit_of(77, tree("", "proc/77/cgroup = %s\n" % line)) == unit


def test_a_process_that_ended_has_no_unit(tree):
    assert cgroup.unit_of(77, tree("xeon")) is None


@pytest.mark.parametrize(
    ("line", "said", "name"),
    [
        ("/opt/gpufleet/bin/python\\x00serve\\x00--api-key\\x00sk-1", None, "python"),
        ("VLLM::EngineCore", "python", "VLLM::EngineCore"),
        ("engine --api-key sk-1", None, "engine"),
        ("", "/usr/bin/python3 --api-key sk-1", "python3"),
        ("", None, None),
    ],
)
def test_a_process_name_never_has_arguments(tree, line, said, name):
    assert host.process_name(77, said, tree("", "proc/77/cmdline = %s\n" % line)) == name


def test_lists_of_numbers():
    assert host.parse_list("0-3,8,10-11") == {0, 1, 2, 3, 8, 10, 11}
    assert host.parse_list("") == set()
