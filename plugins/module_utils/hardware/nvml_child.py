# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The half of the NVML probe that talks to the driver.

A program of its own: nvml.py feeds this file to an interpreter that has nvidia-ml-py, so that a driver that
hangs takes only that process with it. So it imports nothing of ours. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys

FUNCTION_NOT_FOUND = 13
FABRIC_STATES = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}
COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
TOPOLOGY = {0: "PSB", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
# Newer than many drivers and wrappers, so by number: the index of NVLink among the peer-to-peer capabilities.
P2P_NVLINK = 2
# The second version of the memory structure: its number and its size, packed.
MEMORY_V2 = 0x02000028


class Library:
    """pynvml whose calls answer None instead of raising; the last error is kept."""

    def __init__(self, pynvml):
        self.pynvml = pynvml
        self.error = None

    def ask(self, name, *arguments):
        self.error = None
        function = getattr(self.pynvml, name, None)
        if function is None:  # a wrapper older than the call
            self.error = {"code": FUNCTION_NOT_FOUND, "text": "%s is not in this pynvml" % name}
            return None
        try:
            value = function(*arguments)
        except Exception as error:  # one unanswered question must not cost the other answers
            self.error = {"code": getattr(error, "value", None), "text": str(error)}
            return None
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def memory_of(nvml, handle):
    info = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
    if info is None:
        return {"total": None, "free": None, "reserved": None, "error": nvml.error}
    more = nvml.ask("nvmlDeviceGetMemoryInfo", handle, MEMORY_V2)
    return {"total": info.total, "free": info.free, "reserved": getattr(more, "reserved", None), "error": None}


def processes_of(nvml, handle):
    """Everything that holds memory: compute, graphics and MPS clients, each process once."""
    found = {}
    for name in (
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
        "nvmlDeviceGetMPSComputeRunningProcesses",
    ):
        entries = nvml.ask(name, handle)
        if entries is None and hasattr(nvml.pynvml, name + "_v2"):  # a driver older than the wrapper
            entries = nvml.ask(name + "_v2", handle)
        for entry in entries or []:
            used = entry.usedGpuMemory
            known = found.get(entry.pid)
            if known is None or (used or 0) > (known["memory_bytes"] or 0):
                name_in_driver = nvml.ask("nvmlSystemGetProcessName", entry.pid)
                found[entry.pid] = {"pid": entry.pid, "name": name_in_driver, "memory_bytes": used}
    return [found[pid] for pid in sorted(found)]


def mig_of(nvml, handle):
    modes = nvml.ask("nvmlDeviceGetMigMode", handle)
    if modes is None:
        return None
    slices = []
    if modes[0]:
        for position in range(nvml.ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
            device = nvml.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, position)
            if device is None:  # slots may be empty anywhere
                continue
            slices.append(
                {
                    "uuid": nvml.ask("nvmlDeviceGetUUID", device),
                    "name": nvml.ask("nvmlDeviceGetName", device),
                    "gpu_instance_id": nvml.ask("nvmlDeviceGetGpuInstanceId", device),
                    "compute_instance_id": nvml.ask("nvmlDeviceGetComputeInstanceId", device),
                    "memory": memory_of(nvml, device),
                    "processes": processes_of(nvml, device),
                }
            )
    return {"enabled": bool(modes[0]), "pending": bool(modes[1]), "slices": slices}


def fabric_of(nvml, handle):
    pynvml = nvml.pynvml
    if not hasattr(pynvml, "c_nvmlGpuFabricInfoV_t"):
        return None
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    if nvml.ask("nvmlDeviceGetGpuFabricInfoV", handle, pynvml.byref(info)) is None:
        return None
    return {"state": FABRIC_STATES.get(info.state, str(info.state)), "status": info.status}


def device_of(nvml, index):
    handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return None, {"index": index, "error": nvml.error}
    name = nvml.ask("nvmlDeviceGetName", handle)
    name_error = nvml.error
    pci = nvml.ask("nvmlDeviceGetPciInfo", handle)
    address = getattr(pci, "busId", None)
    capability = nvml.ask("nvmlDeviceGetCudaComputeCapability", handle)
    ecc = nvml.ask("nvmlDeviceGetEccMode", handle)
    power = nvml.ask("nvmlDeviceGetEnforcedPowerLimit", handle)
    device = {
        "index": index,
        # A card that fell off the bus keeps its handle for a while, but has no name any more.
        "error": name_error if name is None else None,
        "name": name,
        "uuid": nvml.ask("nvmlDeviceGetUUID", handle),
        "pci_bus_id": address.decode("ascii", "replace") if isinstance(address, bytes) else address,
        "memory": memory_of(nvml, handle),
        "compute_capability": "%d.%d" % tuple(capability) if capability else None,
        "architecture": nvml.ask("nvmlDeviceGetArchitecture", handle),
        "mig": mig_of(nvml, handle),
        "pcie": {
            "gen_max": nvml.ask("nvmlDeviceGetMaxPcieLinkGeneration", handle),
            "width_max": nvml.ask("nvmlDeviceGetMaxPcieLinkWidth", handle),
        },
        "ecc": {"enabled": bool(ecc[0]), "pending": bool(ecc[1])} if ecc else None,
        "power_limit_w": power / 1000.0 if power else None,
        "persistence": {0: False, 1: True}.get(nvml.ask("nvmlDeviceGetPersistenceMode", handle)),
        "compute_mode": COMPUTE_MODES.get(nvml.ask("nvmlDeviceGetComputeMode", handle)),
        "fabric": fabric_of(nvml, handle),
        "processes": processes_of(nvml, handle),
        "nvlink_peers": [],
        "topology": {},
    }
    return handle, device


def connect(nvml, handles, devices):
    for first, one in handles.items():
        for second, other in handles.items():
            if first == second:
                continue
            if nvml.ask("nvmlDeviceGetP2PStatus", one, other, P2P_NVLINK) == 0:
                devices[first]["nvlink_peers"].append(second)
            level = TOPOLOGY.get(nvml.ask("nvmlDeviceGetTopologyCommonAncestor", one, other))
            if level:
                devices[first]["topology"][str(second)] = level


def collect():
    try:
        import pynvml
    except ImportError as error:
        return {"missing": str(error)}
    nvml = Library(pynvml)
    nvml.ask("nvmlInit")
    if nvml.error:
        return {"error": nvml.error}
    count = nvml.ask("nvmlDeviceGetCount")
    if count is None:
        return {"error": nvml.error}
    handles, devices = {}, {}
    for index in range(count):
        handle, devices[index] = device_of(nvml, index)
        if handle is not None and not devices[index]["error"]:
            handles[index] = handle
    connect(nvml, handles, devices)
    cuda = nvml.ask("nvmlSystemGetCudaDriverVersion_v2")
    return {
        "driver_version": nvml.ask("nvmlSystemGetDriverVersion"),
        "cuda_driver_version": "%d.%d" % (cuda // 1000, cuda % 1000 // 10) if cuda else None,
        "devices": [devices[index] for index in sorted(devices)],
    }


if __name__ == "__main__":
    json.dump(collect(), sys.stdout)
    sys.stdout.write("\n")
