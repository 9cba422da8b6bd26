"""As much of Elasticsearch as ElastAlert 2 asks for.

Answers the cluster's version, searches by index pattern and time range, and keeps what ElastAlert
writes back about its own work. Searches in ElastAlert's own indices find nothing: to ElastAlert
every run is its first.
"""

from __future__ import annotations

import json
import re
import threading
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Document = dict[str, Any]

WRITEBACK_INDEX = "elastalert"
VERSION = "8.13.4"


class ElasticsearchStandIn:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._documents: list[tuple[str, Document]] = []
        self.unexpected_requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def index(self, index: str, document: Document) -> str:
        """Stores a document and returns its id."""
        with self._lock:
            self._documents.append((index, document))
            return f"document-{len(self._documents)}"

    def written_back(self, rule_name: str) -> list[Document]:
        """What ElastAlert wrote down about the alerts of a rule: sent or not, and why not."""
        with self._lock:
            return [
                document
                for index, document in self._documents
                if index == WRITEBACK_INDEX and document.get("rule_name") == rule_name
            ]

    def _search(self, pattern: str, query: Document) -> Document:
        hits = []
        with self._lock:
            for number, (index, document) in enumerate(self._documents, start=1):
                if index.startswith(WRITEBACK_INDEX) or not fnmatchcase(index, pattern):
                    continue
                if all(in_range(document, clause) for clause in ranges(query)):
                    hits.append({"_index": index, "_id": f"document-{number}", "_score": None, "_source": document})
        return {
            "took": 1,
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {"total": {"value": len(hits), "relation": "eq"}, "max_score": None, "hits": hits},
        }

    def _answer(self, method: str, path: str, body: Document) -> tuple[int, Document]:
        if method == "GET" and path == "/":
            return 200, {"cluster_name": "stand-in", "version": {"number": VERSION}}
        if method == "POST" and (match := re.fullmatch(r"/([^/]+)/_search", path)):
            return 200, self._search(match[1], body)
        if method == "POST" and (match := re.fullmatch(r"/([^/]+)/_doc", path)):
            return 201, {"_index": match[1], "_id": self.index(match[1], body), "result": "created"}
        self.unexpected_requests.append(f"{method} {path}")
        return 404, {"error": "not part of the stand-in", "status": 404}

    def _handler(stand_in) -> type[BaseHTTPRequestHandler]:  # noqa: N805 (`self` is the handler below)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                # ElastAlert escapes the pattern's asterisk.
                path = self.path.partition("?")[0].replace("%2A", "*")
                status, answer = stand_in._answer(self.command, path, json.loads(sent or b"{}"))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = respond

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def ranges(query: object) -> list[Document]:
    """Collects the `range` clauses of a query, at any depth."""
    if isinstance(query, list):
        return [clause for part in query for clause in ranges(part)]
    if isinstance(query, dict):
        own = [query["range"]] if "range" in query else []
        return own + [clause for part in query.values() for clause in ranges(part)]
    return []


def in_range(document: Document, clause: Document) -> bool:
    """Whether the document's field is within `{field: {"gt": …, "lte": …}}`."""
    ((field, bounds),) = clause.items()
    value = document.get(field)
    return value is not None and bounds["gt"] < value <= bounds["lte"]
