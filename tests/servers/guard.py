"""A gate in front of moto that judges conditions too: prefixes of listings, If-None-Match.

Each request is turned into action, resource and condition keys as the AWS service authorization
reference has them, and refused where :func:`servers.iam.allows` says no. As on AWS, a missing
object is refused rather than reported missing where its key may not be listed. Every request
counts as sent over TLS, since the loopback has none.
"""

from __future__ import annotations

import io
import logging
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from tests.servers.iam import allows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Application = Callable[[dict[str, Any], Callable[..., Any]], Any]

_KEY_ID = re.compile(r"Credential=([^/]+)/")
_OBJECT_ACTIONS = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "POST": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}
_REFUSAL = (
    "<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>{code}</Code>"
    "<Message>{code}</Message><RequestId>1</RequestId></Error>"
)


@dataclass
class Guard:
    """A running gate.

    Attributes:
        url: where it listens.
        policies: by access key; a key that is not here may do everything.
        refused: what was refused, in order.
        before: called with each request, which it may hold up or alter; if it gives a status, that
            is the answer.
        after: called with each answer, whose headers it may alter; gives the body.
    """

    url: str = ""
    policies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    before: Callable[[dict[str, Any]], str | None] | None = None
    after: Callable[[dict[str, Any], list[tuple[str, str]], bytes], bytes] | None = None

    def admit(self, environ: dict[str, Any]) -> tuple[bool, bool]:
        """Whether a request is allowed, and whether a missing object may be called missing."""
        found = _KEY_ID.search(environ.get("HTTP_AUTHORIZATION", ""))
        documents = self.policies.get(found.group(1) if found else "")
        path = unquote(environ["RAW_URI"].split("?")[0], errors="strict").lstrip("/")
        if documents is None or path.startswith("moto-api"):
            return True, True
        for action, arn, context in _requests(environ, path):
            if not allows(documents, action, arn, context):
                self.refused.append(f"{action} {arn} {context.get('s3:prefix', '')}".strip())
                return False, False
        bucket, _, key = path.partition("/")
        seen = {"aws:SecureTransport": "true", "s3:prefix": key}
        return True, allows(documents, "s3:ListBucket", f"arn:aws:s3:::{bucket}", seen)


def _requests(environ: dict[str, Any], path: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A request, or the deletions that a bulk request consists of."""
    if environ["REQUEST_METHOD"] != "POST" or "delete" not in environ["QUERY_STRING"].split("&"):
        yield _request(environ, path)
        return
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)
    for element in ElementTree.fromstring(body).iter():
        if element.tag.rpartition("}")[2] == "Key":
            arn = f"arn:aws:s3:::{path.strip('/')}/{element.text}"
            yield "s3:DeleteObject", arn, {"aws:SecureTransport": "true"}


def _request(environ: dict[str, Any], path: str) -> tuple[str, str, dict[str, str]]:
    method = environ["REQUEST_METHOD"]
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    context = {"aws:SecureTransport": "true"}
    bucket, _, key = path.partition("/")
    if not bucket:
        return "s3:ListAllMyBuckets", "*", context
    if not key:
        if "prefix" in query:
            context["s3:prefix"] = query["prefix"][0]
        listing = method == "HEAD" or (method == "GET" and ("list-type" in query or not query))
        kinds = set(query) & {"policy", "publicAccessBlock", "versioning", "location", "uploads"}
        action = "s3:ListBucket" if listing else f"s3:Bucket-{method}-{'-'.join(sorted(kinds))}"
        return action, f"arn:aws:s3:::{bucket}", context
    action = _OBJECT_ACTIONS[method]
    if method == "DELETE" and "uploadId" in query:
        action = "s3:AbortMultipartUpload"
    elif method == "GET" and "uploadId" in query:
        action = "s3:ListMultipartUploadParts"
    elif action == "s3:PutObject":
        part = (method == "PUT" and "uploadId" in query) or "uploads" in query
        context["s3:ObjectCreationOperation"] = "false" if part else "true"
        if "HTTP_IF_NONE_MATCH" in environ:
            context["s3:if-none-match"] = environ["HTTP_IF_NONE_MATCH"]
    return action, f"arn:aws:s3:::{bucket}/{key}", context


@contextmanager
def guarded_moto() -> Iterator[Guard]:
    """A moto server behind a gate, empty, and gone afterwards."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    guard = Guard()
    inner = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", 0, _gate(guard, inner), threaded=True, request_handler=MotoRequestHandler
    )
    guard.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield guard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _gate(guard: Guard, inner: Application) -> Application:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        told = guard.before(environ) if guard.before is not None else None
        if told is not None:
            return _refuse(environ, start_response, told)
        allowed, may_know = guard.admit(environ)
        if not allowed:
            return _refuse(environ, start_response)
        answer: list[Any] = []
        body = inner(environ, lambda status, headers, *_: answer.extend((status, headers)))
        content = b"".join(body)
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        if reads and not may_know and answer[0].startswith("404"):
            return _refuse(environ, start_response)
        if guard.after is not None:
            content = guard.after(environ, answer[1], content)
        start_response(answer[0], answer[1])
        return [content]

    return application


def _refuse(
    environ: dict[str, Any], start_response: Callable[..., Any], status: str = "403 AccessDenied"
) -> list[bytes]:
    # What the client still sends has to be read, or it sees a broken connection instead.
    stream = environ["wsgi.input"]
    if environ.get("CONTENT_LENGTH"):
        stream.read(int(environ["CONTENT_LENGTH"]))
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else _REFUSAL.format(code=status[4:]).encode()
    start_response(status, [("Content-Type", "application/xml")])
    return [body]
