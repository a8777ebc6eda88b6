"""A Hugging Face Hub of one's own over loopback HTTP, with a memory of all that it was asked."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_loopbackTokenThatNobodyMaySee"
NAMESPACE = "me"
PAGE = 3
"""Files a page of a listing."""


@dataclass
class Request:
    """What was asked, what kind of call it was, and when."""

    kind: str
    method: str
    path: str
    at: float
    headers: dict[str, str]
    body: Any


@dataclass
class Fault:
    """What goes wrong with a call: a status, or a connection that is dropped ``before`` or ``after`` it has worked."""

    answer: int | str
    headers: dict[str, str]
    after: int
    times: float


@dataclass
class Commit:
    """A commit of a branch, with what it holds; a file is bytes, or the object with this hash."""

    oid: str
    message: str
    files: dict[str, bytes | str]


@dataclass
class Repo:
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)


class HubServer:
    """The state of the Hub, and how it answers.

    Attributes:
        repos: repositories by ``namespace/name``.
        objects: LFS objects by their SHA-256.
        stored: what of them was sent and taken, as often as it was.
        requests: all of them, in order.
        regular_suffixes: files that are no LFS objects.
        part_bytes: the size of the parts that objects are sent in; None for whole ones.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.stored: list[str] = []
        self.requests: list[Request] = []
        self.regular_suffixes: tuple[str, ...] = (".json", ".jsonl", ".md", ".txt")
        self.part_bytes: int | None = None
        self.endpoint = ""
        self.parts: dict[str, dict[int, bytes]] = {}
        self._faults: dict[str, Fault] = {}
        self._stops: dict[str, tuple[int, Event, Event]] = {}
        self.lock = Lock()

    # What tests use ---------------------------------------------------------------------------------------------

    def fail(self, kind: str, answer: int | str, after: int = 0, times: float = 1, **headers: str) -> None:
        """Let ``times`` calls of a kind fail, when ``after`` others have worked.

        ``answer`` is a status, or ``drop`` for a connection that is closed without one, or ``lose`` for one that is
        closed when all is done. ``Retry_After="1"`` is a header.
        """
        self._faults[kind] = Fault(answer, {k.replace("_", "-"): v for k, v in headers.items()}, after, times)

    def stop_at(self, kind: str, after: int = 0) -> Event:
        """Hold the call of a kind that comes ``after`` others; the event tells that it has come."""
        arrived, go_on = Event(), Event()
        self._stops[kind] = (after, arrived, go_on)
        return arrived

    def release(self) -> None:
        for _, _, go_on in self._stops.values():
            go_on.set()
        self._stops = {}

    def create(self, repo_id: str, private: bool = True, files: dict[str, bytes] | None = None) -> Repo:
        """A repository, as somebody else made it."""
        held: dict[str, bytes | str] = {".gitattributes": b"*.parquet filter=lfs\n"}
        for path, data in (files or {}).items():
            held[path] = data if self._is_regular(path) else self._stored(data)
        repo = self.repos[repo_id] = Repo(private)
        repo.branches["main"] = [Commit(_oid(repo_id), "initial commit", held)]
        return repo

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """All files of a branch, without ``.gitattributes``."""
        files = self.repos[repo_id].branches[revision][-1].files
        return {
            path: self.objects[held] if isinstance(held, str) else held
            for path, held in sorted(files.items())
            if path != ".gitattributes"
        }

    def commits(self, repo_id: str, revision: str = "main") -> list[str]:
        """The messages of the commits of a branch, without that which made the repository."""
        return [commit.message for commit in self.repos[repo_id].branches[revision][1:]]

    def kinds(self) -> list[str]:
        return [request.kind for request in self.requests]

    def puts(self) -> list[str]:
        """The objects that were sent, whether they were taken or not."""
        return [request.path.rsplit("/", 1)[1] for request in self.requests if request.kind == "put"]

    # How it answers ---------------------------------------------------------------------------------------------

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length) if length else _chunks(handler)
        kind = _kind(handler.command, url.path)
        if url.path == "/api/agent-harnesses":  # which the client asks for its own ends
            return _reply(handler, 404, {}, {})
        with self.lock:
            headers = {name.lower(): value for name, value in handler.headers.items()}
            self.requests.append(Request(kind, handler.command, url.path, time.monotonic(), headers, body))
            fault = self._fault(kind)
            stop = self._stop(kind)
        if stop:
            stop[0].set()
            stop[1].wait(60)
            return _drop(handler)
        if fault and fault.answer == "drop":
            return _drop(handler)
        if fault and isinstance(fault.answer, int):
            return _reply(handler, fault.answer, {"error": "not now"}, fault.headers)
        if not self._is_allowed(kind, url.path, headers.get("authorization")):
            is_wrong = "authorization" in headers
            said = {"X-Error-Message": "Invalid credentials in Authorization header"} if is_wrong else {}
            return _reply(handler, 401, {"error": "Invalid username or password."}, said)
        with self.lock:
            status, answer, headers = getattr(self, f"_{kind.replace('-', '_')}")(url.path, parse_qs(url.query), body)
        if fault and fault.answer == "lose":
            return _drop(handler)
        return _reply(handler, status, answer, headers)

    def _is_allowed(self, kind: str, path: str, authorization: str | None) -> bool:
        """Whether the token is right, or nobody asks for one: of what is public, anybody may look at all."""
        if kind in ("put", "part", "complete") or authorization == f"Bearer {TOKEN}":
            return True
        repo = self._repo(path)[0] if kind in ("info", "tree", "resolve") else None
        return authorization is None and repo is not None and not repo.private

    def _fault(self, kind: str) -> Fault | None:
        fault = self._faults.get(kind)
        if fault is None or fault.times <= 0:
            return None
        if fault.after:
            fault.after -= 1
            return None
        fault.times -= 1
        return fault

    def _stop(self, kind: str) -> tuple[Event, Event] | None:
        if kind not in self._stops:
            return None
        after, arrived, go_on = self._stops[kind]
        self._stops[kind] = (after - 1, arrived, go_on)
        return (arrived, go_on) if after == 0 else None

    def _create(self, path: str, query: Any, body: bytes) -> Any:
        asked = json.loads(body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{self.endpoint}/datasets/{repo_id}"}
        if asked["organization"] != NAMESPACE:
            return _refusal(403, f"You don't have the rights to create a dataset under the namespace {repo_id}")
        if repo_id in self.repos:
            return 409, {"error": "You already created this dataset repo", **url}, {}
        self.create(repo_id, private=asked.get("visibility", "private" if asked.get("private") else "") == "private")
        return 200, url, {}

    def _info(self, path: str, query: Any, body: bytes) -> Any:
        repo, repo_id, rest = self._repo(path)
        if repo is None:
            return _refusal(404, "Repository not found", "RepoNotFound")
        revision = unquote(rest.partition("/")[2]) or "main"
        commit = self._commit_of(repo, revision)
        if commit is None:
            return _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        siblings = [{"rfilename": name} for name in commit.files]
        return 200, {"id": repo_id, "private": repo.private, "sha": commit.oid, "siblings": siblings}, {}

    def _branch(self, path: str, query: Any, body: bytes) -> Any:
        repo, _, rest = self._repo(path)
        assert repo is not None
        name = unquote(rest.partition("/")[2])
        if name in repo.branches:
            return 409, {"error": "Reference already exists"}, {}
        repo.branches[name] = list(repo.branches["main"])
        return 200, {}, {}

    def _tree(self, path: str, query: Any, body: bytes) -> Any:
        repo, _, rest = self._repo(path)
        commit = repo and self._commit_of(repo, unquote(rest.split("/")[1]))
        if not commit:
            return _refusal(404, "Repository not found", "RepoNotFound")
        items = [self._item(name, held) for name, held in sorted(commit.files.items())]
        folders = sorted({name.rpartition("/")[0] for name in commit.files} - {""})
        items = [{"type": "directory", "oid": _oid(name), "size": 0, "path": name} for name in folders] + items
        start = int(query.get("cursor", ["0"])[0])
        more = f'<{self.endpoint}{path}?recursive=true&cursor={start + PAGE}>; rel="next"'
        return 200, items[start : start + PAGE], {"Link": more} if start + PAGE < len(items) else {}

    def _item(self, name: str, held: bytes | str) -> dict[str, Any]:
        if isinstance(held, bytes):
            return {"type": "file", "oid": git_hash(held), "size": len(held), "path": name}
        size = len(self.objects[held])
        lfs = {"oid": held, "size": size, "pointerSize": 130}
        return {"type": "file", "oid": _oid(held), "size": size, "path": name, "lfs": lfs}

    def _preupload(self, path: str, query: Any, body: bytes) -> Any:
        files = [
            {
                "path": file["path"],
                "uploadMode": "regular" if self._is_regular(file["path"]) else "lfs",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        return 200, {"files": files}, {}

    def _batch(self, path: str, query: Any, body: bytes) -> Any:
        return 200, {"transfer": "basic", "objects": [self._upload(item) for item in json.loads(body)["objects"]]}, {}

    def _upload(self, item: dict[str, Any]) -> dict[str, Any]:
        oid, size = item["oid"], item["size"]
        if oid in self.objects:
            return {"oid": oid, "size": size}
        upload: dict[str, Any] = {"href": f"{self.endpoint}/storage/{oid}", "header": {}}
        if self.part_bytes:
            num_parts = -(-size // self.part_bytes)
            links = {str(n): f"{self.endpoint}/storage-part/{oid}/{n}" for n in range(1, num_parts + 1)}
            upload["header"] = {"chunk_size": str(self.part_bytes), **links}
        actions = {"upload": upload, "verify": {"href": f"{self.endpoint}/lfs-verify", "header": {}}}
        return {"oid": oid, "size": size, "actions": actions}

    def _put(self, path: str, query: Any, body: bytes) -> Any:
        oid = path.rsplit("/", 1)[1]
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "not the hash that was told"}, {}
        self.objects[oid] = body
        self.stored.append(oid)
        return 200, {}, {}

    def _part(self, path: str, query: Any, body: bytes) -> Any:
        oid, number = path.split("/")[-2:]
        self.parts.setdefault(oid, {})[int(number)] = body
        return 200, {}, {"ETag": f'"{number}"'}

    def _complete(self, path: str, query: Any, body: bytes) -> Any:
        oid = path.rsplit("/", 1)[1]
        return self._put(path, query, b"".join(data for _, data in sorted(self.parts.pop(oid).items())))

    def _verify(self, path: str, query: Any, body: bytes) -> Any:
        asked = json.loads(body)
        is_there = len(self.objects.get(asked["oid"], b"")) == asked["size"]
        return (200, {}, {}) if is_there else (400, {"error": "no such object"}, {})

    def _commit(self, path: str, query: Any, body: bytes) -> Any:
        repo, repo_id, rest = self._repo(path)
        assert repo is not None
        commits = repo.branches[unquote(rest.partition("/")[2])]
        lines = [json.loads(line) for line in body.splitlines()]
        files = dict(commits[-1].files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return 400, {"error": f"no object {value['oid']}"}, {}
                files[value["path"]] = value["oid"]
        oid = _oid(f"{repo_id}{len(commits)}{sorted(files)}{time.monotonic()}")
        commits.append(Commit(oid, lines[0]["value"]["summary"], files))
        url = f"{self.endpoint}/datasets/{repo_id}/commit/{oid}"
        return 200, {"commitUrl": url, "commitOid": oid, "success": True}, {}

    def _validate(self, path: str, query: Any, body: bytes) -> Any:
        content = json.loads(body)["content"]
        if "license: no-such-licence" in content:
            return 400, {"errors": [{"message": '"license" must be one of [cc0-1.0, ...]'}], "warnings": []}, {}
        return 200, {"errors": [], "warnings": [{"message": "advice that nobody asked for"}]}, {}

    def _resolve(self, path: str, query: Any, body: bytes) -> Any:
        repo_id, _, rest = path.removeprefix("/datasets/").partition("/resolve/")
        revision, name = map(unquote, rest.split("/", 1))
        commit = self._commit_of(self.repos[repo_id], revision)
        if commit is None or name not in commit.files:
            return _refusal(404, "Entry not found", "EntryNotFound")
        held = commit.files[name]
        data = self.objects[held] if isinstance(held, str) else held
        etag = held if isinstance(held, str) else git_hash(held)
        return 200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit.oid}

    def _unknown(self, path: str, query: Any, body: bytes) -> Any:
        return 404, {"error": f"this Hub does not know {path}"}, {}

    def _repo(self, path: str) -> tuple[Repo | None, str, str]:
        namespace, name, *rest = path.removeprefix("/api/datasets/").split("/")
        repo_id = f"{namespace}/{name}"
        return self.repos.get(repo_id), repo_id, "/".join(rest)

    def _commit_of(self, repo: Repo, revision: str) -> Commit | None:
        if revision in repo.branches:
            return repo.branches[revision][-1]
        return next((c for commits in repo.branches.values() for c in commits if c.oid == revision), None)

    def _is_regular(self, path: str) -> bool:
        return path.endswith(self.regular_suffixes)

    def _stored(self, data: bytes) -> str:
        oid = hashlib.sha256(data).hexdigest()
        self.objects[oid] = data
        return oid


@contextmanager
def serving_hub() -> Iterator[HubServer]:
    """A Hub that is served for the time of the block."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is one packet, and is not waited for
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            hub.answer(self)

        do_HEAD = do_PUT = do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            pass  # clients are killed

    server = Server(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.release()
        server.shutdown()
        server.server_close()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _oid(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _kind(method: str, path: str) -> str:
    if path == "/api/repos/create":
        return "create"
    if path == "/api/validate-yaml":
        return "validate"
    if path == "/lfs-verify":
        return "verify"
    if path.startswith("/storage/"):
        return "put" if method == "PUT" else "complete"
    if path.startswith("/storage-part/"):
        return "part"
    if path.endswith("/info/lfs/objects/batch"):
        return "batch"
    if "/resolve/" in path:
        return "resolve"
    if path.startswith("/api/datasets/"):
        call = [*path.split("/")[5:], "revision"][0]
        return {"revision": "info"}.get(call, call if call in ("branch", "tree", "preupload", "commit") else "unknown")
    return "unknown"


def _refusal(status: int, message: str, code: str = "") -> Any:
    return status, {"error": message}, {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    """A body that was sent with chunked encoding, if there is one."""
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return b""
    data = b""
    while size := int(handler.rfile.readline().strip() or b"0", 16):
        data += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return data


def _drop(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def _reply(handler: BaseHTTPRequestHandler, status: int, answer: Any, headers: dict[str, str]) -> None:
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    handler.send_response(status)
    kind = "application/octet-stream" if isinstance(answer, bytes) else "application/json"
    for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data)
