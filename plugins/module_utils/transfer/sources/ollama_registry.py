# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model from a registry of Ollama's: its manifest and its blobs, laid out as Ollama has them on disk.

A revision's directory is a store of its own, which Ollama, ollama_bundle or rsync can take as it is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
import typing as t
import urllib.parse

from ...errors import GpufleetError
from ...models.ollama_names import HOST, Name
from ..files import ModelFile, problem_with
from ..ollama.manifest import MEDIA_TYPE, Manifest
from ..transports import web
from ..transports.terms import Terms
from .plain import Plain

_T = t.TypeVar("_T")


class LoginWanted(GpufleetError):
    """The registry answers to nobody without a token. ``challenge``: where it is given, and for what."""

    def __init__(self, message: str, challenge: str = "") -> None:
        super().__init__(message)
        self.challenge = challenge


class OllamaRegistrySource(Plain):
    """One model. Its ref is its tag, its revision is the digest of its manifest."""

    kind = "ollama_registry"

    def __init__(
        self,
        source: str,
        revision: t.Optional[str],
        transport: str,
        endpoint: t.Optional[str],
        token: t.Callable[[], t.Optional[str]],
        terms: Terms,
    ) -> None:
        self._name = Name.parse(source, "source")
        # Any host may have a model of that namespace and name, and the store knows two parts of a name.
        hosts = [] if self._name.host.lower() == HOST else [self._name.host.replace(":", "~")]
        self.name = "%s/%s" % ("~".join(hosts + [self._name.namespace]), self._name.model)
        if revision is not None and not re.fullmatch(r"[0-9a-f]{64}", revision):
            raise GpufleetError(
                "revision=%s: the tag of %s is a part of source. As revision give the digest that its manifest must have, "
                "64 hexadecimal digits, or none" % (revision, source)
            )
        self.revision = revision or self._name.tag
        self.endpoint = (endpoint or "https://" + self._name.host).rstrip("/")
        self._manifest: t.Optional[Manifest] = None
        self._login = threading.Lock()
        label = self._name.short + (" on %s" % self.endpoint if endpoint else "")
        super().__init__(label, transport, terms, token)

    def resolve(self) -> str:
        return self._asked().digest

    def listing(self, revision: str) -> t.List[ModelFile]:
        manifest = self._asked()
        files = [ModelFile("manifests/" + self._name.path, len(manifest.raw), sha256=manifest.digest)]
        for digest, size in manifest.blobs.items():
            files.append(ModelFile("blobs/" + digest.replace(":", "-"), size, sha256=digest.partition(":")[2]))
        return files

    def address(self, one: ModelFile, revision: str) -> str:
        if one.path.startswith("manifests/"):
            return "%s/manifests/%s" % (self._api(), self._name.tag)
        return "%s/blobs/sha256:%s" % (self._api(), one.sha256)

    def takes_together(self, files: t.Sequence[ModelFile]) -> t.List[ModelFile]:
        return super().takes_together([one for one in files if one.path.startswith("blobs/")])

    def fetch(self, one: ModelFile, revision: str, folder: str) -> str:
        if one.path.startswith("blobs/"):
            return self._with_login(lambda: super(OllamaRegistrySource, self).fetch(one, revision, folder))
        path = os.path.join(folder, one.path)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "wb") as out:
            out.write(self._asked().raw)
        if problem_with(path, one):
            os.unlink(path)
            raise GpufleetError(
                "%s has another manifest by now (%s instead of %s), and its blobs may be gone. Set state=latest to have what it "
                "is now" % (self.label, self._asked().digest, one.sha256)
            )
        return path

    def record_fields(self) -> t.Dict[str, t.Any]:
        return {"endpoint": self.endpoint}

    def refused(self, status: int, headers: t.Mapping[str, str], url: str) -> t.Optional[GpufleetError]:
        if status in (401, 403):
            return LoginWanted(
                "%s is not open to everybody (HTTP %d). Models that belong to an account of ollama.com are signed for by "
                "Ollama's own key: pull those with the module ollama_model. For another registry set token_file"
                % (self.label, status),
                headers.get("WWW-Authenticate", "") if status == 401 else "",
            )
        if status != 404:
            return None
        if "/manifests/" in url:
            return GpufleetError("There is no %s at %s: check the name and its tag" % (self._name.short, self.endpoint))
        return GpufleetError("%s names the blob %s and does not serve it" % (self.label, url.rpartition("/")[2]))

    def _api(self) -> str:
        return "%s/v2/%s/%s" % (self.endpoint, self._name.namespace, self._name.model)

    def _asked(self) -> Manifest:
        if self._manifest is None:
            url = "%s/manifests/%s" % (self._api(), self._name.tag)
            raw = self._with_login(lambda: self.client().content(url, accept=MEDIA_TYPE))
            self._manifest = Manifest.parse(raw, "%s: %s" % (self.label, url))
        return self._manifest

    def _with_login(self, call: t.Callable[[], _T]) -> _T:
        """A registry may want a token even of who may read without one, and tokens end while a long file comes."""
        self.prepare()
        used = self.token
        try:
            return call()
        except LoginWanted as wanted:
            with self._login:
                if self.token == used:  # otherwise another thread came first
                    self.log_in(self._new_token(wanted))
            return call()

    def _new_token(self, wanted: LoginWanted) -> str:
        """As registries give it to everybody (distribution.github.io/distribution/spec/auth/token)."""
        kind, _space, rest = wanted.challenge.partition(" ")
        told = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = told.pop("realm", "")
        secure = realm.startswith("https://") or (realm.startswith("http://") and self.endpoint.startswith("http://"))
        if kind.lower() != "bearer" or not secure:
            raise wanted
        asked = {key: told[key] for key in ("service", "scope") if key in told}
        client = web.Web(dataclasses.replace(web.Access.on(self.terms), retries=1))
        try:
            answer = json.loads(client.text("%s?%s" % (realm, urllib.parse.urlencode(asked))))
            token = answer.get("token") or answer.get("access_token")
        except (GpufleetError, ValueError, AttributeError):
            raise wanted from None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise wanted
        return token
