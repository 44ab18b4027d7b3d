# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which image an instance runs, of its own and its role's."""

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: instance_image
short_description: Which image an instance runs
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Of what an instance names itself and what its role names for all of them. An image of its own does without the role's
    archive, and an archive without any name.
  - C({version}) in a name stands for the version of the instance.
positional: common
options:
  _input:
    description:
      - The instance, with C(name), C(version), C(image), C(image_digest), C(image_archive) and C(image_archive_sha256), the
        last four empty where it names nothing.
    type: dict
    required: true
  common:
    description: What the role names, with C(name), C(digest), C(archive) and C(sha256).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the images
  ansible.builtin.debug:
    msg: "{{ instances | map('gpufleet.llm.instance_image', common) }}"
"""

RETURN = r"""
_value:
  description: C(instance), C(name), C(digest), C(archive) and C(sha256), empty where there is none.
  type: dict
"""


def instance_image(instance: t.Mapping[str, t.Any], common: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    archive = instance["image_archive"] or ("" if instance["image"] else common["archive"])
    found = {"instance": instance["name"], "name": "", "digest": "", "archive": archive, "sha256": ""}
    if archive:
        # What the role says is of its own archive, or of its own name.
        return dict(found, sha256=instance["image_archive_sha256"] or ("" if instance["image_archive"] else common["sha256"]))
    name = (instance["image"] or common["name"]).replace("{version}", instance["version"])
    return dict(found, name=name, digest=instance["image_digest"] or ("" if instance["image"] else common["digest"]))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, str]]]:
        return {"instance_image": instance_image}
