"""A web server on this machine that fails in every way that servers do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY = bytes(i * 7 % 251 for i in range(50_000))
Answer = Callable[[Any], None]


class Server:
    """A server whose answers are a list: one function per request, the last one repeated."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answers: list[Answer] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                answer = server.answers[0]
                if len(server.answers) > 1:
                    server.answers.pop(0)
                answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *args: Any) -> None:
                pass  # the client went away

        self.http = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def send(status: int, body: bytes = b"", **headers: Any) -> Answer:
    """Answer with a status, headers (``_`` for ``-``) and a body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        named = {k.replace("_", "-"): str(v) for k, v in headers.items()}
        for key, value in {"Content-Length": str(len(body)), **named}.items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def whole(**headers: Any) -> Answer:
    return send(200, BODY, ETag='"v1"', **headers)


def cut(at: int, **headers: Any) -> Answer:
    """Announce the whole body, send the first bytes and drop the connection."""
    return send(200, BODY[:at], Content_Length=len(BODY), ETag='"v1"', **headers)


def ranged(handler: BaseHTTPRequestHandler) -> None:
    """Answer a Range request as a good server does."""
    first = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
    span = f"bytes {first}-{len(BODY) - 1}/{len(BODY)}"
    send(206, BODY[first:], Content_Range=span, ETag='"v1"')(handler)


def drip(pieces: int, pause: float, upto: int = len(BODY)) -> Answer:
    """Announce the whole body and send the first ``upto`` bytes in pieces, with pauses."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.send_header("ETag", '"v1"')
        handler.end_headers()
        size = -(-upto // pieces)
        for start in range(0, upto, size):
            handler.wfile.write(BODY[start : min(start + size, upto)])
            handler.wfile.flush()
            threading.Event().wait(pause)  # time.sleep may be replaced by a test

    return answer


def open_ended(body: bytes) -> Answer:
    """Answer with a body and no length; its end is the end of the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def chunked(body: bytes, whole: bool) -> Answer:
    """Answer in HTTP/1.1 chunks; without the last, empty one the body is cut short."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("ETag", '"v1"')
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if whole else b""))
        handler.close_connection = True

    return answer
