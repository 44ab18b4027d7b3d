#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A complete, verified, revision-pinned model in the store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_download
short_description: Have a complete, verified model in the store
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Brings a model from the Hugging Face Hub, ModelScope, a registry of Ollama's, any addresses on the web, or a
    directory of the host into the store, pinned to its revision. Every file is compared with the size and hash that
    the source states before it gets its name.
  - A model lies in C(<store>/<kind>/<org>/<name>/<revision>/), where C(<kind>) is V(huggingface), V(modelscope),
    V(ollama_registry), V(url) or V(local). The
    link C(<store>/<kind>/<org>/<name>/<ref>) points to the revision that a branch or tag meant when it was last
    asked; slashes in its name become C(~). C(gpufleet.json) in the revision's directory records where the files
    come from.
  - A complete model is recognised by the recorded size, modification time and inode of its files, without network,
    without hashing and without any library.
  - Can be killed at any time. The next run keeps the files that had been verified, and goes on in each of the others where it
    was. Two runs on the same model wait for one another.
  - Files that another revision of the model has too are linked and not fetched again.
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
    details: Asks the source what would be fetched. Where it or what is needed to ask is not there yet, says so instead.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  source:
    description:
      - A repository of the hub as C(org/name), or the absolute path of a directory on the host.
      - With O(hub=ollama), a model as C([host/][namespace/]model[:tag]).
      - Of a directory, the revision is the sha256 digest over the path, size and sha256 of every file.
      - Give this or O(files).
    type: str
  hub:
    description:
      - Who has O(source), where it is no directory.
      - With V(huggingface), the Hugging Face Hub or a mirror that speaks its API.
      - With V(modelscope), ModelScope. It does not say which commit a branch or a tag is, so the revision in the store is
        the sha256 digest over the path, size and sha256 of every file that it lists.
      - With V(ollama), a registry of Ollama's. The revision is the digest of the model's manifest, and its directory is
        laid out as Ollama has it, with C(manifests/) and C(blobs/), so that it can be the
        O(gpufleet.llm.ollama_bundle#module:store) of an export. Models of private accounts are out of reach,
        since requests for them are signed by Ollama's own key.
    type: str
    choices: [huggingface, modelscope, ollama]
    default: huggingface
  files:
    description:
      - The files of a model by their addresses, in place of O(source). Needs O(name). All of them are wanted, unless O(include)
        or O(exclude) says otherwise.
      - The revision is the sha256 digest over path and sha256 of every file, so there is no link, and a model that is
        complete is recognised without asking anybody.
      - A bucket (S3 or one that speaks its protocol) is reached by its public or presigned addresses.
    type: list
    elements: dict
    suboptions:
      url:
        description: The address without what follows the question mark, with C(http://) or C(https://).
        type: str
        required: true
      query:
        description:
          - What follows the question mark of the address, such as the signature of a presigned one. Never shown, and no part
            of the revision.
        type: str
      sha256:
        description: What the file must be, 64 hexadecimal digits.
        type: str
        required: true
      path:
        description: Its path in the model. By default the last part of the address.
        type: str
      size:
        description: Its size in bytes. By default the server is asked.
        type: int
  revision:
    description:
      - A branch, a tag or a commit. Pin the full commit for a fleet whose hosts shall be the same.
      - By default V(main), and with O(hub=modelscope) V(master).
      - With O(hub=modelscope), also the digest that V(master) must have. With O(hub=ollama), only the digest that the
        manifest of the tag in O(source) must have.
      - For a directory, the name of the link, or the digest that the directory must have. For O(files), only the
        digest that they must have.
    type: str
  state:
    description:
      - With V(present), a branch or tag that is in the store is not asked about again.
      - With V(latest), the hub is asked for its commit on every run. A commit is never asked about.
      - A directory is compared with the record in both cases, by size, modification time and inode.
    type: str
    choices: [present, latest]
    default: present
  name:
    description:
      - The name in the store, as C(org/name), for a directory and for O(files). By default the last two parts of a
        directory's path.
    type: str
  include:
    description:
      - Patterns of the files that are wanted, for instance C(*Q4_K_M*.gguf). C(*) matches slashes too, and
        C(folder/) means all below it. V(["*"]) means every file.
      - By default, the files that an engine needs. Of the same weights in several formats that is safetensors before
        C(.bin) and C(.pth) before GGUF. C(original/), C(consolidated*), the formats of other frameworks (ONNX,
        OpenVINO, Core ML, TensorFlow, Flax), hidden files and the optimizer's state are left out.
      - A repository of several GGUF models needs O(include).
      - Patterns added later fetch what is missing. Nothing is removed when there are fewer.
    type: list
    elements: str
  exclude:
    description:
      - Patterns of files that are not wanted, taken away from O(include) or its default.
    type: list
    elements: str
  store:
    description:
      - The directory that holds all models. Created when it is missing.
    type: path
    default: /srv/models
    aliases: [destination]
  endpoint:
    description:
      - URL of the hub or of a mirror that speaks its API.
      - By default the environment variable E(HF_ENDPOINT) of the host, else V(https://huggingface.co).
      - With O(hub=modelscope), by default E(MODELSCOPE_ENDPOINT), else V(https://www.modelscope.cn).
      - With O(hub=ollama), by default C(https://) and the host of the model's name, V(registry.ollama.ai) where it has none.
    type: str
  token_file:
    description:
      - A file on the host with an access token of the hub, for gated and private repositories.
      - Without O(token_file) and O(token), the token that huggingface_hub keeps for the user is used, from E(HF_TOKEN) or
        C(~/.cache/huggingface/token), if the endpoint has C(https://). One of a login by browser ends within hours and is not made
        new here. With O(hub=modelscope), what E(MODELSCOPE_API_TOKEN) says.
      - With O(files), all addresses must then have the same server. A C(.netrc) is not read.
      - Never sent to another server that a redirect leads to.
    type: path
  token:
    description:
      - The access token itself. Prefer O(token_file).
    type: str
  offline:
    description:
      - Never use the network. A hub model that is not complete in the store is an error.
      - A directory is no matter of the network, also when it is mounted from another host.
    type: bool
    default: false
  owner:
    description:
      - Owner of the files, a name or number. By default, whoever runs the module, usually root.
      - Not the user of an engine, which shall only read.
    type: str
  group:
    description:
      - Group of the files, a name or number.
    type: str
  mode:
    description:
      - Mode of the files, as an octal string.
    type: str
    default: "0644"
  directory_mode:
    description:
      - Mode of the revision's directories, as an octal string.
    type: str
    default: "0755"
  max_workers:
    description:
      - How many files are fetched or hashed at the same time.
    type: int
    default: 8
  timeout:
    description:
      - Seconds without an answer or a byte after which a request to the hub has failed and is tried again.
    type: int
    default: 60
  lock_timeout:
    description:
      - Seconds to wait for another process that works on the same model.
    type: int
    default: 7200
  transport:
    description:
      - How files come from a hub.
      - V(http) asks for each file as it is, continues it where an earlier run ended, and hashes it on its way.
      - V(aria2) brings large files in pieces over several connections, and the others as V(http) does. It needs aria2c.
      - V(auto) is V(aria2) where there is aria2c and fewer than four files are large, since more of them share the line by
        themselves, and V(http) elsewhere.
      - V(xet) leaves it to huggingface_hub and its hf_xet, and V(hf_transfer) to the last huggingface_hub that had that one.
        Both begin a file anew in every run. They run as a process of their own, which is ended when nothing comes for
        O(timeout) seconds; what they did not bring comes as with V(http).
      - V(swarm) brings them with aria2c as a BitTorrent client from other hosts that get the same, and from O(endpoint), which must
        be a mirror of M(gpufleet.llm.model_mirror) with torrents. See O(swarm). What does not come that way comes as with V(http).
    type: str
    choices: [aria2, auto, hf_transfer, http, swarm, xet]
    default: auto
  hf_transfer_python:
    description:
      - The Python that has hf_transfer and a huggingface_hub before 1.0, for O(transport=hf_transfer).
      - The role P(gpufleet.llm.tools#role) installs it with C(tools_hf_transfer=true).
    type: path
    default: /opt/gpufleet/hf-transfer/bin/python
  limit_rate:
    description:
      - The most bytes a second that this run may take from the line. V(50M) are 50 MiB.
      - Not with V(xet) and V(hf_transfer), which know no limit.
    type: str
  ca_path:
    description:
      - A file or directory with the certificates of authorities to be trusted, for a mirror with one of the site's own.
    type: path
  verify:
    description:
      - With V(record), a file whose size, modification time and inode are the recorded ones is taken for whole.
      - With V(full), every file is read and hashed again, O(max_workers) at a time.
    type: str
    choices: [record, full]
    default: record
  repair:
    description:
      - Fetch a file again that is there and not what the source states. With V(false), such a file is an error.
    type: bool
    default: true
  commit:
    description:
      - The commit that the branch or tag O(revision) shall be here. The source is not asked, and the link is set to it.
      - For a fleet whose hosts shall have the same, also while a branch moves.
    type: str
  swarm:
    description:
      - How this host takes part with O(transport=swarm). Peers are those that the mirror's C(/announce) names; there is no DHT and no
        exchange of peers, and connections are encrypted.
      - When the model is in the store, C(gpufleet-swarm.service), a transient unit that only reads, gives it to others for a while.
    type: dict
    suboptions:
      port:
        description: TCP port for other hosts. The host's firewall must let them in.
        type: int
        default: 6881
      upload_limit:
        description: The most bytes a second that others get. V(50M) are 50 MiB. No limit by default.
        type: str
      seed_time:
        description: Seconds for which the model is given to others afterwards. V(0) is not at all.
        type: int
        default: 600
      seed_ratio:
        description: End that earlier when so many times the model's size was given. V(0) is no matter how much.
        type: float
        default: 0
  listing_sha256:
    description:
      - What RV(listing_sha256) shall be. A source that lists other files, sizes or hashes is refused.
      - For a mirror, which need not be trusted then.
    type: str
  progress_file:
    description:
      - A file that gets a line every second while the module works, with what came, the rate and the seconds left, as long as
        the source's sizes are known. It begins anew with each run.
      - As a task of Ansible, the last line is shown every ten seconds.
    type: path
  tools_python:
    description:
      - The Python that has huggingface_hub for O(transport=xet), where the one that runs the module has not.
      - The role P(gpufleet.llm.tools#role) installs it.
    type: path
    default: /opt/gpufleet/tools/bin/python
notes:
  - Of the environment, E(HF_ENDPOINT), E(HF_TOKEN), E(HF_TOKEN_PATH), E(HF_HOME), E(HF_HUB_DISABLE_IMPLICIT_TOKEN), E(HTTP_PROXY),
    E(HTTPS_PROXY) and E(NO_PROXY) are obeyed, and by O(transport=xet) also E(HF_HUB_DISABLE_XET). E(ALL_PROXY) reaches aria2 alone, and
    proxies of SOCKS are not supported. With E(HF_HUB_OFFLINE) or E(TRANSFORMERS_OFFLINE), a run that has to ask a hub fails.
  - On another host's copy of the store (rsync -a) the files are hashed once, since their inodes differ.
requirements:
  - huggingface_hub for O(transport=xet) and O(transport=hf_transfer)
  - aria2 for O(transport=aria2) and O(transport=swarm)
seealso:
  - module: gpufleet.llm.model_info
"""

EXAMPLES = r"""
- name: A model of the hub, pinned
  gpufleet.llm.model_download:
    source: Qwen/Qwen3-8B
    revision: b968826d9c46dd6066d109eabc6255188de91218
  register: model

- name: Its directory
  ansible.builtin.debug:
    var: model.path

- name: A gated model
  gpufleet.llm.model_download:
    source: meta-llama/Llama-3.1-8B-Instruct
    token_file: /etc/gpufleet/hub.token

- name: The same from the site's mirror, which has tokens of its own
  gpufleet.llm.model_download:
    source: meta-llama/Llama-3.1-8B-Instruct
    endpoint: https://mirror.example.com:8090
    ca_path: /etc/gpufleet/site-ca.pem
    token_file: /etc/gpufleet/mirror.token

- name: Not more of the line than others can spare, and a line every ten seconds
  gpufleet.llm.model_download:
    source: Qwen/Qwen3-235B-A22B
    limit_rate: 200M
    progress_file: /run/model_download.progress

- name: Read every file again, and say which are wrong
  gpufleet.llm.model_download:
    source: Qwen/Qwen3-8B
    verify: full
    repair: false

- name: One quantization of a GGUF repository
  gpufleet.llm.model_download:
    source: Qwen/Qwen3-8B-GGUF
    include: ["*Q4_K_M*.gguf"]

- name: A model of ModelScope, with the digest that another host found
  gpufleet.llm.model_download:
    hub: modelscope
    source: Qwen/Qwen3-8B
    revision: 0d1f6c9c2f5b9d0f0c2b3a6e1a7d8c9b4e5f60718293a4b5c6d7e8f901234567

- name: A model of Ollama's registry, to be carried where there is none
  gpufleet.llm.model_download:
    hub: ollama
    source: llama3.2:3b
  register: carried

- name: All of it in one archive
  gpufleet.llm.ollama_bundle:
    state: exported
    store: "{{ carried.path }}"
    path: /srv/models/llama3.2.tar

- name: Files from a bucket
  gpufleet.llm.model_download:
    name: team/tuned-8b
    files:
      - url: https://models.s3.eu-central-1.example.com/tuned-8b/config.json
        sha256: 4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a
      - url: https://models.s3.eu-central-1.example.com/tuned-8b/model.safetensors
        query: "{{ presigned_query }}"
        sha256: dbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986

- name: A directory that came on a disk
  gpufleet.llm.model_download:
    source: /mnt/usb/Qwen3-8B
    name: Qwen/Qwen3-8B
"""

RETURN = r"""
path:
  description:
    - The directory of the revision, to give to an engine.
    - In check mode, where the source or what is needed to ask it is not there yet, the path of the link.
  type: str
  returned: success
  sample: /srv/models/huggingface/Qwen/Qwen3-8B/b968826d9c46dd6066d109eabc6255188de91218
link:
  description: The link of the branch or tag, which later runs may move. Null for a commit, a digest and O(files).
  type: str
  returned: success
  sample: /srv/models/huggingface/Qwen/Qwen3-8B/main
revision:
  description: The commit or the digest, see O(source), O(hub) and O(files). Null when it is not known, see RV(path).
  type: str
  returned: success
files:
  description: How many files are wanted. Null when it is not known.
  type: int
  returned: success
bytes:
  description: Their size in bytes. Null when it is not known.
  type: int
  returned: success
downloaded_files:
  description: How many files were fetched, or would be in check mode. Null when it is not known.
  type: int
  returned: success
downloaded_bytes:
  description: Their size in bytes. Null when it is not known.
  type: int
  returned: success
reused_bytes:
  description: Bytes that the host had already, from an interrupted run or another revision. Null when it is not known.
  type: int
  returned: success
listing_sha256:
  description:
    - The sha256 digest over the path, size and hash of every file that the source lists, in the order of the paths. Null when it
      is not known.
  type: str
  returned: success
waited_s:
  description: Seconds waited for another process that worked on the same model.
  type: float
  returned: success
msg:
  description: What was done in one line.
  type: str
  returned: always
record:
  description: The content of C(gpufleet.json). Null in check mode when the model is not there.
  type: dict
  returned: success
  contains:
    schema:
      description: V(gpufleet.model_record/1).
      type: str
    kind:
      description: V(huggingface), V(modelscope), V(ollama_registry), V(url) or V(local).
      type: str
    name:
      description: The name in the store.
      type: str
    source:
      description: O(source) as given; of O(files), their O(name).
      type: str
    endpoint:
      description: URL of the hub that was asked.
      type: str
      returned: when RV(record.kind) is neither V(local) nor V(url)
    urls:
      description: The address of each file by its path, without the query.
      type: dict
      returned: when RV(record.kind=url)
    revision:
      description: The commit or the digest.
      type: str
    files:
      description:
        - The verified files with C(path), C(size) in bytes, C(sha256) or C(git_sha1), and C(mtime_ns) and C(inode) on
          this host.
      type: list
      elements: dict
    skipped:
      description: The files that the source has and nobody asked for, with C(path), C(size) and hash.
      type: list
      elements: dict
    source_files:
      description: Size in bytes, modification time in nanoseconds and inode by path in the source directory.
      type: dict
      returned: when RV(record.kind=local)
    verified_at:
      description: When the files were last fetched or verified, in UTC.
      type: str
    collection_version:
      description: The version of the collection that did it.
      type: str
needed_bytes:
  description: Bytes still to be fetched.
  type: int
  returned: when the file system is too small
short_bytes:
  description: Bytes to be freed before the model fits.
  type: int
  returned: when the file system is too small
licence_url:
  description: The page where the model's licence can be accepted.
  type: str
  returned: when the model is gated
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import TOOLS_PYTHON, need_tools, run
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import request
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import TOOLS_PYTHON, need_tools, run
    from module_utils.transfer import request

ARGUMENT_SPEC = {
    "source": {"type": "str"},
    "hub": {"type": "str", "choices": ["huggingface", "modelscope", "ollama"], "default": "huggingface"},
    "files": {
        "type": "list",
        "elements": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "query": {"type": "str", "no_log": True},
            "sha256": {"type": "str", "required": True},
            "path": {"type": "str"},
            "size": {"type": "int"},
        },
    },
    "revision": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "latest"], "default": "present"},
    "name": {"type": "str"},
    "include": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "store": {"type": "path", "default": "/srv/models", "aliases": ["destination"]},
    "endpoint": {"type": "str"},
    "token_file": {"type": "path", "no_log": False},
    "token": {"type": "str", "no_log": True},
    "offline": {"type": "bool", "default": False},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "directory_mode": {"type": "str", "default": "0755"},
    "max_workers": {"type": "int", "default": 8},
    "timeout": {"type": "int", "default": 60},
    "lock_timeout": {"type": "int", "default": 7200},
    "transport": {"type": "str", "choices": ["aria2", "auto", "hf_transfer", "http", "swarm", "xet"], "default": "auto"},
    "hf_transfer_python": {"type": "path", "default": "/opt/gpufleet/hf-transfer/bin/python"},
    "limit_rate": {"type": "str"},
    "ca_path": {"type": "path"},
    "verify": {"type": "str", "choices": ["record", "full"], "default": "record"},
    "repair": {"type": "bool", "default": True},
    "listing_sha256": {"type": "str"},
    "commit": {"type": "str"},
    "swarm": {
        "type": "dict",
        "options": {
            "port": {"type": "int", "default": 6881},
            "upload_limit": {"type": "str"},
            "seed_time": {"type": "int", "default": 600},
            "seed_ratio": {"type": "float", "default": 0},
        },
    },
    "progress_file": {"type": "path"},
    "tools_python": {"type": "path", "default": TOOLS_PYTHON},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    result = request.answer(
        module.params,
        check_mode=module.check_mode,
        say=module.log,
        need_client=lambda: need_tools(module.params["tools_python"], "huggingface_hub"),
    )
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    """Run the module."""
    run(
        work,
        ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[["token", "token_file"], ["source", "files"]],
        required_one_of=[["source", "files"]],
        required_by={"files": ["name"]},
    )


if __name__ == "__main__":
    main()
