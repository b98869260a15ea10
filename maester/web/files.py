"""``/v1/files``: OpenAI's files, which batches and jobs are made from and answer with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import IO, Any

from flask import Blueprint, Response, request
from gunicorn.http.errors import ParseException
from marshmallow import ValidationError
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import dump_options_header

from maester.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from maester.jobs.documents import file_document
from maester.jobs.files import PART_BYTES

from .answer import Answer
from .answers import json_response
from .body import Arrival, BodyLimits, check_length
from .job_schemas import check_expiry
from .jobs import owner_of
from .paging import after_of, check_names, page, whole_of, word_of
from .schemas import first_message
from .service import Service

Json = dict[str, Any]

PURPOSES = ("batch", "user_data")
"""Purposes that a file may be uploaded for."""

LARGEST_PAGE = 10_000
_FRAMING = 65_536
"""Bytes of a form beside the file in it."""
_DAY_S = 86_400
_LONGEST_NAME = 255
_FIELDS = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})
_MEDIA: Mapping[str, str] = {"jsonl": "application/jsonl", "json": "application/json"}


def blueprint(service: Service) -> Blueprint:
    """The views over a service."""
    views = Blueprint("files", __name__)
    settings = service.runtime.settings.jobs
    limits = replace(service.limits, max_bytes=settings.max_body_bytes)

    @views.post("/v1/files")
    def create_file() -> Answer:
        owner = owner_of(service)
        upload = _uploaded(limits)
        purpose, keep_s = _asked()
        longest = settings.keep_days * _DAY_S
        file = service.jobs.files.create(
            _pieces(upload.stream, settings.max_body_bytes),
            owner=owner,
            filename=_name(upload),
            purpose=purpose,
            keep_s=longest if keep_s is None else min(keep_s, longest),
        )
        return json_response(file_document(file))

    @views.get("/v1/files")
    def list_files() -> Answer:
        owner, query = owner_of(service), request.args
        check_names(query, "after", "limit", "order", "purpose")
        purpose = query.get("purpose")
        if purpose is not None and (len(purpose) > _LONGEST_NAME or "\x00" in purpose):
            raise InvalidRequest("`purpose` must be a short text.", param="purpose")
        limit = whole_of(query, "limit", LARGEST_PAGE, most=LARGEST_PAGE)
        found = service.jobs.files.list(
            owner=owner,
            purpose=purpose,
            after=after_of(query),
            limit=limit + 1,
            oldest_first=word_of(query, "order", ("asc", "desc")) == "asc",
        )
        return json_response(page(found, limit, file_document))

    @views.get("/v1/files/<file>")
    def get_file(file: str) -> Answer:
        return json_response(file_document(service.jobs.files.require(file, owner_of(service))))

    @views.delete("/v1/files/<file>")
    def delete_file(file: str) -> Answer:
        service.jobs.files.delete(file, owner_of(service))
        return json_response({"id": file, "object": "file", "deleted": True})

    @views.get("/v1/files/<file>/content")
    def get_file_content(file: str) -> Response:
        files = service.jobs.files
        found = files.require(file, owner_of(service))
        headers = {
            "content-length": str(found.bytes),
            "content-disposition": dump_options_header("attachment", {"filename": found.filename}),
            "x-content-type-options": "nosniff",
        }
        media = _MEDIA.get(found.filename.rpartition(".")[2].lower(), "application/octet-stream")
        return Response(files.parts(file), 200, headers, content_type=media, direct_passthrough=True)

    return views


def _uploaded(limits: BodyLimits) -> FileStorage:
    """The file of the form that the current request is: in memory while it is small, else on disk."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send a file as `multipart/form-data`, with `purpose` and `file`.")
    request.max_content_length = limits.max_bytes + _FRAMING
    try:
        with Arrival(request.environ, limits):
            check_length(request.environ, request.max_content_length)
            found = request.files.getlist("file")
    except RequestEntityTooLarge as exc:
        raise _too_large(limits.max_bytes) from exc
    except (OSError, ParseException) as exc:
        raise InvalidRequest("The body could not be read: it is broken off or wrongly framed.") from exc
    if len(found) != 1 or len(request.files) != 1:
        raise InvalidRequest("Send one file, as the part `file`.", param="file")
    return found[0]


def _asked() -> tuple[str, float | None]:
    """The purpose, and for how many seconds the file is to be kept."""
    form = request.form
    for name in form:
        if name not in _FIELDS:
            raise InvalidRequest(f"There is no field {name[:80]!r}.", param=name[:80])
    purpose = form.get("purpose")
    if purpose not in PURPOSES:
        raise InvalidRequest(f"`purpose` must be one of: {', '.join(PURPOSES)}.", param="purpose")
    anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return purpose, None
    whole = seconds is not None and seconds.isascii() and seconds.isdigit() and len(seconds) < 10
    expiry: Json = {"anchor": anchor, "seconds": int(seconds or 0) if whole else seconds}
    try:
        check_expiry(expiry)
    except ValidationError as exc:
        path, explanation = first_message({"expires_after": exc.messages})
        raise InvalidRequest(f"`{path}` {explanation}", param=path) from exc
    return purpose, float(expiry["seconds"])


def _pieces(stream: IO[bytes], max_bytes: int) -> Iterator[bytes]:
    size = 0
    while piece := stream.read(PART_BYTES):
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield piece


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"A file may have at most {max_bytes} bytes.", param="file")


def _name(upload: FileStorage) -> str:
    """The file's own name, without folders and what cannot be kept."""
    name = (upload.filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in name if char.isprintable())[:_LONGEST_NAME] or "upload"
