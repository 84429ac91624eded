"""A server on loopback that speaks the hub's protocol for files, and misbehaves when it is asked to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Repository:
    """One repository: what it holds, at one commit."""

    files: dict[str, bytes]
    commit: str = "c0ffee" + "0" * 34
    token: str | None = None
    info: dict[str, Any] = field(default_factory=dict)


@dataclass
class Asked:
    """A request that was made."""

    method: str
    path: str
    headers: dict[str, str]


class Hub:
    """The server. Redirects files to ``localhost`` from ``127.0.0.1``: another host, as the hub's storage is.

    Attributes:
        cut: Bytes of a file after which the connection is cut, once for each number.
        wrong: Whether other bytes are sent than were announced.
        more: Bytes that are sent beyond what was announced.
        delay: Seconds before each block of a file.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.plain: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.cut: list[int] = []
        self.wrong = False
        self.more = 0
        self.delay = 0.0
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def blob(self, sha256: str) -> bytes | None:
        for repository in self.repositories.values():
            for data in repository.files.values():
                if hashlib.sha256(data).hexdigest() == sha256:
                    return data
        return None

    def of_blobs(self) -> list[Asked]:
        return [each for each in self.asked if each.path.startswith(("/blobs/", "/plain/")) and each.method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub, parts = self.hub, urlsplit(self.path)
        hub.asked.append(Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", parts.path):
            self._resolve(*found.groups())
        elif parts.path.startswith("/blobs/"):
            self._send(hub.blob(parts.path.removeprefix("/blobs/")), body)
        elif parts.path.startswith("/plain/"):
            self._send(hub.plain.get(parts.path.removeprefix("/plain/")), body)
        elif parts.path == "/api/models":
            wanted = parse_qs(parts.query)
            rows = [
                {"id": name, **repository.info}
                for name, repository in hub.repositories.items()
                if name.startswith(wanted.get("author", [""])[0] + "/")
            ]
            self._json(200, rows)
        elif (found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.+)?", parts.path)) and (
            found[1] in hub.repositories
        ):
            repository = hub.repositories[found[1]]
            siblings = [{"rfilename": name, "size": len(data)} for name, data in repository.files.items()]
            self._json(200, {"id": found[1], "sha": repository.commit, "siblings": siblings, **repository.info})
        else:
            self._json(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._json(404, {"error": "no repository"}, {"X-Error-Code": "RepoNotFound"})
        if repository.token is not None and self.headers.get("Authorization") != f"Bearer {repository.token}":
            message = "Access to model is restricted."
            return self._json(401, {"error": message}, {"X-Error-Code": "GatedRepo", "X-Error-Message": message})
        if revision not in ("main", repository.commit):
            return self._json(404, {"error": "no revision"}, {"X-Error-Code": "RevisionNotFound"})
        commit = {"X-Repo-Commit": repository.commit}
        if file not in repository.files:
            return self._json(404, {"error": "no file"}, {"X-Error-Code": "EntryNotFound"} | commit)
        data = repository.files[file]
        if file.endswith(".json"):  # small files are not stored apart, and tagged as git does
            tag = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            return self._send(data, self.command == "GET", {"ETag": f'"{tag}"'} | commit)
        sha256 = hashlib.sha256(data).hexdigest()
        linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data)), "ETag": '"of-the-redirect"'}
        location = {"Location": f"http://localhost:{self.hub.port}/blobs/{sha256}"}
        return self._json(302, {}, linked | location | commit)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _send(self, data: bytes | None, body: bool, headers: dict[str, str] | None = None) -> None:
        if data is None:
            return self._json(404, {"error": "not found"})
        start = 0
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(found[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Accept-Ranges", "bytes")
        if self.hub.more:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if not body:
            return None
        sent = bytes(len(data)) if self.hub.wrong else data
        sent = sent[start:] + bytes(self.hub.more)
        end = self.hub.cut.pop(0) if self.hub.cut else len(sent)
        try:
            for at in range(0, min(end, len(sent)), 1 << 16):
                time.sleep(self.hub.delay)
                self.wfile.write(sent[at : min(at + (1 << 16), end)])
        except (BrokenPipeError, ConnectionResetError):
            pass
        if end < len(sent) or self.hub.more:
            self.close_connection = True
        return None
