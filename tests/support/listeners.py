"""Small real servers on loopback that keep what they are told."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def mail_server(*, refuse: bool = False) -> Iterator[tuple[int, list[Message]]]:
    """A mail server (RFC 5321, as much as a client needs): its port, and the mails that came.

    :param refuse: whether it takes no mail.
    """
    mails: list[Message] = []

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 loopback")
            while raw := self.rfile.readline():
                word = raw.decode().split(maxsplit=1)[0].strip().upper() if raw.strip() else ""
                if word == "QUIT":
                    return self.say("221 bye")
                if word == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (line := self.rfile.readline()) not in (b".\r\n", b""):
                        lines.append(line.decode().removeprefix("." if line.startswith(b"..") else ""))
                    mails.append(message_from_string("".join(lines)))
                    self.say("250 kept")
                elif refuse and word == "RCPT":
                    self.say("550 token=hunter2 nobody here")
                else:
                    self.say("250 ok")
            return None

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)) as port:
        yield port, mails


@contextmanager
def web_server(*, status: int = 200, hang: threading.Event | None = None) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """A web server that answers every POST alike: its port, and path and body of what came.

    :param hang: answer only when this is set.
    """
    calls: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            calls.append((self.path, body))
            if hang is not None:
                hang.wait(60)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, calls


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
