# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How every module of the collection starts and ends."""

from __future__ import annotations

import importlib
import json
import os
import sys
import typing as t

from ansible.module_utils import basic
from ansible.module_utils.common.respawn import has_respawned, respawn_module

from .errors import GpufleetError

TOOLS_PYTHON = "/opt/gpufleet/tools/bin/python"


def run(work: t.Callable[[basic.AnsibleModule], dict], argument_spec: dict, **kwargs: t.Any) -> t.NoReturn:
    """Run ``work(module)`` and exit with the dict it returns.

    A GpufleetError becomes ``fail_json``; anything else is a defect of ours and keeps its traceback.
    ``kwargs`` are AnsibleModule's own. Run alone, as ``python plugins/modules/X.py``, the arguments
    come as JSON on standard input: a plain object, or Ansible's own ``{"ANSIBLE_MODULE_ARGS": {...}}``.
    """
    if basic._ANSIBLE_ARGS is None:  # Ansible did not start this process
        _arguments_from_stdin()
    module = basic.AnsibleModule(argument_spec=argument_spec, **kwargs)
    try:
        result = work(module)
    except GpufleetError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)
    raise AssertionError("exit_json returned")


def need_tools(tools_python: str, *imports: str) -> None:
    """Make the third-party libraries ``imports`` importable, from the tools environment if need be.

    Starts the module again under ``tools_python`` (Ansible's respawn) when this interpreter lacks one of them
    and that one exists. Call it first thing in ``work``, before anything is changed.
    Raises GpufleetError naming what is missing when neither has them.
    """
    missing = [name for name in imports if not _importable(name)]
    if not missing:
        return
    if os.path.exists(tools_python) and not has_respawned() and hasattr(sys.modules["__main__"], "_module_fqn"):
        respawn_module(tools_python)
    raise GpufleetError(
        "Python libraries are missing: %s. Neither %s nor tools_python=%s has them. "
        "Run the role gpufleet.llm.tools on the host, or install them for one of the two."
        % (", ".join(missing), sys.executable, tools_python)
    )


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _arguments_from_stdin() -> None:
    text = sys.stdin.read()
    wanted = "pass the module's arguments as one JSON object"
    try:
        arguments = json.loads(text.strip() or "{}")  # nothing said: no options; ansible-test's sanity relies on it
    except ValueError as error:
        raise SystemExit("standard input is not JSON (%s): %s" % (error, wanted)) from None
    if not isinstance(arguments, dict):
        raise SystemExit("standard input holds a %s: %s" % (type(arguments).__name__, wanted))
    if "ANSIBLE_MODULE_ARGS" not in arguments:
        arguments = {"ANSIBLE_MODULE_ARGS": arguments}
    basic._ANSIBLE_ARGS = json.dumps(arguments).encode()
    basic._ANSIBLE_PROFILE = "legacy"  # ansible-core >= 2.19 wants to know the serialization
