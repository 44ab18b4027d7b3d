# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a GPU and what to do about it, in words. No I/O."""

from __future__ import annotations

import typing as t

# First device id of each generation's range, newest knowledge last seen with driver 620. Ranges run to the next entry.
GENERATIONS = (
    (0x0000, None),
    (0x0FC0, "Kepler"),
    (0x1340, "Maxwell"),
    (0x15C0, "Pascal"),
    (0x1600, "Maxwell"),
    (0x1B00, "Pascal"),
    (0x1D80, "Volta"),
    (0x1E00, "Turing"),
    (0x2080, "Ampere"),
    (0x2180, "Turing"),
    (0x2200, "Ampere"),
    (0x2300, "Hopper"),
    (0x2400, "Ampere"),
    (0x2600, "Ada Lovelace"),
    (0x2900, "Blackwell"),
    (0x3000, None),
    (0x3180, "Blackwell"),
    (0x3200, None),
)
TOO_OLD = ("Kepler",)
LAST_580 = ("Maxwell", "Pascal", "Volta")


def generation(device_id: int) -> t.Optional[str]:
    """The architecture of an NVIDIA PCI device id, or None when the range is not known."""
    name = None
    for first, generation_name in GENERATIONS:
        if device_id < first:
            break
        name = generation_name
    return name


def advice(architecture: t.Optional[str]) -> str:
    """Which driver this generation wants."""
    if architecture in TOO_OLD:
        return "No current driver or engine supports this generation."
    if architecture in LAST_580:
        return (
            "Install the NVIDIA driver of branch 580, the last for this generation, with the proprietary kernel "
            "modules. vLLM's wheels need compute capability 7.5 (Turing) or newer and will not run on it."
        )
    if architecture == "Blackwell":
        return "Install the NVIDIA driver, branch 580 or newer, with the open kernel modules (the only ones for it)."
    return "Install the NVIDIA driver, branch 580 or newer (CUDA 13 needs it), with the open kernel modules."


def no_driver(architecture: t.Optional[str], bound: t.Optional[str], module: t.Optional[str]) -> str:
    """A card that the nvidia driver does not drive. ``module`` is the loaded nvidia module's version line, if any."""
    if bound == "nouveau":
        return "The nouveau driver holds this GPU: blacklist nouveau, rebuild the initramfs and reboot. " + advice(
            architecture
        )
    if bound == "vfio-pci":
        return "This GPU is set aside for a virtual machine (bound to vfio-pci): use it in that machine."
    if bound:
        return "The kernel driver %s holds this GPU. %s" % (bound, advice(architecture))
    if module:
        return "The loaded NVIDIA module (%s) did not take this GPU: dmesg says why. %s" % (
            module,
            advice(architecture),
        )
    return "No driver is loaded for this GPU. " + advice(architecture)


FAILURES = {
    "mismatch": (
        "The NVIDIA libraries and the loaded kernel module have different versions (%s): "
        "reboot, or stop everything that uses the GPU and reload the nvidia modules."
    ),
    "not_loaded": (
        "The NVIDIA kernel module is not loaded (%s): run modprobe nvidia. If that fails, the module was not built "
        "for this kernel (DKMS, kernel headers) or Secure Boot refuses its signature; dmesg says which."
    ),
    "permission": (
        "The NVIDIA driver refuses access (%s): run with become, or fix the permissions of /dev/nvidia* "
        "(in a container: its device rules or SELinux)."
    ),
    "hung": "The NVIDIA driver does not answer (%s): look for NVRM and Xid lines in dmesg; a reboot is likely needed.",
    "no_devices": (
        "The NVIDIA driver is loaded but lists no GPU (%s): look for NVRM lines in dmesg (power, firmware, "
        "a card that the driver's branch does not support)."
    ),
    "absent": (
        "The NVIDIA kernel module holds this GPU, but neither NVML nor nvidia-smi could be asked (%s): "
        "install the driver's user space (nvidia-smi, libnvidia-ml.so.1) of the same version."
    ),
    "error": "The NVIDIA driver fails (%s): look for NVRM and Xid lines in dmesg.",
}
CONTAINER_LOST_DEVICES = (
    "The GPU devices of this container are blocked (%s), usually since a systemctl daemon-reload on its host: "
    "recreate the container, with CDI devices to keep it from happening again."
)


def failure(kind: str, text: str, environment: str) -> str:
    """The whole driver failed."""
    if kind == "error" and "Unknown Error" in text and environment == "container":
        return CONTAINER_LOST_DEVICES % text
    return FAILURES[kind] % text


def lost(text: t.Optional[str]) -> str:
    return (
        "The driver does not reach this GPU any more (%s): drain the host, try nvidia-smi --gpu-reset, else reboot; "
        "if it comes back like this, reseat or replace the card." % (text or "no error text")
    )


def not_listed() -> str:
    return "The NVIDIA driver holds this GPU but does not list it: look for its address with NVRM or Xid in dmesg."


def not_given(count: int) -> str:
    return (
        "%d NVIDIA GPU(s) of the host are not given to this container: start it with --device nvidia.com/gpu=all "
        "(CDI) or --gpus all to use them." % count
    )


def no_memory_figure(text: t.Optional[str]) -> str:
    return "The driver does not say how much memory this GPU has (%s)." % (text or "no figure")


def fabric(state: str) -> str:
    return (
        "The NVLink fabric is %s, so CUDA will not start (error 802): install nvidia-fabricmanager of exactly the "
        "driver's version and start nvidia-fabricmanager.service." % state
    )


def mig_without_slices(index: int) -> str:
    return (
        "MIG is on but no slice exists: create some (nvidia-smi mig -i %d -cgi <profile> -C) "
        "or turn MIG off (nvidia-smi -i %d -mig 0)." % (index, index)
    )


def prohibited(index: int) -> str:
    return "Compute mode is Prohibited: nvidia-smi -i %d -c DEFAULT." % index


def amd() -> str:
    return "AMD GPUs are for Ollama only: the role vllm does not serve on them."


def jetson() -> str:
    return "This Jetson's GPU does not answer NVML or nvidia-smi: install JetPack 6 or newer."


def wsl() -> str:
    return (
        "WSL has a GPU device (/dev/dxg), but no NVIDIA driver answers: install or update the NVIDIA driver in "
        "Windows, then run wsl --shutdown. Never install a Linux driver inside WSL."
    )
