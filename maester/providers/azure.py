"""Azure OpenAI: OpenAI's format under a resource's own address.

Two forms of address exist (Azure OpenAI REST reference): ``{endpoint}/openai/v1/…``, where the
deployment stands in the body as the model, and the older dated one,
``{endpoint}/openai/deployments/{deployment}/…?api-version=…``. In both, the deployment's name is not
the model's; what answered, and is billed, is in the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from maester.errors import ConfigError
from maester.settings import ProviderSettings

from . import options
from .client import Client
from .openai import COMMON_OPTIONS, OpenAI
from .transport import Transport

_AUTH: options.Check = (lambda value: value in ("api-key", "bearer"), "api-key or bearer")


class Azure(OpenAI):
    """The provider type ``azure``; ``base_url`` is the resource's endpoint.

    Options besides those of `maester.providers.openai.OpenAI`:

    - ``api_version``: a date (``2024-10-21``) selects the older form of address; without one, or with
      ``v1``, ``preview`` or ``latest``, the newer form is used.
    - ``auth``: ``api-key`` (the default), or ``bearer`` for a Microsoft Entra token in ``api_key``.
    """

    type = "azure"
    _known_options: ClassVar[Mapping[str, options.Check]] = {
        **COMMON_OPTIONS,
        "api_version": options.TEXT,
        "auth": _AUTH,
    }

    def _make_client(self, settings: ProviderSettings, transport: Transport | None) -> Client:
        key = f"providers.{settings.name}"
        if not settings.base_url:
            raise ConfigError(
                f"{key}.base_url is missing: the endpoint, as in https://NAME.openai.azure.com "
                "(AZURE_OPENAI_ENDPOINT).",
                param=f"{key}.base_url",
            )
        headers = self._own_headers()
        if settings.api_key:
            if self._options.get("auth") == "bearer":
                headers["Authorization"] = f"Bearer {settings.api_key}"
            else:
                headers["api-key"] = settings.api_key
        version = self._options.get("api_version", "v1")
        self._dated = version not in ("v1", "preview", "latest")
        endpoint = settings.base_url.rstrip("/")
        for suffix in ("/v1", "/openai"):
            endpoint = endpoint.removesuffix(suffix)
        base = f"{endpoint}/openai" if self._dated else f"{endpoint}/openai/v1"
        query = "" if version == "v1" else f"api-version={quote(version, safe='')}"
        return Client(settings, base, headers, query=query, transport=transport)

    def _path(self, model: str, operation: str) -> str:
        return f"/deployments/{quote(model, safe='')}{operation}" if self._dated else operation
