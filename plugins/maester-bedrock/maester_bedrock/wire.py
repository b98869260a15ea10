"""botocore's client for Bedrock, with limits in time that belong to a call and not to the client.

botocore serialises, signs, and parses. The exchange itself is made here, from the event
``before-send``: so each read of an answer is given no more time than its call has left, and a caller
that goes away closes the connection.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.tokens import FrozenAuthToken
from botocore.utils import get_environ_proxies

from maester.errors import BadProviderResponse

from .options import Options
from .terms import Terms

_READ_BYTES = 65_536

_SOCKET_OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
"""Those of botocore's own connections. Without the first, head and body of a request wait for each other
(40 ms); the second keeps routers from forgetting a connection on which a model thinks."""


@dataclass(slots=True)
class _UnderWay:
    """What the exchange of one call needs and botocore does not pass on."""

    provider: str
    terms: Terms
    headers: Mapping[str, str]
    timeout: urllib3.Timeout | None = None


_under_way: ContextVar[_UnderWay] = ContextVar("maester_bedrock_under_way")


class Wire:
    """A client and its connections. Safe to share between threads and greenlets, not with a fork.

    :raises BotoCoreError: if there is no region, no such profile, or an address that is none.
    """

    def __init__(self, options: Options) -> None:
        session = Session(profile=options.profile)
        if options.bearer_token:
            session.get_component("token_provider").insert_before("env", _FixedToken(options.bearer_token))
        self._client = session.create_client(
            "bedrock-runtime",
            # botocore itself knows AWS_DEFAULT_REGION alone; every other AWS SDK reads AWS_REGION first.
            region_name=options.region or os.environ.get("AWS_REGION") or None,
            endpoint_url=options.endpoint_url,
            config=Config(
                # Every attempt must be Maester's to see, count and charge.
                retries={"total_max_attempts": 1, "mode": "standard"},
                signature_version="bearer" if options.bearer_token else None,
                user_agent_extra=f"maester/{metadata.version('maester')}",
            ),
        )
        self._connections = _Connections(
            verify=session.get_config_variable("ca_bundle") or True,
            proxies=get_environ_proxies(self._client.meta.endpoint_url),
            timeout=(options.connect_timeout_s, options.first_byte_timeout_s),
            max_pool_connections=options.max_connections,
            socket_options=_SOCKET_OPTIONS,
        )
        self._client.meta.events.register("before-send.bedrock-runtime", self._exchange)

    def call(
        self,
        operation: str,
        payload: Mapping[str, Any],
        *,
        provider: str,
        terms: Terms,
        headers: Mapping[str, str],
    ) -> dict[str, Any]:
        """Make a call.

        :param operation: ``converse`` or ``converse_stream``.
        :param payload: its parameters.
        :param headers: to send along, unsigned: what stands between may rewrite them.
        :returns: what botocore makes of the answer.
        :raises Exception: for `failures.error_of`.
        """
        token = _under_way.set(_UnderWay(provider, terms, headers))
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**payload)
        finally:
            _under_way.reset(token)
        return answer

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()
        self._client.close()

    def _exchange(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        under_way = _under_way.get()
        for name, value in under_way.headers.items():
            request.headers[name] = value
        terms = under_way.terms
        # Inside of send an error for a deadline that has passed would be wrapped.
        under_way.timeout = urllib3.Timeout(
            total=terms.limit(terms.connect_s + terms.first_byte_s),
            connect=terms.connect_s,
            read=terms.first_byte_s,
        )
        request.stream_output = True
        answer = self._connections.send(request)
        body = Body(answer.raw, under_way.provider, terms)
        return AWSResponse(answer.url, answer.status_code, answer.headers, body)


class Body:
    """The body of an answer under way, as botocore reads it.

    :param raw: urllib3's response.
    """

    def __init__(self, raw: urllib3.HTTPResponse, provider: str, terms: Terms) -> None:
        self._raw = raw
        self._provider = provider
        self._terms = terms
        length = raw.headers.get("content-length", "")
        self._missing = int(length) if length.isdigit() else None

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        """The bytes, as they arrive.

        :raises ProviderTimeout: when the next ones take too long, or all of them do.
        :raises BadProviderResponse: when the connection ends before the body does.
        """
        whole = False
        try:
            while data := self._read():
                if self._missing is not None:
                    self._missing -= len(data)
                yield data
            if self._missing:
                raise self._broken(f"{self._missing} bytes are missing")
            whole = True
        finally:
            if not whole:
                self.close()

    def close(self) -> None:
        """Hang up, if the answer is not at its end."""
        self._raw.close()

    def _read(self) -> bytes:
        terms = self._terms
        limit = terms.limit(terms.idle_s)
        connection = self._raw.connection
        connected = getattr(connection, "sock", None)
        if connected is not None:
            connected.settimeout(limit)
        try:
            return self._raw.read1(_READ_BYTES)
        except urllib3.exceptions.ReadTimeoutError:
            if terms.left() <= 0:
                raise terms.late() from None
            raise terms.slow("nothing more of the answer", limit, "idle") from None
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise self._broken(str(exc)) from exc

    def _broken(self, why: str) -> BadProviderResponse:
        message = f"Provider {self._provider} broke its answer off: {why}."
        return BadProviderResponse(message, provider=self._provider)


class _Connections(URLLib3Session):  # type: ignore[misc]
    """botocore's connections, with limits in time for a request instead of for all of them."""

    def _get_request_timeout(self, request: AWSPreparedRequest) -> urllib3.Timeout | None:
        return _under_way.get().timeout


class _FixedToken:
    """A bearer token out of the configuration, in the form of botocore's token providers."""

    METHOD = "maester-configuration"

    def __init__(self, token: str) -> None:
        self._token = token

    def load_token(self, **_: Any) -> FrozenAuthToken:
        return FrozenAuthToken(self._token)
