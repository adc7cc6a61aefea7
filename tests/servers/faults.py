"""A proxy that spoils what passes through it, in the ways that networks and services do."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["status", "reset", "short", "stall", "slow", "after", "hook"]


@dataclass
class Fault:
    """What happens to which requests.

    Attributes:
        kind: ``status``: an error answer instead of the service's. ``reset``: the connection is
            reset in the middle of the body. ``short``: it is closed there. ``stall``: nothing
            more comes from there on. ``slow``: ``rate`` bytes a second. ``after``: the service
            does it, and then the client is told the error. ``hook``: ``call`` runs first.
        where: a regular expression for ``METHOD /path?query``, decoded.
        times: how many requests it befalls.
        skip: how many it lets pass first.
        status: HTTP status of ``status`` and ``after``.
        code: S3's error code for it.
        rate: bytes a second of ``slow``.
        call: what ``hook`` does; it may use the service.
        signed: whether a request signed with this access key is meant.
        seen: requests that it befell.
    """

    kind: Kind
    where: str = "."
    times: int = 1 << 30
    skip: int = 0
    status: int = 503
    code: str = "SlowDown"
    rate: int = 20_000
    call: Callable[[], None] = lambda: None
    signed: Callable[[str], bool] = lambda key: True
    seen: int = 0
    _passed: int = field(default=0, repr=False)

    def befalls(self, request: str, signer: str) -> bool:
        """Whether this request is one of those; counts it."""
        if self.seen >= self.times or re.search(self.where, request) is None:
            return False
        if not self.signed(signer):
            return False
        self._passed += 1
        if self._passed <= self.skip:
            return False
        self.seen += 1
        return True


class FaultProxy:
    """The proxy seen from outside.

    Attributes:
        url: where it listens.
        faults: in force; the first that befalls a request decides.
        requests: all that came, as ``METHOD /path?query``.
        signers: the access key that signed each.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self.url = ""
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.signers: list[str] = []
        self._clients: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a client on."""
        task = asyncio.get_running_loop().create_task(self.serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one client; the connection ends with it."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            length = int(found.group(1)) if found else 0
            if re.search(rb"\r\nexpect: *100-continue", head, re.IGNORECASE):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = re.sub(rb"\r\nexpect:[^\r]*", b"", head, flags=re.IGNORECASE)
            body = await reader.readexactly(length)
            request = unquote(head.split(b" HTTP/", 1)[0].decode("latin-1"))
            self.requests.append(request)
            found = re.search(rb"Credential=([^/]+)/", head)
            signer = found.group(1).decode() if found else ""
            self.signers.append(signer)
            fault = next((f for f in self.faults if f.befalls(request, signer)), None)
            await self._answer(fault, head, body, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client went away, or the proxy is being stopped
        finally:
            writer.close()

    async def _answer(
        self, fault: Fault | None, head: bytes, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        kind = fault.kind if fault else None
        if fault and kind == "hook":
            await asyncio.get_running_loop().run_in_executor(None, fault.call)
        if fault and kind == "status":
            answer = _error(fault)
        else:
            answer = await self._forward(head, body)
        if fault and kind == "after":
            answer = _error(fault)
        answer = answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        start = answer.index(b"\r\n\r\n") + 4
        cut = start + (len(answer) - start) // 2
        if fault and kind == "slow":
            step = max(1, fault.rate // 10)
            for at in range(0, len(answer), step):
                writer.write(answer[at : at + step])
                await writer.drain()
                await asyncio.sleep(0.1)
        elif kind in ("reset", "short", "stall"):
            writer.write(answer[:cut])
            await writer.drain()
            if kind == "stall":
                await asyncio.sleep(3_600)
            elif kind == "reset":
                plug = writer.get_extra_info("socket")
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            writer.write(answer)
            await writer.drain()

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            head = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.IGNORECASE)
            writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) + body)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"\r\ncontent-length: *(\d+)", answer, re.IGNORECASE)
            if head.startswith(b"HEAD ") or b" 304 " in answer[:16] or b" 204 " in answer[:16]:
                return answer
            rest = await (reader.readexactly(int(found.group(1))) if found else reader.read())
            return answer + rest
        finally:
            writer.close()


def _error(fault: Fault) -> bytes:
    body = f"<Error><Code>{fault.code}</Code><Message>by the test</Message></Error>".encode()
    head = f"HTTP/1.1 {fault.status} Fault\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy in front of ``upstream``, in a thread of this process."""
    proxy = FaultProxy(upstream)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.accept, "127.0.0.1", 0))
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    pending = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
