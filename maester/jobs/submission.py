"""From a body to a job: what ``POST /v1/jobs``, ``POST /v1/batches`` and ``maester jobs submit`` do."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from maester import tracecontext
from maester.checks import parse_checks, resolve_checks
from maester.errors import Conflict, Forbidden, InvalidRequest, RequestError, UnknownModel
from maester.model import Caller
from maester.runtime import Runtime
from maester.tracing import TraceContext
from maester.web import job_schemas
from maester.web.attribution import attribution_of
from maester.web.filters import moment
from maester.web.intake import whole, written_checks
from maester.web.schemas import check

from .addresses import check_address
from .model import GENERATE, PREFIXES, Job, Json, Kind, NewItem, new_id
from .reading import MAX_PROBLEMS, Defaults, Entry, Reader, Unfit

if TYPE_CHECKING:
    from .service import Jobs

_BREATH = 500
"""Requests that are judged before other greenlets get their turn."""

_WINDOW_S = 86_400.0
_LONGEST_URL = 2048


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job comes from.

    :param request_id: of the request that makes it.
    :param trace: the trace that all of its inferences belong to.
    :param environ: the request's headers as WSGI has them, for attribution.
    """

    request_id: str
    trace: TraceContext
    caller: Caller | None = None
    idempotency_key: str | None = None
    environ: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """To whom the job belongs; empty where the service is open."""
        return self.caller.key_id if self.caller is not None else ""


class Submission:
    """Makes jobs from bodies.

    :param runtime: whose models and evaluators requests are held against.
    """

    def __init__(self, runtime: Runtime, jobs: Jobs) -> None:
        self._runtime = runtime
        self._jobs = jobs
        self._settings = runtime.settings.jobs

    def job(self, body: Json, origin: Origin) -> tuple[Job, bool]:
        """Make a job from a body of ``POST /v1/jobs``.

        :returns: the job and whether it was made, see `Jobs.submit`.
        :raises RequestError: when something is wrong with it; ``problems`` then has what is wrong with
            each request.
        :raises QueueUnavailable: when there is no Redis.
        """
        kind = body.get("kind", "generate")
        schema = job_schemas.SCHEMAS.get(kind) if type(kind) is str else None
        if schema is None:
            raise InvalidRequest("`kind` must be generate or evaluate.", param="kind")
        request_hash = _hash("/v1/jobs", body, origin)
        earlier = self._earlier(request_hash, origin)
        if earlier is not None:
            return earlier, False
        check(schema, body)
        job = self._new(kind, body, origin, request_hash)
        if kind == "evaluate":
            return self._jobs.submit(self._evaluation(job, body), None)
        return self._generation(job, body, origin)

    def batch(self, body: Json, origin: Origin) -> tuple[Job, bool]:
        """Make a batch from a body of ``POST /v1/batches``; a worker reads and checks its file.

        :returns: see `job`.
        :raises NotFound: when there is no such file.
        :raises InvalidRequest: when something else is wrong with it.
        :raises QueueUnavailable: when there is no Redis.
        """
        request_hash = _hash("/v1/batches", body, origin)
        earlier = self._earlier(request_hash, origin)
        if earlier is not None:
            return earlier, False
        check(job_schemas.BATCH, body)
        file = self._jobs.files.require(body["input_file_id"], origin.owner)
        if file.purpose != "batch":
            raise InvalidRequest(
                f"The file {file.id} has the purpose {file.purpose!r}; upload it with `batch`.",
                param="input_file_id",
            )
        job = self._new("batch", {**body, "timeout_s": _WINDOW_S}, origin, request_hash)
        expires = body.get("output_expires_after")
        spec = {**job.spec, "output_keep_s": expires["seconds"] if expires else None}
        made = replace(job, spec=spec, endpoint=body["endpoint"], input_file_id=file.id)
        return self._jobs.submit(made, None)

    def _earlier(self, request_hash: str | None, origin: Origin) -> Job | None:
        """The job that was made with the same key before, unless its maker still has to write it down."""
        if request_hash is None or origin.idempotency_key is None:
            return None
        found = self._jobs.store.earlier(origin.owner, origin.idempotency_key, request_hash)
        unmade = found is not None and found.state == "validating" and found.kind == "generate"
        return None if unmade and found is not None and found.input_file_id is None else found

    def _new(self, kind: Kind, body: Json, origin: Origin, request_hash: str | None) -> Job:
        now, settings = time.time(), self._settings
        caller, trace = origin.caller, origin.trace
        spec: Json = {
            "caller": None,
            "trace": tracecontext.inject(trace, trace.span_id),
            "metadata": body.get("metadata") or {},
            "on_interrupted": body.get("on_interrupted", "retry"),
        }
        if caller is not None:
            spec["caller"] = {"key_id": caller.key_id, "name": caller.name, "models": list(caller.models)}
        return Job(
            id=new_id(PREFIXES[kind]),
            kind=kind,
            state="validating",
            created_at=now,
            deadline=now + body.get("timeout_s", settings.timeout_s),
            total=0,
            concurrency=int(min(body.get("concurrency", settings.concurrency), settings.concurrency)),
            owner=origin.owner,
            spec=spec,
            request_id=origin.request_id,
            trace_id=trace.trace_id,
            idempotency_key=origin.idempotency_key,
            idempotency_hash=request_hash,
            webhook_url=self._webhook(body.get("webhook")),
        )

    def _webhook(self, asked: Json | None) -> str | None:
        """Where to tell of the job's end, if that can be done."""
        if not asked:
            return None
        if self._settings.webhook_secret is None:
            raise Conflict(
                "No webhooks are sent from here: `jobs.webhook_secret` is not set in the configuration.",
                param="webhook",
            )
        url: str = asked["url"]
        if len(url) > _LONGEST_URL or not (url.isascii() and url.isprintable()):
            raise InvalidRequest(
                f"`webhook.url` must have at most {_LONGEST_URL} characters, all of ASCII.",
                param="webhook.url",
            )
        check_address(url, self._settings.webhook_hosts)
        return url

    def _generation(self, job: Job, body: Json, origin: Origin) -> tuple[Job, bool]:
        about = attribution_of(origin.environ, {"user": body.get("user")}, body.get("tags"))
        spec = {
            **job.spec,
            "tags": dict(about.tags),
            "user": about.user,
            "session": body.get("session") or about.session,
        }
        defaults = {name: body[name] for name in ("url", "model", "evaluate", "on_failure") if body.get(name)}
        requests, file_id = body.get("requests"), body.get("file")
        if (requests is None) == (file_id is None):
            raise InvalidRequest("Send either `requests` or `file`.", param="requests")
        checks = parse_checks(written_checks(body.get("evaluate")), param="evaluate")
        if checks:
            resolve_checks(checks, self._runtime.registry.evaluators)
        job = replace(job, spec=spec, endpoint=body.get("url", GENERATE))
        if requests is None:
            file = self._jobs.files.require(str(file_id), origin.owner)
            job = replace(job, input_file_id=file.id, spec={**spec, "defaults": defaults})
            return self._jobs.submit(job, None)
        if len(requests) > self._settings.max_items:
            raise InvalidRequest(
                f"The job has {len(requests)} requests; at most {self._settings.max_items} are taken."
                " Larger jobs are made from a `file`.",
                param="requests",
            )
        reader = Reader(self._runtime, caller=origin.caller, defaults=Defaults(**defaults))
        entries = _judged(reader, requests)
        requests.clear()  # a large body is not kept in memory while it is written down
        return self._jobs.submit(replace(job, total=len(entries)), _items(entries))

    def _evaluation(self, job: Job, body: Json) -> Job:
        written = written_checks(body["evaluators"])
        checks = parse_checks(written, param="evaluators")
        if not checks:
            raise InvalidRequest("`evaluators` must name at least one.", param="evaluators")
        resolve_checks(checks, self._runtime.registry.evaluators, param="evaluators")
        names = ("model", "provider", "status", "sample", "limit")
        chosen: Json = {name: whole(body[name]) for name in names if name in body}
        for name in ("since", "until"):
            if name in body:
                chosen[name] = moment({name: str(body[name])}, name)
        # What comes in after the job was made is not of it, however often its selection is made again.
        chosen.setdefault("until", job.created_at)
        chosen["tags"] = dict(attribution_of({}, {}, body.get("tags")).tags)
        return replace(job, spec={**job.spec, "checks": written, "select": chosen})


def _judged(reader: Reader, requests: Sequence[Any]) -> list[Entry]:
    entries: list[Entry] = []
    problems: list[Unfit] = []
    shown: list[Json] = []
    for index, value in enumerate(requests):
        if index % _BREATH == 0:
            time.sleep(0)
        try:
            entry = reader.entry(value)
            reader.judge(entry)
            entries.append(entry)
        except Unfit as unfit:
            problems.append(unfit)
            if len(shown) < MAX_PROBLEMS:
                shown.append(_problem(index, value, unfit))
    if problems:
        raise _refusal(problems, shown, len(requests))
    return entries


def _problem(index: int, value: Any, unfit: Unfit) -> Json:
    where = f"requests[{index}]"
    return {
        "index": index,
        "custom_id": value.get("custom_id") if type(value) is dict else None,
        "code": unfit.code,
        "message": unfit.message,
        "param": f"{where}.{unfit.param}" if unfit.param else where,
    }


def _refusal(problems: Sequence[Unfit], shown: Sequence[Json], total: int) -> RequestError:
    """One error for all of them: of their own kind where all are alike, as a single request would get."""
    kinds = {type(problem.error) for problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else InvalidRequest
    told = "it is" if len(shown) == 1 else f"the first {len(shown)} are" if len(shown) > 1 else ""
    first = shown[0]
    message = (
        f"{len(problems)} of {total} requests cannot be run, so nothing was made; {told} listed in `errors`."
        f" {first['param']}: {first['message']}"
    )
    error = kind if kind in (UnknownModel, Forbidden) else InvalidRequest
    return error(message, param=first["param"], problems=tuple(shown))


def _items(entries: list[Entry]) -> Iterator[NewItem]:
    """The items, each entry let go of once it is written."""
    entries.reverse()
    while entries:
        yield entries.pop().item()


def _hash(address: str, body: Json, origin: Origin) -> str | None:
    """What tells one request with an idempotency key from another: the same JSON has the same."""
    if origin.idempotency_key is None:
        return None
    digest = hashlib.sha256(address.encode())
    digest.update(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest()


def idempotency_key(header: str | None) -> str | None:
    """The value of ``Idempotency-Key``, which may come as a quoted string or bare.

    Source: draft-ietf-httpapi-idempotency-key-header-07 §2.1 (an RFC 9651 String).

    :raises InvalidRequest: when it could not be kept as it is.
    """
    if header is None:
        return None
    value = header.strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not 0 < len(value) <= 255 or not value.isascii() or not value.isprintable():
        raise InvalidRequest(
            "`Idempotency-Key` must be 1 to 255 printable ASCII characters.", param="idempotency-key"
        )
    return value
