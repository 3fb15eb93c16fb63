"""A model hub on this machine: the part of its HTTP interface that huggingface_hub uses to make repositories, commit
files (small ones in the commit, weights by LFS), list and download them. `taken_for_the_hub` points the library to it.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from huggingface_hub import constants

TOKEN, READ_ONLY = "hf_stand_in", "hf_read_only"


class Hub:
    """Repositories by kind and name: path to content, and the commits."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.commits: dict[tuple[str, str], list[str]] = {}
        self.private: set[tuple[str, str]] = set()
        self.lfs: dict[str, bytes] = {}
        self.by_lfs: set[str] = set()
        self.calls: list[str] = []

    def make(self, kind: str, name: str, private: bool = False) -> None:
        self.files[kind, name], self.commits[kind, name] = {}, [hashlib.sha1(name.encode()).hexdigest()]
        if private:
            self.private.add((kind, name))

    def commit(self, kind: str, name: str, files: dict[str, bytes]) -> str:
        self.files[kind, name] |= files
        oid = hashlib.sha1(json.dumps(sorted(files)).encode() + self.commits[kind, name][-1].encode()).hexdigest()
        self.commits[kind, name].append(oid)
        return oid


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self._route()

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - the server's own names

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        self.hub.calls.append(f"{self.command} {path}")
        # what is PUT goes to an address that was handed out for it, which asks for no token
        if self.command == "POST" and self.token != TOKEN:
            self._error(403 if self.token == READ_ONLY else 401, "", "You are not allowed to write.")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif path.startswith("/lfs/"):
            self.hub.lfs[path.rsplit("/", 1)[1]] = body
            self._json({})
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif path.startswith("/api/"):
            self._api(path.split("/")[2:], body)
        else:
            self._file(path.strip("/").split("/"))

    def _create(self, given: dict) -> None:
        kind, name = f"{given.get('type', 'model')}s", f"{given['organization']}/{given['name']}"
        if (kind, name) in self.hub.files:
            known = {"error": "You already created this repository.", "url": f"{self._root}/{name}"}
            self._json(known, status=409)
            return
        self.hub.make(kind, name, given.get("visibility") == "private")
        self._json({"url": f"{self._root}/{name}", "name": name})

    def _validate(self, card: str) -> None:
        """The head of a card: YAML, with a license that is one word."""
        license = yaml.safe_load(card.split("---")[1]).get("license", "none")
        errors = [] if " " not in license else [{"message": f"license {license!r} must be one of mit, apache-2.0, ..."}]
        status = 400 if errors else 200
        self._send(
            status, json.dumps({"errors": errors, "warnings": []}).encode(), {"Content-Type": "application/json"}
        )

    def _api(self, parts: list[str], body: bytes) -> None:
        kind, name, rest = parts[0], "/".join(parts[1:3]), parts[3:]
        if not self._seen(kind, name):
            return
        commits, files = self.hub.commits[kind, name], self.hub.files[kind, name]
        if rest[:1] == ["preupload"]:
            asked = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                for f in asked
            ]
            self._json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        elif rest[:1] == ["commit"]:
            self._commit(kind, name, body)
        elif rest[:1] in (["revision"], []):
            if rest and rest[1] not in ("main", *commits):
                self._error(404, "RevisionNotFound", "Invalid rev id")
                return
            siblings = [{"rfilename": path} for path in files]
            about = {"id": name, "sha": commits[-1], "siblings": siblings, "tags": [], "private": False, "downloads": 0}
            self._json({**about, "likes": 0, "disabled": False, "gated": False})
        elif rest[:1] == ["tree"]:
            self._json([{"type": "file", "path": path, "size": len(c), "oid": _etag(c)} for path, c in files.items()])
        else:
            self._error(404, "", f"no {'/'.join(rest)} here")

    def _seen(self, kind: str, name: str) -> bool:
        known = (kind, name) in self.hub.files and ((kind, name) not in self.hub.private or self.token == TOKEN)
        if not known:  # what may not be seen is not there, as on the hub
            self._error(401 if not self.token else 404, "RepoNotFound", "Repository not found")
        return known

    def _commit(self, kind: str, name: str, body: bytes) -> None:
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
                self.hub.by_lfs.add(value["path"])
        oid = self.hub.commit(kind, name, files)
        self._json({"commitUrl": f"{self._root}/{name}/commit/{oid}", "commitOid": oid, "success": True})

    def _batch(self, given: dict) -> None:
        objects = [
            {
                **one,
                "actions": {
                    "upload": {"href": f"{self._root}/lfs/{one['oid']}", "header": {"Authorization": f"Bearer {TOKEN}"}}
                },
            }
            for one in given["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _file(self, parts: list[str]) -> None:
        kind = parts.pop(0) if parts[0] == "datasets" else "models"
        name, path = "/".join(parts[:2]), "/".join(parts[4:])
        if not self._seen(kind, name):
            return
        content = self.hub.files[kind, name].get(path)
        if content is None:
            self._error(404, "EntryNotFound", f"no {path}")
            return
        self._send(200, content, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": self.hub.commits[kind, name][-1]})

    @property
    def _root(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _json(self, document: object, status: int = 200) -> None:
        self._send(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str) -> None:
        self._send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def running_hub() -> Iterator[tuple[Hub, str]]:
    """The hub and its address, while the block lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def taken_for_the_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """The hub that huggingface_hub talks to while the block lasts, with a token that may write.

    Args:
        monkeypatch: of the test.
        folder: for what is downloaded.
    """
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
    # weights by LFS: of the hub's own store (Xet) the other end is not to be had
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with running_hub() as (found, address):
        # read from HF_ENDPOINT when the library is imported, which has happened by now
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield found
