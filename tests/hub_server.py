"""A local HTTP server with the part of the Hugging Face hub that transformers, datasets and uploads
use.

Metadata, file lists and redirects have the hub's paths, headers and error codes; as on the hub,
large files are redirected to another address. Clients find the server by ``HF_ENDPOINT`` (see
``Hub.environment``), which they read at import, so they need a separate process.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# Suffixes of files that the hub stores outside git; requests for them are redirected.
LARGE = (".safetensors", ".parquet", ".bin")


@dataclass(frozen=True)
class Repository:
    """A repository of ``models`` or ``datasets``; ``revisions`` maps each name to a folder."""

    kind: str
    name: str
    revisions: Mapping[str, Path]

    def commit(self, revision: str) -> str:
        """Return the commit of a revision, which is given by its name or its commit."""
        return revision if len(revision) == 40 else hashlib.sha1(f"{self.name}@{revision}".encode()).hexdigest()

    def folder(self, revision: str) -> Path | None:
        """Return the folder of a revision, given by its name or its commit; None if unknown."""
        return next((folder for name, folder in self.revisions.items() if revision in (name, self.commit(name))), None)


@dataclass
class Hub:
    """A running server; ``storage`` is the address of a second one, to which large files redirect.

    ``requests`` lists all requests so far, as ``HEAD /path``. If ``status`` is not 200, it is the
    answer to all requests. Clients with the ``token`` may create repositories, in folders below
    ``uploads``; only they see the repositories named in ``private``. After a request for file
    sizes, branch ``main`` of a repository named in ``moving`` points to the revision ``next``, and
    the name is added to ``moved``.
    """

    repositories: tuple[Repository, ...]
    uploads: Path | None = None
    token: str = "hf_ours"
    private: set[str] = field(default_factory=set)
    moving: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    url: str = ""
    storage: str = ""
    requests: list[str] = field(default_factory=list)
    status: int = 200

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment of a process that uses only this hub, with a cache in ``home``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
        return {**kept, "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", "no_proxy": "*"}

    def find(self, kind: str, name: str) -> Repository | None:
        """Return a repository by kind and name; None if there is none."""
        return next((one for one in self.repositories if (one.kind, one.name) == (kind, name)), None)

    @property
    def blobs(self) -> dict[str, Path]:
        """The large files, by SHA-256."""
        folders = [folder for one in self.repositories for folder in one.revisions.values()]
        return {_sha256(path): path for folder in folders for path in folder.rglob("*") if path.suffix in LARGE}


@contextmanager
def serve(*repositories: Repository, uploads: Path | None = None) -> Iterator[Hub]:
    """Run a hub with these repositories on free local ports."""
    hub = Hub(repositories, uploads)
    handler = type("Handler", (_Handler,), {"hub": hub})
    # Two servers, since clients follow a redirect within one host even in HEAD requests.
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    hub.url, hub.storage = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git_sha(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._route()

    def do_PUT(self) -> None:
        """Store a large file."""
        digest, data = self.path.rpartition("/")[2], self.rfile.read(int(self.headers["Content-Length"]))
        if hashlib.sha256(data).hexdigest() != digest:
            self._error(400, "", "the content has another digest")
            return
        (self._storage() / digest).write_bytes(data)
        self._send(b"", {}, "text/plain")

    def log_message(self, *_: Any) -> None:
        """Print nothing; ``Hub.requests`` lists the requests."""

    def _route(self) -> None:
        address = urlsplit(self.path)
        self.hub.requests.append(f"{self.command} {address.path}")
        if self.hub.status != 200:
            self._error(self.hub.status, "", "the hub is out of order")
            return
        # Revisions such as refs/convert/parquet are quoted, hence one part.
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        if self.command == "POST" and self._wants_write(parts):
            return
        if parts[0] == "blobs" and parts[-1] in self.hub.blobs:
            self._send(self.hub.blobs[parts[-1]].read_bytes(), {"ETag": f'"{parts[-1]}"'}, "application/octet-stream")
        elif parts[0] == "api" and len(parts) >= 4 and parts[1] in ("models", "datasets"):
            self._api(parts[1], "/".join(parts[2:4]), parts[4:], parse_qs(address.query))
        elif parts[0] == "datasets" and len(parts) >= 6 and parts[3] == "resolve":
            self._resolve("datasets", "/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("models", "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._error(404, "", "not found")

    def _storage(self) -> Path:
        assert self.hub.uploads is not None
        folder = self.hub.uploads / "storage"
        folder.mkdir(exist_ok=True)
        return folder

    def _wants_write(self, parts: list[str]) -> bool:
        """Answer a request that belongs to an upload; return whether it does."""
        if parts == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
            return True
        kinds = parts == ["api", "repos", "create"], parts[-1] == "batch", parts[4:5] in (["preupload"], ["commit"])
        if not any(kinds):
            return False
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._error(401, "", "Invalid username or password.")
        elif kinds[0]:
            self._create(json.loads(self._body))
        elif kinds[1]:
            large = json.loads(self._body)["objects"]
            way = [{"upload": {"href": f"{self.hub.storage}/storage/{one['oid']}"}} for one in large]
            self._json({"objects": [{**one, "actions": action} for one, action in zip(large, way, strict=True)]})
        elif parts[4] == "preupload":
            paths = [one["path"] for one in json.loads(self._body)["files"]]
            modes = {path: "lfs" if path.endswith((*LARGE, ".onnx")) else "regular" for path in paths}
            self._json({"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]})
        else:
            self._commit("/".join(parts[2:4]))
        return True

    def _create(self, wanted: Mapping[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if self.hub.find("models", name) is not None:
            there = {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"}
            self._send(json.dumps(there).encode(), {}, "application/json; charset=utf-8", 409)
            return
        assert self.hub.uploads is not None
        folder = self.hub.uploads / name
        folder.mkdir(parents=True)
        self.hub.repositories += (Repository("models", name, {"main": folder}),)
        if wanted.get("private") or wanted.get("visibility") == "private":
            self.hub.private.add(name)
        self._json({"url": f"{self.hub.url}/{name}"})

    def _commit(self, name: str) -> None:
        repository = self.hub.find("models", name)
        assert repository is not None
        folder = repository.revisions["main"]
        for line in self._body.decode().splitlines():
            change = json.loads(line)
            path = folder / change["value"].get("path", "")
            path.parent.mkdir(parents=True, exist_ok=True)
            if change["key"] == "deletedFile":
                path.unlink()
            elif change["key"] == "file":
                path.write_bytes(base64.b64decode(change["value"]["content"]))
            elif change["key"] == "lfsFile":
                path.write_bytes((self._storage() / change["value"]["oid"]).read_bytes())
        commit = repository.commit("main")
        self._json({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"})

    def _revision(self, kind: str, name: str, revision: str) -> tuple[Path, str] | None:
        """Return a revision's folder and commit; if there is none, send the hub's error."""
        repository = self.hub.find(kind, name)
        owner = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if repository is None or (name in self.hub.private and not owner):
            # Without a token, the hub does not reveal whether a repository is private or missing.
            self._error(401, "RepoNotFound", "Repository not found")
            return None
        revision = "next" if name in self.hub.moved and revision == "main" else revision
        folder = repository.folder(revision)
        if folder is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return folder, repository.commit(revision)

    def _api(self, kind: str, name: str, rest: list[str], query: Mapping[str, list[str]]) -> None:
        what = rest[0] if rest else "revision"
        found = self._revision(kind, name, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return
        folder, commit = found
        if what == "revision":
            siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in _files(folder)]
            for one in siblings if "blobs" in query else ():
                one["size"] = (folder / one["rfilename"]).stat().st_size
            self.hub.moved |= self.hub.moving & {name} if "blobs" in query else set()
            common = {"_id": commit[:24], "id": name, "sha": commit, "private": False, "gated": False, "disabled": False, "tags": []}
            self._json({**common, "modelId": name, "downloads": 0, "likes": 0, "siblings": siblings})
        elif what == "tree":
            below = folder / "/".join(rest[2:])
            if not below.is_dir():
                self._error(404, "EntryNotFound", f"{'/'.join(rest[2:])} does not exist on {rest[1]}")
                return
            recursive = query.get("recursive", ["false"])[0].lower() == "true"
            self._json([self._entry(folder, path) for path in sorted(below.rglob("*") if recursive else below.iterdir())])
        elif what == "paths-info":
            body = self._body.decode()
            asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
            self._json([self._entry(folder, folder / path) for path in asked if (folder / path).exists()])
        else:
            self._error(404, "", "not found")

    def _entry(self, folder: Path, path: Path) -> dict[str, Any]:
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "oid": hashlib.sha1(name.encode()).hexdigest(), "size": 0, "path": name}
        entry = {"type": "file", "oid": _git_sha(path), "size": path.stat().st_size, "path": name}
        large = {"lfs": {"oid": _sha256(path), "size": path.stat().st_size, "pointerSize": 134}} if path.suffix in LARGE else {}
        return {**entry, **large}

    def _resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        found = self._revision(kind, name, revision)
        if found is None:
            return
        folder, commit = found
        path = folder / file
        if not path.is_file():
            self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        elif path.suffix in LARGE:
            digest, size = _sha256(path), path.stat().st_size
            linked = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(size), "Location": f"{self.hub.storage}/blobs/{digest}"}
            self._send(b"", {"X-Repo-Commit": commit, **linked}, "text/plain", 302)
        else:
            self._send(path.read_bytes(), {"X-Repo-Commit": commit, "ETag": f'"{_git_sha(path)}"'}, "text/plain; charset=utf-8")

    def _json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), {}, "application/json; charset=utf-8")

    def _error(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        coded = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self._send(json.dumps({"error": message}).encode(), {**coded, **(headers or {})}, "application/json; charset=utf-8", status)

    def _send(self, body: bytes, headers: Mapping[str, str], kind: str, status: int = 200) -> None:
        wanted = self.headers.get("Range", "")
        if status == 200 and wanted.startswith("bytes=") and self.command == "GET":
            first, _, last = wanted[6:].partition("-")
            start, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
            headers = {**headers, "Content-Range": f"bytes {start}-{end}/{len(body)}"}
            body, status = body[start : end + 1], 206
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body)), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
