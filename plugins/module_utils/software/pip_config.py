# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where this host gets Python packages from, as its pip is configured.

uv does not read pip's configuration, so what the administrator wrote there for the whole host (an internal
index, a directory of wheels, a certificate, a proxy) is read here, by pip's own rules, and handed to uv.
"""

from __future__ import annotations

import configparser
import os
import re
import typing as t
from dataclasses import dataclass

from ..errors import GpufleetError

TRUE = ("y", "yes", "t", "true", "on", "1")
FALSE = ("n", "no", "f", "false", "off", "0")


@dataclass(frozen=True)
class PackageSources:
    """Indexes and directories of packages, and how to reach them."""

    index_url: t.Optional[str] = None
    extra_index_urls: t.Tuple[str, ...] = ()
    find_links: t.Tuple[str, ...] = ()
    trusted_hosts: t.Tuple[str, ...] = ()
    cert: t.Optional[str] = None
    client_cert: t.Optional[str] = None
    proxy: t.Optional[str] = None
    no_index: bool = False

    def pip_environment(self) -> t.Dict[str, str]:
        """For pip. In the environment because an index URL may hold a password, and argv is public."""
        environment = {
            "PIP_INDEX_URL": self.index_url or "",
            "PIP_EXTRA_INDEX_URL": " ".join(self.extra_index_urls),
            "PIP_FIND_LINKS": " ".join(self.find_links),
            "PIP_TRUSTED_HOST": " ".join(self.trusted_hosts),
            "PIP_CERT": self.cert or "",
            "PIP_CLIENT_CERT": self.client_cert or "",
            "PIP_PROXY": self.proxy or "",
            "PIP_NO_INDEX": "1" if self.no_index else "",
        }
        return {name: value for name, value in environment.items() if value}

    def uv_environment(self) -> t.Dict[str, str]:
        """For uv."""
        environment = {
            "UV_DEFAULT_INDEX": self.index_url or "",
            "UV_INDEX": " ".join(self.extra_index_urls),
            "UV_FIND_LINKS": ",".join(self.find_links),
            "UV_INSECURE_HOST": " ".join(self.trusted_hosts),
            "SSL_CERT_FILE": self.cert or "",
            "SSL_CLIENT_CERT": self.client_cert or "",
            "ALL_PROXY": self.proxy or "",
            "HTTPS_PROXY": self.proxy or "",
            "HTTP_PROXY": self.proxy or "",
        }
        return {name: value for name, value in environment.items() if value}


def host_sources(environ: t.Mapping[str, str], home: str, root: str = "/") -> PackageSources:
    """What pip on this host would use for ``pip install``: its configuration files and PIP_* variables."""
    files: t.Dict[str, t.Dict[str, str]] = {"global": {}, "install": {}}
    for path in _config_files(environ, home, root):
        for section, values in _read(path).items():
            files.setdefault(section, {}).update(values)
    settings = dict(files["global"], **files["install"])
    for name, value in environ.items():
        if name.startswith("PIP_"):
            settings.update(_usable({name[4:]: value}))
    return PackageSources(
        index_url=settings.get("index-url"),
        extra_index_urls=tuple(settings.get("extra-index-url", "").split()),
        find_links=tuple(settings.get("find-links", "").split()),
        trusted_hosts=tuple(settings.get("trusted-host", "").split()),
        cert=settings.get("cert"),
        client_cert=settings.get("client-cert"),
        proxy=settings.get("proxy"),
        no_index=_boolean(settings.get("no-index", "no")),
    )


def combine(
    host: PackageSources,
    index_url: t.Optional[str] = None,
    extra_index_urls: t.Sequence[str] = (),
    find_links: t.Sequence[str] = (),
    offline: bool = False,
) -> PackageSources:
    """The host's sources with what was asked for: an index replaces, the lists are added to."""
    return PackageSources(
        index_url=index_url or host.index_url,
        extra_index_urls=_added(extra_index_urls, host.extra_index_urls),
        find_links=_added(find_links, host.find_links),
        trusted_hosts=host.trusted_hosts,
        cert=host.cert,
        client_cert=host.client_cert,
        proxy=host.proxy,
        no_index=offline or host.no_index,
    )


def redact(text: str) -> str:
    """Without the user and password of any URL in it."""
    return re.sub(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^/\s'\"@]+@", r"\1***@", text)


def credentials(urls: t.Iterable[str]) -> t.Set[str]:
    """What stands before the @ in these URLs."""
    found = (re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/@]+)@", url) for url in urls)
    return {match.group(1) for match in found if match}


def _config_files(environ: t.Mapping[str, str], home: str, root: str) -> t.List[str]:
    """In the order in which they are read; a later one wins."""
    chosen = environ.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    shared = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    files = [os.path.join(root, directory.lstrip("/"), "pip", "pip.conf") for directory in shared if directory]
    files.append(os.path.join(root, "etc", "pip.conf"))
    if chosen and os.path.exists(chosen):
        return files + [chosen]
    files.append(os.path.join(home, ".pip", "pip.conf"))
    files.append(os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip", "pip.conf"))
    return files


def _read(path: str) -> t.Dict[str, t.Dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        with open(path, encoding="utf-8") as stream:
            parser.read_file(stream)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise GpufleetError("pip's configuration %s cannot be read: %s" % (path, redact(str(error)))) from None
    return {section: _usable(dict(parser.items(section))) for section in parser.sections()}


def _usable(values: t.Mapping[str, str]) -> t.Dict[str, str]:
    """Names as pip normalises them; an empty value counts as not set."""
    usable = {}
    for name, value in values.items():
        name = name.lower().replace("_", "-")
        if name.startswith("--"):
            name = name[2:]
        if value:
            usable[name] = value.strip()
    return usable


def _boolean(text: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise GpufleetError("pip's setting no-index is %r: write yes or no" % text)


def _added(first: t.Sequence[str], then: t.Sequence[str]) -> t.Tuple[str, ...]:
    return tuple(dict.fromkeys(list(first) + list(then)))
