# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done about a host's NVIDIA driver: nothing, install, upgrade, reboot, or refuse. No I/O.

The same question is asked after each step: what is there is not due any more, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import os.path
import re
import typing as t

from . import nvidia_driver_branches as branches
from . import nvidia_driver_files as files
from . import nvidia_driver_packages as packages
from . import nvidia_driver_refusals as refusals
from .nvidia_driver_packages import Package
from .nvidia_driver_present import Present, present

SCHEMA = "gpufleet.nvidia_driver_plan/1"
WISHES: t.Dict[str, t.Any] = {
    "install": False, "upgrade": False, "reboot": False, "minimum": "", "engines": {"vllm": "auto"}, "source": "auto",
    "branch": "", "version": "", "modules": "auto", "hold": True, "mok_enrolled": False, "offline": False,
    "repository_url": packages.VENDOR_URL, "distribution_url": "http://deb.debian.org/debian", "key_url": "", "key_file": "",
    "fingerprint": "",
}  # fmt: skip


class _Refused(Exception):
    """Carries a refusal out of the middle of the work."""

    def __init__(self, refusal: dict) -> None:
        super().__init__(refusal["message"])
        self.refusal = refusal


def decide(hardware: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], wishes: t.Mapping[str, t.Any]) -> dict:
    """The decision, from what gpu_info returns, what nvidia_driver_host saw, and what is wished."""
    return _Decision(hardware, look, dict(WISHES, **wishes)).made()


class _Decision:
    def __init__(self, hardware: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any], wishes: t.Dict[str, t.Any]) -> None:
        self.hardware, self.look, self.wishes = hardware, look, wishes
        self.system = branches.system(look["distribution"])
        nvidia = [card for card in hardware["accelerators"] if card["vendor"] == "nvidia"]
        self.cards = [card for card in nvidia if card.get("driver") != "vfio-pci"]
        self.set_aside = len(nvidia) - len(self.cards)
        self.generations = [branches.generation(card) for card in self.cards]
        self.record = files.is_record_of_ours(look["files"].get(files.RECORD))
        self.present: Present = present(hardware, look, self.cards)
        self.reasons: t.List[str] = []
        self.answer: t.Dict[str, t.Any] = {
            "schema": SCHEMA, "action": "none", "reasons": self.reasons, "refusal": None,
            "present": {"state": self.present.state, "version": self.present.version},
            "needed": {"version": None, "why": None},
            "manager": self.system.manager, "source": None, "branch": None, "version": None, "modules": None,
            "repository": None, "stream": None,
            "version_lock": None, "packages": [], "headers": [], "blacklist": False, "files": [], "directories": [], "holds": [],
            "services": [], "daemon_reload": False, "reboot": {"needed": False, "allowed": bool(wishes["reboot"]), "why": None},
            "due": {
                "configure": False, "key": False, "files": [], "stream": False, "packages": [], "initramfs": [], "holds": [],
                "services": [], "restart": [], "modules": [],
            },
        }  # fmt: skip

    def made(self) -> dict:
        try:
            self._work()
        except _Refused as refused:
            self.answer.update(action="refuse", refusal=refused.refusal)
        return self.answer

    def _refuse(self, refusal: dict) -> t.NoReturn:
        raise _Refused(refusal)

    def _work(self) -> None:
        problems = branches.wish_problems(self.wishes)
        if problems:
            self._refuse(refusals.wishes(problems))
        if not self.cards:
            said = "The host has no NVIDIA card on its PCI bus."
            if self.set_aside:
                said = "All its NVIDIA cards are set aside for virtual machines (vfio-pci)."
            elif self.hardware["environment"] == "wsl":
                said = "In WSL a GPU shows through the driver of Windows, and none shows."
            self.reasons.append(said + " There is nothing for a driver to do.")
            return
        need = branches.needed(self.wishes["minimum"], self.wishes["engines"], self.generations)
        self.answer["needed"] = {"version": need.version, "why": need.why}
        if self.present.state in ("works", "partly"):
            enough = self._is_enough(need)
            if enough and self.present.state == "works" and not self._asked_for_more():
                self._leave_alone(need)
                return
            if enough and self.present.state == "partly" and not self.present.branch_explains:
                self.reasons.append(self.present.why)
                self._leave_alone(need)
                return
            self._too_old(need, enough)
        elif self.present.state == "mismatch":
            self.reasons.append(self.present.why)
            if self.record is None or self.record.get("complete"):
                self._reboot(self.present.why)
                return
        elif self.present.state == "fails" and self.record is None and self._is_enough(need):
            # Somebody else's, new enough, and not well at this moment: another one beside it would not mend that.
            self._refuse(refusals.driver_fails(self.present.why))
        else:
            self.reasons.append(self.present.why)
            if self.record is not None and self.record.get("complete") and self._nouveau and not self.wishes["install"]:
                self._reboot("nouveau drives the card until the next boot")
                return
        self._install(need)

    def _is_enough(self, need: branches.Need) -> bool:
        return bool(self.present.version) and branches.number(self.present.version) >= branches.number(need.version)

    @property
    def _nouveau(self) -> bool:
        return bool(self.look["nouveau"]) or any(card.get("driver") == "nouveau" for card in self.cards)

    def _asked_for_more(self) -> bool:
        """A newer branch or version than the one that works was named, and upgrading was allowed."""
        if not (self.wishes["install"] and self.wishes["upgrade"]):
            return False
        if self.wishes["version"]:
            return branches.number(self.wishes["version"]) > branches.number(self.present.version)
        return bool(self.wishes["branch"]) and int(self.wishes["branch"]) > branches.branch_of(self.present.version)

    def _leave_alone(self, need: branches.Need) -> None:
        """A driver that works and is new enough. One that this role installed gets what a killed run left out."""
        version = self.present.version or ""
        self.reasons.append("Driver %s works and %s is needed (%s): it is left as it is." % (version, need.version, need.why))
        if self.record is not None and self.record.get("branch") == branches.branch_of(version):
            if not self.wishes["install"]:
                if not self.record.get("complete"):
                    self.reasons.append("This role was interrupted when it installed it: nvidia_driver_install completes it.")
                return
            self._finish(self.record["source"], int(self.record["branch"]), self.record.get("modules") == "open")
        elif any("NVLink fabric" in str(card.get("problem")) for card in self.cards):
            self._fabric_of_another(version)

    def _fabric_of_another(self, version: str) -> None:
        """The fabric manager beside a driver that somebody else installed: of its version, from where it came."""
        source = packages.source_of(self._installed())
        names = packages.fabric(self.system, source, branches.branch_of(version), self._fabric()[1]) if source else []
        if not self.wishes["install"] or not names or self.look["runfile"]:
            self._refuse(refusals.fabric(version, bool(names) and not self.look["runfile"]))
        wanted = [Package(name, "fabric", "driver", version) for name in names if name not in packages.OWN_VERSION]
        missing = [package for package in wanted if not self._has(package, 0)]
        self.answer.update(source=source, branch=branches.branch_of(version), version=version)
        self.answer["packages"] = [self._described(package) for package in wanted]
        self.answer["due"]["packages"] = [self._described(package) for package in missing]
        unit = self.look["units"].get(files.FABRIC) or {}
        if not missing and unit.get("exists") and not (unit["enabled"] and unit["active"]):
            self.answer["services"] = self.answer["due"]["services"] = [files.FABRIC]
        if any(self.answer["due"].values()):
            self.answer["action"] = "install"
            self.reasons.append("The NVLink fabric is not up: the fabric manager of exactly %s brings it up." % version)
        else:
            self._refuse(refusals.fabric(version, False))

    def _too_old(self, need: branches.Need, enough: bool) -> None:
        version = self.present.version or ""
        if not enough:
            self.reasons.append("Driver %s is present, and %s is needed: %s." % (version, need.version, need.why))
        elif self.present.state == "partly":
            self.reasons.append(self.present.why)
        else:
            wished = self.wishes["version"] or "branch %s" % self.wishes["branch"]
            self.reasons.append("Driver %s is present, and %s is asked for." % (version, wished))
        if self._never():
            self._refuse(refusals.environment(self._never(), self.hardware["environment"], self.reasons[-1]))
        if not (self.wishes["install"] and self.wishes["upgrade"]):
            self._refuse(refusals.too_old(self.reasons[-1], self.wishes["install"]))

    def _never(self) -> str:
        """Where a driver is never installed, and why; empty elsewhere."""
        if self.look["vgpu"]:
            return "vgpu"
        environment = self.hardware["environment"]
        return environment if environment in ("wsl", "jetson", "container") else ""

    # --- what an installation is made of ------------------------------------------------------------------------------

    def _install(self, need: branches.Need) -> None:
        never = self._never()
        if never:
            self._refuse(refusals.environment(never, self.hardware["environment"], self.present.why))
        too_old = [card["name"] for card, name in zip(self.cards, self.generations) if name in branches.TOO_OLD]
        if too_old:
            self._refuse(refusals.card_too_old(too_old))
        if not self.wishes["install"]:
            self._refuse(refusals.absent(self.present.state, self.present.why))
        if not self.system.sources:
            self._refuse(refusals.distribution(self.system.name))
        if self.look["architecture"] not in ("x86_64", "aarch64"):
            self._refuse(refusals.architecture(self.look["architecture"]))
        if self.look["runfile"]:
            self._refuse(refusals.runfile())
        limit = branches.limits(self.cards)
        if isinstance(limit, str):
            self._refuse(refusals.mixed_cards(limit))
        source = self._source()
        branch = self._branch(source, limit, need)
        open_modules = self._modules(branch, limit)
        self._secure_boot(source)
        self._dkms(source)
        upgrade = self.present.state in ("works", "partly")
        self.reasons.append("%s: branch %d from %s, %s kernel modules (%s)." % (
            self.system.name, branch, "NVIDIA's repository" if source == "nvidia" else "the distribution",
            "open" if open_modules else "proprietary", limit.why))  # fmt: skip
        self._finish(source, branch, open_modules, "upgrade" if upgrade else "install")
        if self.answer["action"] == "none" and self.present.state not in ("works", "partly"):
            self._refuse(refusals.driver_fails(self.present.why))

    def _installed(self) -> t.Dict[str, t.Any]:
        found: t.Mapping[str, t.Any] = self.look["packages"]
        return {name: entry for name, entry in found.items() if packages.is_driver(name) and entry["state"] == "installed"}

    def _source(self) -> str:
        there = packages.source_of(self._installed())
        source = self.wishes["source"]
        if source == "auto":
            source = (self.record or {}).get("source") or there or self.system.default_source
        if source == "rpmfusion" or (there and there != source):
            self._refuse(refusals.mixed_sources(there or source, self.wishes["source"], sorted(self._installed())))
        if source not in self.system.sources:
            self._refuse(refusals.no_source(source, self.system.name))
        return source

    def _branch(self, source: str, limit: branches.Limits, need: branches.Need) -> int:
        known = self.system.sources[source]
        if self.wishes["version"] or self.wishes["branch"]:
            branch = branches.branch_of(self.wishes["version"] or self.wishes["branch"])
            version = self.wishes["version"] or "%d.999" % branch
            if branches.number(version) < branches.number(need.version):
                self._refuse(refusals.branch_too_old(self.wishes["version"] or str(branch), need))
            if (limit.highest and branch > limit.highest) or branch < limit.lowest:
                self._refuse(refusals.branch_and_cards(branch, limit))
            if branch not in known:
                self.reasons.append("Branch %d is not one that %s is known to have here; it was asked for." % (branch, source))
            return branch
        begun = self._begun(source, limit, need)
        if begun:
            return begun
        found = branches.choose(known, limit, need)
        if found is None:
            other = {name: branches.choose(has, limit, need) for name, has in self.system.sources.items() if name != source}
            self._refuse(refusals.no_branch(self.system.name, source, known, need, limit, other))
        return found

    def _begun(self, source: str, limit: branches.Limits, need: branches.Need) -> int:
        """The branch of packages that are there already, where it will do; 0 otherwise."""
        versions = [packages.upstream(entry["version"]) for entry in self._installed().values()]
        # (Not all that goes with the driver counts as the driver does: nvidia-kernel-common is of 20220217.)
        there = [branches.branch_of(text) for text in versions if 300 <= branches.branch_of(text) < 1000]
        if self.record is not None and not self.record.get("complete"):
            there = [int(self.record["branch"])]
        branch = max(there) if there else 0
        if branch < max(limit.lowest, branches.branch_of(need.version)) or (limit.highest and branch > limit.highest):
            return 0
        return branch

    def _modules(self, branch: int, limit: branches.Limits) -> bool:
        wished = {"open": True, "proprietary": False}.get(self.wishes["modules"])
        if limit.open_modules is not None and wished not in (None, limit.open_modules):
            self._refuse(refusals.modules(self.wishes["modules"], limit.why))
        if wished is False and branch >= branches.OPEN_ONLY_FROM:
            self._refuse(refusals.modules("proprietary", "branch %d has the open ones only" % branch))
        return limit.open_modules if limit.open_modules is not None else wished is not False

    def _secure_boot(self, source: str) -> None:
        if not self.look["secure_boot"] or self.wishes["mok_enrolled"]:
            return
        if source != "distribution" or self.system.family != "ubuntu":
            self._refuse(refusals.secure_boot(self.system.name, self.system.family == "ubuntu"))
        if not packages.has_signed_modules(self.look["kernel"]["release"]):
            self._refuse(refusals.secure_boot_kernel(self.look["kernel"]["release"]))

    @property
    def _prebuilt(self) -> bool:
        return bool(self.look["secure_boot"]) and not self.wishes["mok_enrolled"]

    def _dkms(self, source: str) -> None:
        """DKMS comes from EPEL, which only the rebuilds of RHEL have a package for."""
        if self.system.family != "rhel" or self.look["epel"] or "dkms" in self.look["packages"]:
            return
        if self.look["distribution"]["id"] == "rhel":
            self._refuse(refusals.epel(self.system.version))

    def _finish(self, source: str, branch: int, open_modules: bool, action: str = "install") -> None:
        """What there shall be, and what of it is not there."""
        answer, due = self.answer, self.answer["due"]
        repository = packages.repository(self.system, source, self.wishes, self.look)
        wanted = self._packages(source, branch, open_modules)
        missing = [package for package in wanted if not self._has(package, branch)]
        if self.present.state == "works" and action == "install" and (self.record or {}).get("complete"):
            # It works: only what goes beside it may still be missing, and never the headers of a kernel that has its module.
            missing = [package for package in missing if package.stage == "fabric"]
            repository = repository if missing else None
        driver_missing = any(package.stage != "fabric" for package in missing)
        answer.update(source=source, branch=branch)
        answer.update(
            version=self._driver_version(wanted) or self.wishes["version"] or None,
            modules="open" if open_modules else "proprietary", repository=repository,
            stream=packages.stream(self.system, branch, open_modules),
            version_lock=packages.version_lock(self.system, branch),
            packages=[self._described(package) for package in wanted],
            headers=[package.name for package in wanted if package.stage == "headers"],
        )  # fmt: skip
        # The fabric manager waits for the driver, whose version it has to have.
        due["packages"] = [self._described(one) for one in missing if not (driver_missing and one.stage == "fabric")]
        if missing:
            held = sorted(name for name, entry in self._installed().items() if entry["held"])
            if held and self.record is None:
                self._refuse(refusals.held(held))
            away = packages.offline_problem(repository) if self.wishes["offline"] else None
            if away:
                self._refuse(refusals.offline(away))
            due["configure"] = bool(self.look["unfinished"])
            stream = answer["stream"]
            enabled = self.look["files"].get(files.STREAM) or ""
            due["stream"] = bool(stream) and "stream=%s\n" % str(stream).partition(":")[2] not in enabled
            if repository and (repository["key_url"] or repository["key_file"]):
                known = self.look["fingerprints"].get(repository["key_path"])
                due["key"] = not known or bool(repository["fingerprint"] and repository["fingerprint"] not in known)
        nouveau = self._nouveau
        answer["blacklist"] = nouveau or self.look["files"].get(files.BLACKLIST) is not None
        self._holds(due)
        complete = not missing and not due["holds"]
        answer["files"] = self._files(source, branch, open_modules, repository, complete)
        due["files"] = [one["path"] for one in answer["files"] if self.look["files"].get(one["path"]) != one["content"]]
        answer["directories"] = sorted({os.path.dirname(one["path"]) for one in answer["files"]})
        if answer["blacklist"] and (files.BLACKLIST in due["files"] or self.look["initramfs"]["stale"]):
            due["initramfs"] = self.look["initramfs"]["command"]
        if not driver_missing:
            self._start(nouveau, due, bool([package for package in wanted if package.stage == "fabric"]), missing)
        else:
            self.reasons.append("Packages that are missing: %s." % ", ".join(package.name for package in missing))
            if source == "nvidia" and self.system.family == "debian" and "contrib" not in self.look["components"]:
                # (Not added here: apt refuses an archive that is named twice with different keys.)
                self.reasons.append(
                    "NVIDIA's guide for Debian wants its component contrib, which apt's sources do not name here: add it where apt "
                    "misses glx-alternative-nvidia or nvidia-support."
                )
            if nouveau:
                self._reboot("nouveau drives the card until the next boot")
            elif action == "upgrade":
                self._reboot("the new libraries and the loaded module will differ")
        if any(due.values()):
            answer["action"] = action
        elif answer["reboot"]["needed"]:
            answer["action"] = "reboot"

    def _described(self, package: Package) -> t.Dict[str, t.Any]:
        return dict(package._asdict(), spec=packages.spec(self.system.manager, package, self.answer["branch"]))

    def _packages(self, source: str, branch: int, open_modules: bool) -> t.List[Package]:
        kernel, images = self.look["kernel"]["release"], self.look["kernel"]["images"]
        exact = self.wishes["version"] or None
        wanted = []
        pin = packages.pin_name(self.system, source, branch)
        if pin:
            wanted.append(Package(pin, "pin", "any"))
        if self.system.family == "rhel" and not self.look["epel"] and "dkms" not in self.look["packages"]:
            wanted.append(Package("epel-release", "prerequisite", "any"))
        if packages.version_lock(self.system, branch) or (self.system.manager == "dnf" and self.wishes["hold"]):
            wanted.append(Package("python3-dnf-plugin-versionlock", "prerequisite", "any"))
        prebuilt = self._prebuilt and source == "distribution"
        if prebuilt:
            names = packages.signed_modules(branch, open_modules, kernel, images)
            wanted += [Package(name, "driver", "any") for name in names]
        else:
            wanted += [Package(name, "headers", "any") for name in packages.headers(self.system, kernel, images)]
        for name in packages.driver_names(self.system, source, branch, open_modules, prebuilt):
            own = name == "nvidia-persistenced"
            wanted.append(Package(name, "driver", "any" if own else "exact" if exact else "branch", None if own else exact))
        switches, nvlink5 = self._fabric()
        if switches:
            names = packages.fabric(self.system, source, branch, nvlink5)
            if not names:
                self._refuse(refusals.no_fabric_manager(self.system.name))
            version = self._driver_version(wanted)
            for name in names:
                own = name in packages.OWN_VERSION
                wanted.append(Package(name, "fabric", "any" if own else "driver", None if own else version or exact))
        return wanted

    def _fabric(self) -> t.Tuple[bool, bool]:
        """Whether the cards are joined by NVSwitches, and by those of the fifth generation, which PCI does not show."""
        names = " ".join(str(card.get("name")) for card in self.cards)
        # (Not GB200 and GB300: in those racks the switches have hosts of their own.)
        nvlink5 = len(self.cards) > 1 and bool(re.search(r"\bB[23]00\b|\[10de:(2901|3182)\]", names))
        return bool(self.hardware["nvswitches"]) or nvlink5, nvlink5

    def _driver_version(self, wanted: t.Sequence[Package]) -> t.Optional[str]:
        for package in wanted:
            entry = self.look["packages"].get(package.name)
            if package.stage == "driver" and package.rule in ("branch", "exact") and entry and entry["state"] == "installed":
                return packages.upstream(entry["version"])
        return None

    def _has(self, package: Package, branch: int) -> bool:
        names = (package.name, packages.OTHER_NAMES.get(package.name, ""))
        entry = next((self.look["packages"][name] for name in names if name in self.look["packages"]), None)
        if entry is None or entry["state"] != "installed":
            return False
        version = packages.upstream(entry["version"])
        if package.rule == "branch":
            return branches.branch_of(version) == branch
        return package.version is None or version == package.version

    def _files(
        self, source: str, branch: int, open_modules: bool, repository: t.Optional[dict], complete: bool
    ) -> t.List[dict]:
        wanted = []
        if self.system.manager == "apt":
            if repository:
                wanted.append(files.entry(repository["path"], files.sources(repository, self.look["architecture"])))
            wanted.append(files.entry(files.PREFERENCES, files.preferences(source, self.wishes["version"] or None)))
            if self.wishes["hold"]:
                wanted.append(files.entry(files.UNATTENDED, files.UNATTENDED_TEXT))
        if self.answer["blacklist"]:
            wanted.append(files.entry(files.BLACKLIST, files.NOUVEAU))
        drop_in = files.persistence((self.look["units"].get(files.PERSISTENCED) or {}).get("command"))
        if drop_in:
            wanted.append(files.entry(files.DROP_IN % files.PERSISTENCED, drop_in))
        version = self.answer["version"] if complete else None
        wanted.append(files.entry(files.RECORD, files.record(source, branch, version, open_modules, complete)))
        return wanted

    def _holds(self, due: t.Dict[str, t.Any]) -> None:
        """Canonical's signed modules go with the kernel: held, the next kernel would come without any."""
        if not self.wishes["hold"]:
            return
        names = [name for name in self._installed() if not name.startswith("linux-modules-nvidia-")]
        self.answer["holds"] = sorted(names)
        due["holds"] = sorted(name for name in names if not self.look["packages"][name]["held"])

    def _start(self, nouveau: bool, due: t.Dict[str, t.Any], fabric: bool, missing: t.Sequence[Package]) -> None:
        """The driver's packages are all there: is its module, and do the daemons run?"""
        loaded = (self.look["module"] or {}).get("version")
        version = self.answer["version"]
        if nouveau:
            self._reboot("nouveau drives the card until the next boot")
        elif loaded and version and loaded != version:
            self._reboot("module %s is loaded, and %s is installed" % (loaded, version))
        elif not loaded:
            due["modules"] = ["nvidia", "nvidia-uvm"]
        wanted = [files.PERSISTENCED] + ([files.FABRIC] if fabric else [])
        answer = self.answer
        answer["services"] = [name for name in wanted if (self.look["units"].get(name) or {}).get("exists")]
        for name in answer["services"]:
            unit = self.look["units"][name]
            # What is not loaded yet cannot be served: after the reboot the enabled unit starts by itself.
            if not unit["enabled"] or not (unit["active"] or answer["reboot"]["needed"]):
                due["services"].append(name)
            elif unit["active"] and not answer["reboot"]["needed"] and (unit["stale"] or files.DROP_IN % name in due["files"]):
                due["restart"].append(name)
            if name in due["services"] + due["restart"] and (unit["unread"] or files.DROP_IN % name in due["files"]):
                answer["daemon_reload"] = True
        if files.FABRIC in wanted and files.FABRIC not in answer["services"] and not missing:
            self.reasons.append("%s is installed without its unit: the NVLink fabric may not come up." % files.FABRIC)

    def _reboot(self, why: str) -> None:
        self.answer["reboot"].update(needed=True, why=why)
        if self.answer["action"] == "none":
            self.answer["action"] = "reboot"
