# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA's driver branches: which a distribution has, which a card wants, which an engine needs. No I/O.

Sources: NVIDIA's driver installation guides r580 to r620, Canonical's and Debian's archives in November 2026.
"""

from __future__ import annotations

import re
import typing as t

from ..planning import versions
from ..planning.ollama import schedule

GENERATIONS = ("Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada Lovelace", "Hopper", "Blackwell")
TOO_OLD = ("Kepler",)  # ended with branch 470
PROPRIETARY_ONLY = ("Maxwell", "Pascal", "Volta")  # the open modules start with Turing
LAST_PROPRIETARY_CARDS = 580  # the last branch for those
BLACKWELL_FROM = 570
OPEN_ONLY_FROM = 620  # the guide of r620: "Proprietary Kernel Modules Removed"
LONG_LIVED = 580

_FULL = (535, 550, 570, 580, 590, 595, 610, 615, 620)
_NEW = (580, 590, 595, 610, 615, 620)  # repositories that are younger than 580
_CANONICAL = (535, 550, 570, 580, 590, 595)
# (distribution, version): what each source has. Ubuntu 20.04 is at its end: neither source brings it new branches.
_BRANCHES: t.Dict[t.Tuple[str, str], t.Dict[str, t.Tuple[int, ...]]] = {
    ("ubuntu", "20.04"): {"distribution": (535, 550, 570), "nvidia": (535, 550, 570)},
    ("ubuntu", "22.04"): {"distribution": _CANONICAL, "nvidia": _FULL},
    ("ubuntu", "24.04"): {"distribution": _CANONICAL, "nvidia": _FULL},
    ("debian", "12"): {"distribution": (535,), "nvidia": _FULL},
    ("debian", "13"): {"distribution": (550,), "nvidia": _NEW},
    ("rhel", "8"): {"nvidia": _FULL},
    ("rhel", "9"): {"nvidia": _FULL},
    ("rhel", "10"): {"nvidia": _NEW},
}
# What is installed from when nobody says: Canonical signs its modules, Debian's branches are too old for CUDA 13.
_DEFAULT_SOURCE = {"ubuntu": "distribution", "debian": "nvidia", "rhel": "nvidia"}
_RHEL_FAMILY = ("rhel", "rocky", "almalinux")

_CAPABILITIES = (
    ((3, 0), "Kepler"), ((5, 0), "Maxwell"), ((6, 0), "Pascal"), ((7, 0), "Volta"), ((7, 5), "Turing"),
    ((8, 0), "Ampere"), ((8, 9), "Ada Lovelace"), ((9, 0), "Hopper"), ((10, 0), "Blackwell"),
)  # fmt: skip
_BY_DRIVER = {"Ada": "Ada Lovelace"}
_NUMBER = re.compile(r"^\d{3}(\.\d+){0,2}$")


class System(t.NamedTuple):
    """A distribution as this role distinguishes them."""

    family: str  # ubuntu, debian or rhel
    version: str  # 24.04, 13, 9
    name: str  # as people say it

    @property
    def sources(self) -> t.Dict[str, t.Tuple[int, ...]]:
        return _BRANCHES.get((self.family, self.version), {})

    @property
    def default_source(self) -> str:
        return _DEFAULT_SOURCE.get(self.family, "")

    @property
    def manager(self) -> str:
        return "dnf" if self.family == "rhel" else "apt"


def system(release: t.Mapping[str, t.Any]) -> System:
    """From os-release's ID and VERSION_ID; one whose ``sources`` are empty is not known here."""
    name, version = str(release.get("id") or "unknown"), str(release.get("version_id") or "")
    family = "rhel" if name in _RHEL_FAMILY else name
    if family != "ubuntu":
        version = version.partition(".")[0]
    return System(family, version, str(release.get("name") or "%s %s" % (name, version)))


def known_systems() -> str:
    return "Ubuntu 20.04, 22.04 and 24.04, Debian 12 and 13, and RHEL, Rocky Linux and AlmaLinux 8, 9 and 10"


def generation(card: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """A card's generation, by what its driver or the PCI device id says; None for one that is newer than this table."""
    named = card.get("architecture")
    named = _BY_DRIVER.get(named, named)
    if named in GENERATIONS:
        return named
    match = re.match(r"^(\d+)\.(\d+)$", str(card.get("compute_capability") or ""))
    if not match or int(match.group(1)) > 12:
        return None
    found = None
    for first, name in _CAPABILITIES:
        if (int(match.group(1)), int(match.group(2))) >= first:
            found = name
    return found


def number(version: t.Any) -> t.Tuple[int, ...]:
    """580.95.05 as something to compare."""
    return tuple(int(part) for part in re.findall(r"\d+", str(version or "")))


def branch_of(version: t.Any) -> int:
    return (number(version) or (0,))[0]


class Need(t.NamedTuple):
    """The oldest driver that will do, and who says so."""

    version: str
    why: str


def needed(minimum: str, engines: t.Mapping[str, t.Any], generations: t.Sequence[t.Optional[str]]) -> Need:
    """The highest of the minimum that was set and of what the planners know of the engines."""
    needs = [Need(minimum, "nvidia_driver_minimum is %s" % minimum)] if minimum else []
    for name in sorted(engines):
        version = str(engines[name] or "auto")
        if name == "vllm":
            parsed = versions.parse_version(version, "cuda")
            cuda = 12 if (parsed.build or "").startswith("cu12") else 13
            needs.append(Need(str(parsed.minimum_driver), "vLLM %s is built with CUDA %d" % (parsed.text, cuda)))
        elif name == "ollama":
            old = any(one in ("Maxwell", "Pascal") for one in generations)
            least = schedule.LEAST_DRIVER_OLD if old else schedule.LEAST_DRIVER
            needs.append(Need(str(least), "Ollama uses the CPU with an older one"))
    return max(needs, key=lambda need: number(need.version)) if needs else Need("0", "nothing asks for a version")


def wish_problems(wishes: t.Mapping[str, t.Any]) -> t.List[str]:
    """What of the wishes makes no sense, with what is accepted."""
    problems = []
    for name in ("minimum", "version"):
        if wishes[name] and not _NUMBER.match(wishes[name]):
            problems.append("%s is %r: give a driver version such as 580 or 580.95.05." % (name, wishes[name]))
    if wishes["branch"] and not re.match(r"^\d{3}$", wishes["branch"]):
        problems.append("branch is %r: give three digits such as 580." % wishes["branch"])
    if wishes["version"] and "." not in wishes["version"]:
        problems.append("version is %r: give a whole version such as 580.95.05, or set branch." % wishes["version"])
    if wishes["version"] and wishes["branch"] and branch_of(wishes["version"]) != branch_of(wishes["branch"]):
        problems.append("version %s is not of branch %s: set one of them." % (wishes["version"], wishes["branch"]))
    strange = sorted(set(wishes["engines"]) - {"vllm", "ollama"})
    if strange:
        problems.append("engines has %s: vllm and ollama are known." % ", ".join(strange))
    if wishes["fingerprint"] and not re.match(r"^[0-9A-Fa-f]{40}$", wishes["fingerprint"].replace(" ", "")):
        problems.append("fingerprint is %r: give the 40 hexadecimal digits of the key's." % wishes["fingerprint"])
    return problems


class Limits(t.NamedTuple):
    """What the cards of a host allow."""

    lowest: int
    highest: t.Optional[int]
    open_modules: t.Optional[bool]  # None: either
    why: str


def limits(cards: t.Sequence[t.Mapping[str, t.Any]]) -> t.Union[Limits, str]:
    """From all cards together; a sentence where no driver serves all of them."""
    found = {generation(card) for card in cards}
    old = [name for name in GENERATIONS if name in found and name in PROPRIETARY_ONLY]
    open_only = ["Blackwell"] if "Blackwell" in found else []
    # Grace systems (GH200, GB200, GB300, GB10) are told by name: the GPU's generation alone does not.
    open_only += sorted({card["name"] for card in cards if re.search(r"\bG[HB]\d{2,3}\b", str(card.get("name")))})
    if None in found and not old:
        open_only.append("a generation that is newer than this collection")
    if old and open_only:
        return "%s needs the proprietary kernel modules and %s the open ones, and a host has one of them" % (
            " and ".join(old), " and ".join(open_only)
        )  # fmt: skip
    lowest = BLACKWELL_FROM if "Blackwell" in found else 0
    if old:
        return Limits(lowest, LAST_PROPRIETARY_CARDS, False, "branch %d is the last for %s" % (
            LAST_PROPRIETARY_CARDS, " and ".join(old)))  # fmt: skip
    if open_only:
        return Limits(lowest, None, True, "%s runs with the open kernel modules only" % " and ".join(open_only))
    return Limits(lowest, None, None, "the cards take any branch")


def choose(known: t.Sequence[int], limit: Limits, need: Need) -> t.Optional[int]:
    """The long-lived branch where it will do, else the next newer one, else the newest older one; None: there is none."""
    fit = [
        branch
        for branch in known
        if branch >= max(limit.lowest, branch_of(need.version)) and (limit.highest is None or branch <= limit.highest)
    ]
    newer = [branch for branch in fit if branch >= LONG_LIVED]
    return min(newer) if newer else max(fit) if fit else None
