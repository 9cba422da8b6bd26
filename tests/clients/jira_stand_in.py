"""As much of Jira as is needed to make issues, to find them, to comment on them and to close them.

Speaks as Jira Cloud or as Jira Data Center does, by Atlassian's documentation of both: versions 2 and
3 of the REST API differ in how they search and in how they name users. One project, one workflow
(To Do, In Progress, Done, Rejected), a create screen with checks.

`POST /_control` says what is to go wrong, see `JiraStandIn.control`; `GET /_control` counts what came.
Run as a script it listens on a port of its own: `python3 jira_stand_in.py --help`.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Json = dict[str, Any]

PROJECT = {"id": "10000", "key": "OPS", "name": "Operations"}
ISSUE_TYPES = {"10001": "Task", "10002": "故障", "10003": "Bug"}
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
COMPONENTS = ("core", "web")

# A name of a status, and the key of its category.
STATUSES = {"To Do": "new", "In Progress": "indeterminate", "Done": "done", "Rejected": "done"}
# Id and name of each transition, from where it leads (None: from anywhere), and where to. The first that leads to
# a done status is not the one that an alert's end means.
TRANSITIONS = (
    ("11", "Reject", None, "Rejected"),
    ("21", "Start", "To Do", "In Progress"),
    ("31", "完成", None, "Done"),
    ("41", "Reopen", "Done", "To Do"),
)
RESOLUTIONS = ("Won't Do", "Done")
LINK_TYPE = {"id": "10003", "name": "Relates", "inward": "relates to", "outward": "relates to"}

# Jira's own limits.
SUMMARY_MAX = 255
TEXT_MAX = 32_767

FAULTS = ("none", "reset_after", "hang_after", "500_after", "502_before", "429")
HANG_SECONDS = 20.0
RETRY_AFTER_SECONDS = 1


class JiraError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, *messages: str, errors: dict[str, str] | None = None, headers: dict[str, str] | None = None):
        super().__init__(f"{status} {messages} {errors}")
        self.status = status
        self.body = {"errorMessages": list(messages), "errors": errors or {}}
        self.headers = headers or {}


@dataclass
class Issue:
    id: str
    key: str
    fields: Json
    known_at: float
    status: str = "To Do"
    resolution: str | None = None
    comments: list[Json] = field(default_factory=list)


class JiraStandIn:
    """A Jira that listens on loopback; its people and tokens are public."""

    USER, PASSWORD, TOKEN = "pacher", "pacher's password", "pacher's-token"
    EMAIL, ACCOUNT = "pacher@example.com", "5b10a2844c20165700ede21g"

    def __init__(self, kind: str = "datacenter", port: int = 0) -> None:
        assert kind in ("cloud", "datacenter"), kind
        self.is_cloud = kind == "cloud"
        self._lock = threading.Lock()
        self._issues: list[Issue] = []
        self._links: list[Json] = []
        self._requests: Counter[str] = Counter()
        self._faults: list[str] = []
        self._search_lag_seconds = 0.0
        self._required: dict[str, str] = {}
        self.unexpected_requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def control(
        self,
        faults: list[str] | None = None,
        search_lag_seconds: float | None = None,
        required: dict[str, str] | None = None,
        forget: bool = False,
    ) -> None:
        """Says what is to go wrong from now on.

        `faults`: what happens to the next issues that are to be made, one each. `…_after`: the issue is
        made, and then the connection is reset, nothing is answered for long, or 500 is. `502_before`
        and `429`: it is not made.
        `search_lag_seconds`: how long an issue is there before the search finds it, as on Cloud.
        `required`: fields, with their names, without which no issue is made.
        `forget`: all issues, links and counts are gone.
        """
        with self._lock:
            if forget:
                self._issues, self._links, self._requests, self._faults = [], [], Counter(), []
            if faults is not None:
                assert set(faults) <= set(FAULTS), faults
                self._faults = list(faults)
            if search_lag_seconds is not None:
                self._search_lag_seconds = search_lag_seconds
            if required is not None:
                self._required = dict(required)

    def counts(self) -> dict[str, int]:
        """How many requests of each kind came: `{"POST issue": 1, …}`."""
        with self._lock:
            return dict(self._requests)

    # What the API does; called with the lock held.

    def _server_info(self) -> Json:
        version = [1001, 0, 0] if self.is_cloud else [9, 12, 1]
        return {
            "baseUrl": self.url,
            "version": ".".join(map(str, version)),
            "versionNumbers": version,
            "deploymentType": "Cloud" if self.is_cloud else "Server",
            "serverTitle": "Jira",
        }

    def _user(self) -> Json:
        if self.is_cloud:
            return {"accountId": self.ACCOUNT, "displayName": "Pacher", "emailAddress": self.EMAIL, "active": True}
        return {"name": self.USER, "key": "JIRAUSER10000", "displayName": "Pacher", "emailAddress": self.EMAIL, "active": True}

    def _screen(self) -> list[Json]:
        """The fields of the create screen, as `createmeta` shows them."""
        named = lambda names: [{"id": str(at), "name": name} for at, name in enumerate(names, start=1)]  # noqa: E731
        known: list[tuple[str, str, bool, list[Json] | None]] = [
            ("summary", "Summary", True, None),
            ("project", "Project", True, [PROJECT]),
            ("issuetype", "Issue Type", True, named(ISSUE_TYPES.values())),
            ("description", "Description", False, None),
            ("assignee", "Assignee", False, None),
            ("priority", "Priority", False, named(PRIORITIES)),
            ("labels", "Labels", False, None),
            ("components", "Components", False, named(COMPONENTS)),
            ("customfield_10010", "Team", False, None),
        ]
        screen = []
        for id_, name, required, allowed in known:
            item: Json = {
                "fieldId": id_,
                "name": name,
                "required": required or id_ in self._required,
                "hasDefaultValue": id_ == "priority",
                "operations": ["set"],
                "schema": {"type": "any", "system": id_},
            }
            if self.is_cloud:
                item["key"] = id_
            if allowed is not None:
                item["allowedValues"] = allowed
            screen.append(item)
        return screen

    def _create(self, fields: Json) -> Json:
        errors: dict[str, str] = {}
        screen = {item["fieldId"]: item for item in self._screen()}
        if (fields.get("project") or {}).get("key") != PROJECT["key"] and (fields.get("project") or {}).get("id") != PROJECT["id"]:
            errors["project"] = "valid project is required"
        kind = fields.get("issuetype") or {}
        if kind.get("name") not in ISSUE_TYPES.values() and kind.get("id") not in ISSUE_TYPES:
            errors["issuetype"] = "The issue type selected is invalid."
        summary = fields.get("summary")
        if not isinstance(summary, str) or not summary.strip():
            errors["summary"] = "You must specify a summary of the issue."
        elif "\n" in summary or "\r" in summary:
            errors["summary"] = "The summary is invalid because it contains newline characters."
        elif utf16(summary) > SUMMARY_MAX:
            errors["summary"] = "Summary can't exceed 255 characters."
        description = fields.get("description")
        if description is not None and not isinstance(description, str):
            errors["description"] = "Operation value must be a string"
        elif utf16(description or "") > TEXT_MAX:
            errors["description"] = "The entered text is too long. It exceeds the allowed limit of 32,767 characters."
        for name in fields:
            if name not in screen:
                errors[name] = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
        for name, title in self._required.items():
            if not fields.get(name):
                errors[name] = f"{title} is required."
        priority = fields.get("priority")
        if priority is not None and priority.get("name") not in PRIORITIES:
            errors["priority"] = "The priority selected is invalid."
        for label in fields.get("labels") or []:
            if not isinstance(label, str) or re.search(r"\s", label):
                errors["labels"] = f"The label '{label}' contains spaces which is invalid."
        for component in fields.get("components") or []:
            if component.get("name") not in COMPONENTS:
                errors["components"] = f"Component name '{component.get('name')}' is not valid"
        assignee = fields.get("assignee")
        if assignee is not None:
            mine = (assignee.get("accountId") or assignee.get("id")) == self.ACCOUNT if self.is_cloud else assignee.get("name") == self.USER
            if not mine:
                errors["assignee"] = f"User '{assignee}' does not exist."
        if errors:
            raise JiraError(400, errors=errors)
        number = len(self._issues) + 1
        issue = Issue(str(10_000 + number), f"{PROJECT['key']}-{number}", fields, time.monotonic() + self._search_lag_seconds)
        self._issues.append(issue)
        return {"id": issue.id, "key": issue.key, "self": f"{self.url}/rest/api/2/issue/{issue.id}"}

    def _issue(self, id_or_key: str) -> Issue:
        for issue in self._issues:
            if id_or_key in (issue.id, issue.key):
                return issue
        raise JiraError(404, "Issue does not exist or you do not have permission to see it.")

    def _shown(self, issue: Issue) -> Json:
        fields = dict(issue.fields)
        kind = fields["issuetype"]
        kind = next((id_, name) for id_, name in ISSUE_TYPES.items() if kind.get("name") == name or kind.get("id") == id_)
        fields["project"] = PROJECT
        fields["issuetype"] = {"id": kind[0], "name": kind[1], "subtask": False}
        fields["status"] = status_of(issue.status)
        fields["resolution"] = {"name": issue.resolution} if issue.resolution else None
        fields["priority"] = fields.get("priority") or {"name": "Medium"}
        fields["assignee"] = self._user() if fields.get("assignee") else None
        fields.setdefault("labels", [])
        fields.setdefault("description", None)
        fields["comment"] = {"comments": issue.comments, "total": len(issue.comments), "maxResults": len(issue.comments), "startAt": 0}
        fields["issuelinks"] = [
            {"type": {"name": link["type"]["name"]}, side: {"key": link[side]["key"]}}
            for link in self._links
            for side, other in (("inwardIssue", "outwardIssue"), ("outwardIssue", "inwardIssue"))
            if link[other]["key"] == issue.key
        ]
        return {"id": issue.id, "key": issue.key, "self": f"{self.url}/rest/api/2/issue/{issue.id}", "fields": fields}

    def _search(self, query: Json) -> list[Issue]:
        """Understands `name = value`, `name in (…)` and `AND`."""
        found = [issue for issue in self._issues if issue.known_at <= time.monotonic()]
        for clause in re.split(r"\s+AND\s+", re.sub(r"\s+ORDER BY .*", "", query.get("jql", ""), flags=re.I), flags=re.I):
            match = re.fullmatch(r"\s*(\w+)\s*(?:=|in)\s*\(?(.*?)\)?\s*", clause)
            if not match:
                raise JiraError(400, f"Error in the JQL Query: {clause!r}")
            name, value = match[1], match[2].strip().strip("\"'")
            if name == "project":
                if value not in (PROJECT["key"], PROJECT["name"]):
                    raise JiraError(400, f"The value '{value}' does not exist for the field 'project'.")
            elif name == "labels":
                found = [issue for issue in found if value in (issue.fields.get("labels") or [])]
            else:
                raise JiraError(400, f"Field '{name}' does not exist or you do not have permission to view it.")
        return found

    def _comment(self, issue: Issue, body: Json) -> Json:
        text = body.get("body")
        if not isinstance(text, str) or not text.strip():
            raise JiraError(400, errors={"comment": "Comment body can not be empty!"})
        if utf16(text) > TEXT_MAX:
            raise JiraError(400, errors={"comment": "The entered text is too long. It exceeds the allowed limit of 32,767 characters."})
        number = len(issue.comments) + 1
        comment = {"id": str(number), "author": self._user(), "body": text, "created": f"2026-01-01T00:00:{number:02}.000+0000"}
        issue.comments.append(comment)
        return comment

    def _transitions(self, issue: Issue, with_fields: bool) -> list[Json]:
        offered = []
        for id_, name, from_, to in TRANSITIONS:
            if to == issue.status or from_ not in (None, issue.status):
                continue
            transition: Json = {"id": id_, "name": name, "to": status_of(to), "hasScreen": STATUSES[to] == "done"}
            if with_fields:
                allowed = [{"id": str(at), "name": name} for at, name in enumerate(RESOLUTIONS, start=1)]
                resolution = {"required": True, "name": "Resolution", "fieldId": "resolution", "allowedValues": allowed}
                transition["fields"] = {"resolution": resolution} if STATUSES[to] == "done" else {}
            offered.append(transition)
        return offered

    def _transition(self, issue: Issue, body: Json) -> None:
        wanted = str((body.get("transition") or {}).get("id"))
        offered = {transition["id"]: transition for transition in self._transitions(issue, True)}
        if wanted not in offered:
            raise JiraError(400, f"It seems that you have tried to perform a workflow operation ({wanted}) that is not valid for the current state of this issue.")
        to, resolution = offered[wanted]["to"], (body.get("fields") or {}).get("resolution")
        is_done = to["statusCategory"]["key"] == "done"
        if is_done and (resolution or {}).get("name") not in RESOLUTIONS:
            raise JiraError(400, errors={"resolution": "Resolution is required."})
        if not is_done and resolution:
            raise JiraError(400, errors={"resolution": "Field 'resolution' cannot be set. It is not on the appropriate screen, or unknown."})
        for comment in (body.get("update") or {}).get("comment") or []:
            self._comment(issue, comment["add"])
        issue.status, issue.resolution = to["name"], resolution["name"] if resolution else None

    def _page(self, name: str, items: list[Json], query: Json, most: int) -> Json:
        start, size = int(query.get("startAt", 0)), min(int(query.get("maxResults", most)), most)
        page = {"startAt": start, "maxResults": size, "total": len(items), name: items[start : start + size]}
        if not self.is_cloud:
            page["isLast"] = start + size >= len(items)
        return page

    def _route(self, method: str, path: str, query: Json, body: Json) -> tuple[int, Any]:
        for pattern, answer in (
            (r"GET /rest/api/[23]/serverInfo", lambda: self._server_info()),
            (r"GET /rest/api/[23]/myself", lambda: self._user()),
            (r"GET /rest/api/[23]/field", lambda: []),
            (r"GET /rest/api/[23]/issue/createmeta/([^/]+)/issuetypes", self._issue_types(query)),
            (r"GET /rest/api/[23]/issue/createmeta/([^/]+)/issuetypes/(\d+)", self._fields(query)),
            (r"GET /rest/api/[23]/issue/([^/]+)", lambda id_: self._shown(self._issue(id_))),
            (r"GET /rest/api/[23]/issue/([^/]+)/comment", self._comments(query)),
            (r"POST /rest/api/2/issue/([^/]+)/comment", lambda id_: (201, self._comment(self._issue(id_), body))),
            (
                r"GET /rest/api/[23]/issue/([^/]+)/transitions",
                lambda id_: {"transitions": self._offered(self._issue(id_), query)},
            ),
            (
                r"POST /rest/api/2/issue/([^/]+)/transitions",
                lambda id_: (204, self._transition(self._issue(id_), body)),
            ),
            (r"GET /rest/api/[23]/issueLinkType", lambda: {"issueLinkTypes": [LINK_TYPE]}),
            (r"POST /rest/api/[23]/issueLink", lambda: (201, self._link(body))),
            (r"(?:GET|POST) /rest/api/[23]/search/jql" if self.is_cloud else r"(?:GET|POST) /rest/api/2/search", self._found(query, body)),
        ):
            match = re.fullmatch(pattern, f"{method} {path}")
            if match:
                answered = answer(*map(unquote, match.groups()))
                return answered if isinstance(answered, tuple) else (200, answered)
        if self.is_cloud and re.fullmatch(r"/rest/api/[23]/search", path):
            raise JiraError(410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")
        self.unexpected_requests.append(f"{method} {path}")
        # Not Jira's way to say that a thing is missing, but that of what Jira runs on.
        return 404, {"message": f"null for uri: {path}", "status-code": 404}

    def _found(self, query: Json, body: Json):
        def answer() -> Json:
            asked = query | body
            found = [self._shown(issue) for issue in self._search(asked)]
            if self.is_cloud:
                return {"issues": found[: int(asked.get("maxResults") or 50)], "isLast": True}
            return self._page("issues", found, asked, 1000)

        return answer

    def _issue_types(self, query: Json):
        def answer(project: str) -> Json:
            self._known_project(project)
            types = [{"id": id_, "name": name, "subtask": False} for id_, name in ISSUE_TYPES.items()]
            return self._page("issueTypes" if self.is_cloud else "values", types, query, 50)

        return answer

    def _fields(self, query: Json):
        def answer(project: str, kind: str) -> Json:
            self._known_project(project)
            if kind not in ISSUE_TYPES:
                raise JiraError(404, f"Issue type {kind} does not exist.")
            return self._page("fields" if self.is_cloud else "values", self._screen(), query, 50)

        return answer

    def _known_project(self, project: str) -> None:
        if project not in (PROJECT["key"], PROJECT["id"]):
            raise JiraError(404, f"No project could be found with key '{project}'.")

    def _comments(self, query: Json):
        def answer(id_: str) -> Json:
            newest_first = query.get("orderBy") == "-created"
            comments = self._issue(id_).comments
            return self._page("comments", comments[::-1] if newest_first else comments, query, 100)

        return answer

    def _offered(self, issue: Issue, query: Json) -> list[Json]:
        offered = self._transitions(issue, "transitions.fields" in query.get("expand", ""))
        wanted = query.get("transitionId")
        return [transition for transition in offered if wanted in (None, transition["id"])]

    def _link(self, body: Json) -> None:
        for side in ("inwardIssue", "outwardIssue"):
            self._issue(body[side]["key"])
        if body["type"]["name"] != LINK_TYPE["name"]:
            raise JiraError(404, f"No issue link type with name '{body['type']['name']}' found.")
        if body not in self._links:
            self._links.append(body)

    def _let_in(self, authorization: str) -> None:
        scheme, _, value = authorization.partition(" ")
        if scheme == "Basic":
            pair = base64.b64decode(value).decode()
            if pair == (f"{self.EMAIL}:{self.TOKEN}" if self.is_cloud else f"{self.USER}:{self.PASSWORD}"):
                return
        elif scheme == "Bearer" and not self.is_cloud and value == self.TOKEN:
            return
        raise JiraError(
            401, "Client must be authenticated to access this resource.", headers={"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}
        )

    def _answer(self, method: str, target: str, authorization: str, body: Json) -> tuple[int, Any, dict[str, str], str]:
        """Status, body, headers, and what happens to the connection."""
        url = urlsplit(target)
        if url.path == "/_control":
            if method == "POST":
                self.control(**body)
            return 200, self.counts(), {}, "none"
        with self._lock:
            try:
                if not url.path.endswith("/serverInfo"):
                    self._let_in(authorization)
                kind = re.sub(r"/rest/api/[23]/|/?\b[A-Z]+-\d+\b|/?\b\d+\b", "", url.path)
                self._requests[f"{method} {kind}"] += 1
                fault = "none"
                if method == "POST" and re.fullmatch(r"/rest/api/2/issue", url.path):
                    fault = self._faults.pop(0) if self._faults else "none"
                    if fault == "502_before":
                        raise JiraError(502, "Bad gateway")
                    if fault == "429":
                        raise JiraError(429, "Rate limit exceeded.", headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
                    status, answer = 201, self._create(body.get("fields") or {})
                    if fault == "500_after":
                        raise JiraError(500, "Internal server error")
                else:
                    status, answer = self._route(method, url.path, dict(parse_qsl(url.query)), body)
            except JiraError as error:
                return error.status, error.body, error.headers, "none"
        return status, answer, {}, fault

    def _handler(stand_in) -> type[BaseHTTPRequestHandler]:  # noqa: N805 (`self` is the handler below)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer, headers, fault = stand_in._answer(
                    self.command, self.path, self.headers.get("Authorization", ""), json.loads(sent or b"{}")
                )
                if fault == "hang_after":
                    time.sleep(HANG_SECONDS)
                if fault in ("hang_after", "reset_after"):
                    self.close_connection = True
                    return
                body = b"" if status == 204 else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json;charset=UTF-8", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = respond

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def status_of(name: str) -> Json:
    return {"name": name, "statusCategory": {"key": STATUSES[name], "name": STATUSES[name]}}


def utf16(text: str) -> int:
    """How long Jira takes a text to be."""
    return len(text.encode("utf-16-le")) // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("datacenter", "cloud"), default="datacenter")
    parser.add_argument("--port", type=int, default=8099)
    arguments = parser.parse_args()
    running = JiraStandIn(arguments.kind, arguments.port)
    print(f"a Jira ({arguments.kind}) at {running.url}, project {PROJECT['key']}")
    threading.Event().wait()


if __name__ == "__main__":
    main()
