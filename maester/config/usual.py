"""Providers that are on without any file, because the variables that everybody uses are set.

The names are those that the providers' own SDKs and tools read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from .layers import DEFAULT, Layers, Origin, Path

OLLAMA_PORT = 11434


@dataclass(frozen=True, slots=True)
class Usual:
    """What a provider's variables say.

    :param settings: path inside the provider's table → variables, of which the first that is set is
        taken.
    :param turned_on_by: sets of settings; the provider is on when every one of a set is there.
    :param converted: settings whose variable is not in the form of the setting.
    """

    settings: Mapping[Path, tuple[str, ...]]
    turned_on_by: tuple[tuple[Path, ...], ...]
    converted: Mapping[Path, Callable[[str], str]] = field(default_factory=dict)


def ollama_address(host: str) -> str:
    """``OLLAMA_HOST``, which says where the server listens, as the address to call.

    ``host``, ``host:port``, ``:port``, ``[::1]:port`` and full URLs. Without a scheme the port is
    11434 unless given, with one it is the scheme's; an address that means "all of them" is called on
    the loopback.
    """
    text = host.strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    rest, slash, path = rest.partition("/")
    name, port = _split_port(rest)
    if not port and not separator:
        port = str(OLLAMA_PORT)
    name = _callable_host(name)
    return f"{scheme}://{name}{f':{port}' if port else ''}{slash}{path}".rstrip("/")


def _split_port(place: str) -> tuple[str, str]:
    if place.count(":") > 1 and not place.startswith("["):
        return place, ""
    name, colon, port = place.rpartition(":")
    if colon and not port.endswith("]"):
        return name, port
    return place, ""


def _callable_host(name: str) -> str:
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return name or "127.0.0.1"
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return str(address) if address.version == 4 else f"[{address}]"


_KEY, _URL = ("api_key",), ("base_url",)

USUAL: Mapping[str, Usual] = {
    "openai": Usual(
        {
            _KEY: ("OPENAI_API_KEY",),
            _URL: ("OPENAI_BASE_URL",),
            ("options", "organization"): ("OPENAI_ORG_ID",),
            ("options", "project"): ("OPENAI_PROJECT_ID",),
        },
        ((_KEY,), (_URL,)),
    ),
    "anthropic": Usual({_KEY: ("ANTHROPIC_API_KEY",), _URL: ("ANTHROPIC_BASE_URL",)}, ((_KEY,),)),
    "gemini": Usual({_KEY: ("GEMINI_API_KEY", "GOOGLE_API_KEY")}, ((_KEY,),)),
    "azure": Usual(
        {
            _KEY: ("AZURE_OPENAI_API_KEY",),
            _URL: ("AZURE_OPENAI_ENDPOINT",),
            ("options", "api_version"): ("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"),
        },
        ((_KEY, _URL),),
    ),
    "ollama": Usual({_URL: ("OLLAMA_HOST",)}, ((_URL,),), {_URL: ollama_address}),
}
"""Provider's name (and type) → its variables."""


def lay_usual(layers: Layers, environ: Mapping[str, str]) -> None:
    """Fill in under the file and the ``MAESTER_*`` variables what the usual variables say."""
    providers = layers.values.setdefault("providers", {})
    if not isinstance(providers, dict):
        return
    for name, usual in USUAL.items():
        said = _said(usual, environ)
        on = any(all(path in said for path in paths) for paths in usual.turned_on_by)
        table = providers.get(name)
        if table is None and not on:
            continue
        if table is not None and not _takes(table, name):
            continue
        for path, (value, variable) in said.items():
            whole = ("providers", name, *path)
            if layers.get(whole) is None:
                layers.put(whole, value, lambda _, variable=variable: Origin(variable=variable))  # type: ignore[misc]
    if "echo" not in providers:
        layers.put(("providers", "echo", "type"), "echo", lambda _: DEFAULT)


def lay_types(layers: Layers, types: tuple[str, ...]) -> None:
    """Say the type of providers that are called like one."""
    providers = layers.values.get("providers")
    for name, table in providers.items() if isinstance(providers, dict) else ():
        if isinstance(table, dict) and "type" not in table and name in types:
            layers.put(("providers", name, "type"), name, lambda _: DEFAULT)


def _said(usual: Usual, environ: Mapping[str, str]) -> dict[Path, tuple[str, str]]:
    found: dict[Path, tuple[str, str]] = {}
    for path, variables in usual.settings.items():
        for variable in variables:
            text = environ.get(variable, "").strip()
            if text:
                convert = usual.converted.get(path)
                found[path] = (convert(text) if convert else text, variable)
                break
    return found


def _takes(table: object, name: str) -> bool:
    """Whether a provider's table is one that the usual variables may fill in."""
    if not isinstance(table, dict) or table.get("enabled") is False:
        return False
    kind = table.get("type", name)
    return isinstance(kind, str) and kind.lower() == name
