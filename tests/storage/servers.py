"""Servers on this machine that behave as stores and networks do on bad days."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(
    answer: Answer, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """A server that answers every request to ``address`` with ``answer``; gives its ``host:port``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            pass

    server = Server((address, port), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serving_moto() -> Iterator[str]:
    """An S3 store that takes any credentials, in a process of its own; gives its endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(endpoint, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield endpoint
    finally:
        server.terminate()
        server.wait()


def reply(request: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Send an answer; ``ETag="x"`` and ``Content_Type="text/html"`` are headers."""
    request.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def refusing(status: int, code: str, details: str = "", **headers: str) -> Answer:
    """An S3 store that refuses everything for one reason, and repeats in its message what it was sent."""
    return lambda request: reply(
        request, status, refusal(code, f"no: {request.headers.get('Authorization')}", details), **headers
    )


def refusal(code: str, message: str = "no", details: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{details}</Error>".encode()


class Store:
    """A small S3 store of one bucket, which may refuse some of ``list``, ``read``, ``write`` and ``delete``."""

    def __init__(self, *denied: str, objects: dict[str, bytes] | None = None) -> None:
        self.denied = denied
        self.objects = dict(objects or {})
        self.requests: list[str] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        key = unquote(url.path).lstrip("/").partition("/")[2]
        query = parse_qs(url.query)
        verb = {"PUT": "write", "DELETE": "delete"}.get(request.command, "list" if "list-type" in query else "read")
        self.requests.append(verb)
        if verb in self.denied:
            reply(request, 403, refusal("AccessDenied"))
        elif verb == "list":
            reply(request, 200, self._listing(query.get("prefix", [""])[0]))
        elif verb == "write":
            self.objects[key] = request.body  # type: ignore[attr-defined]
            reply(request, 200, ETag='"e"')
        elif verb == "delete":
            self.objects.pop(key, None)
            reply(request, 204)
        elif key not in self.objects:
            reply(request, 404, refusal("NoSuchKey"))
        else:
            reply(request, 206, self.objects[key][: end_of_range(request)], ETag='"e"')

    def _listing(self, prefix: str) -> bytes:
        found = sorted(key for key in self.objects if key.startswith(prefix))
        contents = "".join(f"<Contents><Key>{k}</Key><Size>{len(self.objects[k])}</Size></Contents>" for k in found)
        return (
            f"<ListBucketResult><Name>b</Name><KeyCount>{len(found)}</KeyCount>{contents}</ListBucketResult>".encode()
        )


def end_of_range(request: BaseHTTPRequestHandler) -> int | None:
    """Where the asked range, which begins at 0, ends."""
    last = request.headers.get("Range", "").rpartition("-")[2]
    return int(last) + 1 if last else None


def certificate(folder: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that only itself vouches for: its file, and what a server needs to show it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "ca.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return str(pem), context
