"""The server of one model: ``GET /``, ``POST /predict``, ``GET /health``, ``GET /metrics``.

One image is computed at a time, always in the same thread: what the allocator keeps for a thread is kept once. Those
that wait are counted, and their declared bytes added up; beyond either limit a request is refused with 503 and
Retry-After before its body is read. Memory is bounded by ``megabytes_waiting`` and one decoded image beside the model.
"""

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtransfer.config import Config
from medtransfer.errors import MedTransferError

Answer = Callable[[bytes, bool], dict[str, Any]]
"""The content of an image file, and whether a map is wanted → the reply."""
Facts = Callable[[], dict[str, Any]]
"""What is true now: another version may answer the next request."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
RETRY_AFTER = 1
"""Seconds."""
MB = 2**20


class Limits(Config):
    """What a server accepts.

    Attributes:
        waiting: requests at once, the one that is computed included.
        megabytes: of one image file.
        megabytes_waiting: of all image files that wait or are computed; one whose size is not declared counts as the
            largest.
        seconds: for a client to send it.
        hosts: names by which the server may be called (against DNS rebinding).
    """

    waiting: int = 32
    megabytes: int = 16
    megabytes_waiting: int = 128
    seconds: float = 20.0
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")


@dataclass
class Counts:
    """What ``/metrics`` shows."""

    waiting: int = 0
    bytes: int = 0
    seconds: float = 0.0
    replies: Counter[int] = field(default_factory=Counter)

    def text(self) -> str:
        """Return the counts in the text format of Prometheus."""
        lines = ["# TYPE medtransfer_replies_total counter"]
        lines += [f'medtransfer_replies_total{{status="{code}"}} {n}' for code, n in sorted(self.replies.items())]
        lines += ["# TYPE medtransfer_waiting gauge", f"medtransfer_waiting {self.waiting}"]
        lines += ["# TYPE medtransfer_answer_seconds_total counter"]
        return "\n".join([*lines, f"medtransfer_answer_seconds_total {self.seconds:.6f}", ""])


class Refused(Exception):  # noqa: N818  # a reply, not a fault
    """A request outside the limits: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def build_app(answer: Answer, about: Facts, limits: Limits, *, token: str = "", page: Facts = dict) -> Any:
    """Return the ASGI application.

    Args:
        answer: called in one worker thread at a time; its ``MedTransferError`` becomes a 400 with the reason.
        about: of the model, part of every reply: ``model``, ``version``, ``sha256``, ``notice``. Where the reply of
            ``answer`` has these keys they count: the model may change while a request waits.
        limits: what is accepted.
        token: where it is given, ``/predict`` wants ``Authorization: Bearer <token>``.
        page: what the page says beside: ``card`` (text) and ``follows`` (whether the model's alias is followed).
    """
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app, desk = FastAPI(openapi_url=None), _Desk(answer, limits, token)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(limits.hosts))

    async def front() -> Any:
        return HTMLResponse(_page(about(), page(), wants_token=bool(token)), headers=HEADERS)

    async def health() -> Any:
        return JSONResponse({"status": "ready", **about()})

    async def metrics() -> Any:
        return PlainTextResponse(desk.counts.text())

    async def predict(request: Request) -> Any:
        status, content = await desk.reply(request)
        more = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
        return JSONResponse({**about(), **content}, status_code=status, headers=HEADERS | more)

    for path, function in {"/": front, "/health": health, "/metrics": metrics}.items():
        app.get(path)(function)
    app.post("/predict")(predict)
    return app


class _Desk:
    """Takes requests one after the other and counts them."""

    def __init__(self, answer: Answer, limits: Limits, token: str) -> None:
        self.answer, self.limits, self.token = answer, limits, token
        self.counts, self.worker = Counts(), ThreadPoolExecutor(1)

    async def reply(self, request: Any) -> tuple[int, dict[str, Any]]:
        """Return the status and the content of the reply."""
        status = 500
        try:
            _authorise(request.headers.get("authorization", ""), self.token)
            declared = _declared(request, self.limits)
            with _place(self.counts, self.limits, declared):
                chunks = await _body(request, self.limits)
                loop, wanted = asyncio.get_running_loop(), request.query_params.get("map") == "1"
                content = await loop.run_in_executor(self.worker, self._computed, chunks, wanted)
            status = 200
        except Refused as error:
            status, content = error.status, {"error": str(error)}
        except MedTransferError as error:
            status, content = 400, {"error": str(error)}
        finally:
            self.counts.replies[status] += 1
        return status, content

    def _computed(self, chunks: list[bytes], wanted: bool) -> dict[str, Any]:
        data = b"".join(chunks)  # joined when it is its turn, not while it waits: the bytes are there twice only here
        chunks.clear()
        begin = time.perf_counter()
        content = self.answer(data, wanted)
        self.counts.seconds += time.perf_counter() - begin
        return content


class _place:  # noqa: N801  # used like a function
    """One of the places in the queue, with room for the bytes of an image.

    Raises:
        Refused: all are taken.
    """

    def __init__(self, counts: Counts, limits: Limits, size: int) -> None:
        self.counts, self.limits, self.size = counts, limits, size

    def __enter__(self) -> None:
        if self.counts.waiting >= self.limits.waiting:
            raise Refused(503, f"{self.limits.waiting} requests are waiting; repeat later")
        if self.counts.bytes + self.size > self.limits.megabytes_waiting * MB:
            raise Refused(503, f"images of {self.counts.bytes / MB:.0f} MB are waiting; repeat later")
        self.counts.waiting += 1
        self.counts.bytes += self.size

    def __exit__(self, *_: object) -> None:
        self.counts.waiting -= 1
        self.counts.bytes -= self.size


def _authorise(given: str, token: str) -> None:
    if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise Refused(401, "a token is needed: Authorization: Bearer TOKEN")


def _declared(request: Any, limits: Limits) -> int:
    """Return the bytes that a request says it has, or may have.

    Raises:
        Refused: they are too many.
    """
    most, given = limits.megabytes * MB, request.headers.get("content-length", "")
    size = int(given) if given.isdigit() else most
    if size > most:
        raise _too_large(limits)
    return size


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the image is larger than {limits.megabytes} MB")


async def _body(request: Any, limits: Limits) -> list[bytes]:
    """Return the body of a request in the pieces that it came in.

    Raises:
        Refused: it is empty, too large or too slow.
    """
    from starlette.requests import ClientDisconnect

    async def read() -> list[bytes]:
        chunks, size = list[bytes](), 0
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limits.megabytes * MB:
                raise _too_large(limits)
        return chunks

    reading: Awaitable[list[bytes]] = read()
    try:
        chunks = await asyncio.wait_for(reading, limits.seconds)
    except ClientDisconnect:
        raise Refused(400, "the client left") from None  # nobody reads it, but it is counted
    except TimeoutError:
        raise Refused(408, f"the image did not arrive within {limits.seconds:g} s") from None
    if not any(chunks):
        raise Refused(400, "the body is empty; send the content of an image file")
    return chunks


def _page(about: dict[str, Any], more: dict[str, Any], *, wants_token: bool) -> str:
    import jinja2

    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True).from_string(text).render(about=about, wants_token=wants_token, **more)
