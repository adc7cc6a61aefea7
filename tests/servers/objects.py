"""A small S3 service in a process of its own, for rates: 10,000 requests a second, any latency.

It keeps objects in memory, checks no signature, and can be told to know no conditional puts, as
some services do. Run as a script it prints its port; :func:`object_server` does that.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import urllib.request
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlencode
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAMP = "2026-01-01T00:00:00.000Z"
_REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    404: "Not Found",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    501: "Not Implemented",
}


class ObjectServer:
    """The service seen from outside.

    Attributes:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def latency(self, seconds: float) -> None:
        """Answer every request so much later."""
        self._tell("latency", seconds=seconds)

    def load(self, folder: Path, bucket: str, prefix: str) -> int:
        """Take in the files of a folder; their number."""
        return int(self._tell("load", folder=str(folder), bucket=bucket, prefix=prefix)["count"])

    def fill(self, bucket: str, prefix: str, count: int) -> None:
        """Make up so many small objects."""
        self._tell("fill", bucket=bucket, prefix=prefix, count=count)

    def counts(self) -> dict[str, int]:
        """Requests by method since the last call, and the most that were in flight."""
        return self._tell("counts")

    def _tell(self, what: str, **arguments: object) -> dict[str, int]:
        request = urllib.request.Request(f"{self.url}/-/{what}?{urlencode(arguments)}")
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, int] = json.loads(answer.read())
        return found


@contextmanager
def object_server(
    *, conditional: str = "honoured", address: str = "127.0.0.1"
) -> Iterator[ObjectServer]:
    """Start a service, and stop it afterwards.

    Args:
        conditional: what becomes of conditional puts: ``honoured``, ``ignored`` or ``refused``.
        address: of this machine, to listen on.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, conditional, address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield ObjectServer(f"http://{address}:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


@dataclass
class _Stored:
    data: bytes
    etag: str
    written: str

    @classmethod
    def of(cls, data: bytes) -> _Stored:
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return cls(data, f'"{etag}"', formatdate(usegmt=True))


@dataclass
class _Bucket:
    objects: dict[str, _Stored] = field(default_factory=dict)
    order: list[str] | None = None

    def put(self, key: str, data: bytes) -> _Stored:
        if key not in self.objects:
            self.order = None
        self.objects[key] = found = _Stored.of(data)
        return found

    def remove(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self.order = None

    def sorted(self) -> list[str]:
        if self.order is None:
            self.order = sorted(self.objects, key=str.encode)
        return self.order


Answer = tuple[int, dict[str, str], bytes]


class _Service:
    """What the server does; knows nothing of sockets."""

    def __init__(self, conditional: str) -> None:
        self.conditional = conditional
        self.buckets: dict[str, _Bucket] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.latency = 0.0
        self.seen: dict[str, int] = {}
        self.in_flight = self.most = 0

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        path, _, query_text = target.partition("?")
        query = {k: v[0] for k, v in parse_qs(query_text, keep_blank_values=True).items()}
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        if bucket == "-":
            return self._command(key, query)
        self.seen[method] = self.seen.get(method, 0) + 1
        if not key:
            return self._on_bucket(method, bucket, query, body)
        if bucket not in self.buckets:
            return _error(404, "NoSuchBucket")
        found = self.buckets[bucket]
        if method in ("GET", "HEAD"):
            return _get(found.objects.get(key), headers, whole=method == "GET")
        if method == "DELETE":
            self.uploads.pop(query.get("uploadId", ""), None)
            if "uploadId" not in query:
                found.remove(key)
            return 204, {}, b""
        if method == "POST":
            return self._in_parts(found, key, query)
        if "uploadId" in query:
            self.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return 200, {"ETag": _Stored.of(body).etag}, b""
        refused = self._refuse(found.objects.get(key), headers)
        return refused or (200, {"ETag": found.put(key, body).etag}, b"")

    def _refuse(self, there: _Stored | None, headers: dict[str, str]) -> Answer | None:
        if "if-none-match" not in headers and "if-match" not in headers:
            return None
        if self.conditional == "refused":
            return _error(501, "NotImplemented")
        if self.conditional == "ignored":
            return None
        if "if-none-match" in headers:
            return None if there is None else _error(412, "PreconditionFailed")
        if there is None:
            return _error(404, "NoSuchKey")
        return None if there.etag == headers["if-match"] else _error(412, "PreconditionFailed")

    def _in_parts(self, bucket: _Bucket, key: str, query: dict[str, str]) -> Answer:
        if "uploads" in query:
            name = f"upload-{len(self.uploads)}"
            self.uploads[name] = {}
            return _xml(f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId>"
                        "</InitiateMultipartUploadResult>")  # fmt: skip
        parts = self.uploads.pop(query["uploadId"])
        stored = bucket.put(key, b"".join(parts[number] for number in sorted(parts)))
        return _xml(f"<CompleteMultipartUploadResult><ETag>{escape(stored.etag)}</ETag>"
                    "</CompleteMultipartUploadResult>")  # fmt: skip

    def _on_bucket(self, method: str, name: str, query: dict[str, str], body: bytes) -> Answer:
        if method == "PUT":
            self.buckets.setdefault(name, _Bucket())
            return 200, {}, b""
        if name not in self.buckets:
            return _error(404, "NoSuchBucket")
        if method == "GET" and "list-type" in query:
            return _list(self.buckets[name], query)
        return 200, {}, b""

    def _command(self, what: str, query: dict[str, str]) -> Answer:
        told: dict[str, int] = {}
        if what == "latency":
            self.latency = float(query["seconds"])
        elif what == "load":
            bucket, folder = self.buckets.setdefault(query["bucket"], _Bucket()), query["folder"]
            files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
            for path in files:
                bucket.put(f"{query['prefix']}{path.relative_to(folder)}", path.read_bytes())
            told = {"count": len(files)}
        elif what == "fill":
            bucket = self.buckets.setdefault(query["bucket"], _Bucket())
            one = _Stored.of(b"\xff\xd8")
            bucket.objects |= {
                f"{query['prefix']}{n:09d}.jpg": one for n in range(int(query["count"]))
            }
            bucket.order = None
        elif what == "counts":
            told, self.seen = {**self.seen, "most": self.most}, {}
            self.most = 0
        return 200, {}, json.dumps(told).encode()


def _get(stored: _Stored | None, headers: dict[str, str], *, whole: bool) -> Answer:
    if stored is None:
        return _error(404, "NoSuchKey")
    if headers.get("if-match", stored.etag) != stored.etag:
        return _error(412, "PreconditionFailed")
    facts = {"ETag": stored.etag, "Last-Modified": stored.written, "Accept-Ranges": "bytes"}
    size = len(stored.data)
    if "range" not in headers:
        return 200, {**facts, "Content-Length": str(size)}, stored.data if whole else b""
    first, _, last = headers["range"].removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if begin >= size:
        return _error(416, "InvalidRange")
    facts["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    return 206, facts, stored.data[begin:end]


def _list(bucket: _Bucket, query: dict[str, str]) -> Answer:
    prefix, most = query.get("prefix", ""), min(1_000, int(query.get("max-keys", "1000")))
    keys = bucket.sorted()
    after = query.get("continuation-token") or query.get("start-after", "")
    at = max(
        bisect_left(keys, prefix.encode(), key=str.encode),
        bisect_right(keys, after.encode(), key=str.encode) if after else 0,
    )
    coded = quote if query.get("encoding-type") == "url" else escape
    delimiter = query.get("delimiter")
    parts: list[str] = []
    folders: list[str] = []
    last = ""
    while at < len(keys) and len(parts) + len(folders) < most and keys[at].startswith(prefix):
        key = last = keys[at]
        at += 1
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            folder = prefix + rest.partition(delimiter)[0] + delimiter
            if folder not in folders:
                folders.append(folder)
            continue
        stored = bucket.objects[key]
        parts.append(
            f"<Contents><Key>{coded(key)}</Key><LastModified>{_STAMP}</LastModified><ETag>"
            f"{escape(stored.etag)}</ETag><Size>{len(stored.data)}</Size></Contents>"
        )
    more = at < len(keys) and keys[at].startswith(prefix)
    if more:
        parts.append(f"<NextContinuationToken>{escape(last)}</NextContinuationToken>")
    encoding = "<EncodingType>url</EncodingType>" if coded is quote else ""
    groups = "".join(
        f"<CommonPrefixes><Prefix>{coded(f)}</Prefix></CommonPrefixes>" for f in folders
    )
    return _xml(
        f"<ListBucketResult>{encoding}<Prefix>{coded(prefix)}</Prefix><IsTruncated>"
        f"{str(more).lower()}</IsTruncated>{''.join(parts)}{groups}</ListBucketResult>"
    )


def _xml(text: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'
    return 200, {"Content-Type": "application/xml"}, body.encode()


def _error(status: int, code: str) -> Answer:
    return status, {}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


class _Connection(asyncio.Protocol):
    """One client: requests in, answers out, in order."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._buffer = bytearray()
        self._continued = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            length = int(headers.get("content-length", "0"))
            if len(self._buffer) < end + 4 + length:
                if "100-continue" in headers.get("expect", "") and not self._continued:
                    self._continued = True
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._continued = False
            service = self._service
            service.in_flight += 1
            service.most = max(service.most, service.in_flight)
            answer = service.answer(method, target, headers, body)
            wait = 0.0 if target.startswith("/-/") else service.latency
            if wait:
                asyncio.get_running_loop().call_later(wait, self._send, answer)
            else:
                self._send(answer)

    def _send(self, answer: Answer) -> None:
        self._service.in_flight -= 1
        status, headers, body = answer
        headers = {"Content-Length": str(len(body)), "Date": formatdate(usegmt=True), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        line = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\n"
        self._transport.write(f"{line}{head}\r\n".encode("latin-1") + body)


async def _serve(conditional: str, address: str) -> None:
    service = _Service(conditional)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service), address, 0, backlog=1_024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))
