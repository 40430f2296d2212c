"""A stand-in for the W&B server, on this machine: it answers the queries that a dashboard sends."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
VIEWER = {"id": "1", "username": "me", "entity": "me", "email": "", "flags": "{}",
          "teams": {"edges": []}}  # fmt: skip
PROJECT = {"__typename": "Project", "id": "1", "internalId": "1", "name": "deeper",
           "entityName": "me", "createdAt": "2026-01-01T00:00:00", "isBenchmark": False,
           "user": None}  # fmt: skip


class Server(ThreadingHTTPServer):
    def __init__(self, run_count: int | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.run_count = run_count
        self.views: dict[str, dict[str, Any]] = {}
        """Workspaces and reports that were saved, by id."""
        self.filters: list[Any] = []
        """Of the queries for runs."""
        self.refused: list[str] = []
        """Queries without an answer, and requests for other hosts, whose proxy this server is."""

    @property
    def environment(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.server_port}"
        return {"WANDB_BASE_URL": url, "WANDB_API_KEY": "a" * 40, "HTTPS_PROXY": url, "HTTP_PROXY": url}  # fmt: skip

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any] | None:
        if "upsertView(" in query:
            id = given.get("id") or b64encode(b"View:%09d" % len(self.views)).decode()
            self.views[id] = given | {"id": id, "project": PROJECT, "updatedAt": None}
            return {"upsertView": {"view": self.views[id], "inserted": True}}
        if "query View(" in query:
            found = [view for view in self.views.values() if view["name"] == given["viewName"]]
            return {"project": {"allViews": {"edges": [{"node": view} for view in found]}}}
        if "query SpecificReport" in query:
            return {"view": self.views[given["reportId"]] | {"createdAt": None}}
        if "query Runs(" in query:
            self.filters.append(json.loads(given["filters"]))
            if self.run_count is None:  # no such project
                return {"project": None}
            runs = {"runCount": self.run_count, "readOnly": False, "runs": {"edges": [], "pageInfo": PAGE}}  # fmt: skip
            return {"project": PROJECT | runs}
        if "query GetProjects" in query:
            return {"models": {"pageInfo": PAGE, "edges": [{"node": PROJECT}]}}
        if "query ProjectInternalId" in query:
            return {"project": PROJECT}
        return {"viewer": VIEWER} if "viewer {" in query else None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/graphql":
            asked = json.loads(body)
            data = self.server.answer(asked["query"], asked.get("variables") or {})
            if data is None:
                self.server.refused.append(asked["query"])
            self._send({"data": data} if data else {"errors": [{"message": "not known here"}]})
        else:  # W&B's own telemetry, in another format than JSON
            if not self.path.startswith("/sdk/otel/"):
                self.server.refused.append(self.path)
            self._send({})

    def _send(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.server.refused.append(self.path)
        self.send_error(404)

    do_CONNECT = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


@contextmanager
def serving(run_count: int | None) -> Iterator[Server]:
    with Server(run_count) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
