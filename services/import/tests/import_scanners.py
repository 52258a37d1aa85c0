"""A clamd and an ICAP server as far as their protocols go: they read every byte and look for the EICAR test string."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Split, so that no scanner on the machine of who reads this is alarmed by the source.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + rb"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class Clamd(socketserver.StreamRequestHandler):
    """INSTREAM of clamd(8): chunks with a length before each, a chunk of no bytes at the end."""

    def handle(self) -> None:
        command = b""
        while not command.endswith(b"\0"):
            command += self.rfile.read(1)
        assert command == b"zINSTREAM\0", command
        data = b""
        while length := struct.unpack("!I", self.rfile.read(4))[0]:
            assert length <= 1024 * 1024
            data += self.rfile.read(length)
            if len(data) > self.server.limit:  # type: ignore[attr-defined]
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.server.seen.append(data)  # type: ignore[attr-defined]
        self.wfile.write(b"stream: Eicar-Test-Signature FOUND\0" if EICAR in data else b"stream: OK\0")


class Icap(socketserver.StreamRequestHandler):
    """RESPMOD of RFC 3507: 204 for what is clean, else a page instead of the file; or 200 with the same file."""

    def _head(self) -> list[str]:
        lines = []
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            lines.append(line.decode().rstrip())
        return lines

    def handle(self) -> None:
        head = self._head()
        method, uri, version = head[0].split()
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
        assert (method, version) == ("RESPMOD", "ICAP/1.0")
        assert uri.startswith("icap://")
        assert "host" in headers
        parts = [part.strip().partition("=")[::2] for part in headers["encapsulated"].split(",")]
        assert [name for name, _ in parts] == ["req-hdr", "res-hdr", "res-body"]
        before = self.rfile.read(int(parts[2][1]))
        assert before[: int(parts[1][1])].startswith(b"GET ")
        assert before[int(parts[1][1]) :].startswith(b"HTTP/1.1 200 OK\r\n")
        assert before.endswith(b"\r\n\r\n")
        data = b""
        while length := int(self.rfile.readline().strip(), 16):
            data += self.rfile.read(length)
            assert self.rfile.read(2) == b"\r\n"
        assert self.rfile.readline() == b"\r\n"
        self.server.seen.append(data)  # type: ignore[attr-defined]
        how = self.server.how  # type: ignore[attr-defined]
        if how == "busy":
            self.wfile.write(b"ICAP/1.0 503 Service overloaded\r\nConnection: close\r\n\r\n")
        elif EICAR in data:
            page = b"<html>blocked</html>"
            answer = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
            found = b"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Signature;\r\n" if how != "silent" else b""
            self.wfile.write(
                b"ICAP/1.0 200 OK\r\n" + found + b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(answer)
            )
            self.wfile.write(answer + b"%x\r\n%b\r\n0\r\n\r\n" % (len(page), page))
        elif "204" in headers.get("allow", "") and how != "no 204":
            self.wfile.write(b"ICAP/1.0 204 No Content\r\nConnection: close\r\n\r\n")
        else:
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"
            self.wfile.write(b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(answer))
            self.wfile.write(answer + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))


@contextmanager
def scanner_server(handler: type, how: str = "", limit: int = 100 * 1024 * 1024, port: int = 0) -> Iterator[Any]:
    """A running scanner: .url, and .seen with every file it read."""

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), handler) as server:
        server.how, server.limit, server.seen = how, limit, []  # type: ignore[attr-defined]
        number = server.server_address[1]
        server.url = f"tcp://127.0.0.1:{number}" if handler is Clamd else f"icap://127.0.0.1:{number}/avscan"  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
