"""Issues in Jira, read back by the client that people script Jira with (`jira`, from PyPI).

The Jira is a stand-in that speaks as Cloud and Data Center do; `test_jira_stand_in.py` tests that it
does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests
import yaml
from jira import JIRA, Issue

from harness import Gateway, Json, eventually
from jira_stand_in import JiraStandIn

# What Guance says of a full disk.
TITLE = "实例名称为 share 磁盘使用率过高"
MESSAGE = ">等级：critical    \n>实例：share    \n>内容：磁盘使用率为 100.00%    \n>建议：登录华为云控制台查看 RDS 是否有异常"
SAID = "\n".join(line.rstrip() for line in MESSAGE.split("\n"))

# After a lost answer: until the first search, and until the outbox gets round to it.
LOST_ANSWER_SECONDS = 180.0


@dataclass
class Way:
    """A Jira, and a way to be let into it."""

    name: str
    jira: JiraStandIn
    auth: Json
    assignee: str

    def client(self) -> JIRA:
        user = (JiraStandIn.EMAIL, JiraStandIn.TOKEN) if self.jira.is_cloud else (JiraStandIn.USER, JiraStandIn.PASSWORD)
        return JIRA(server=self.jira.url, basic_auth=user, max_retries=0)

    def receiver(self) -> Json:
        return {
            "name": f"jira-{self.name}",
            "kind": "jira",
            "url": self.jira.url,
            "allowed_hosts": ["127.0.0.1"],
            "auth": self.auth,
            "project": "OPS",
            "issue_type": "故障",
            "priority": {"critical": "Highest"},
            "assignee": self.assignee,
            "labels": ["dutygate"],
        }

    def issues(self) -> list[Issue]:
        return list(self.client().search_issues('project = "OPS" AND labels = "dutygate"'))

    def issue(self, summary: str, status: str) -> Issue | None:
        found = [issue for issue in self.issues() if issue.fields.summary == summary]
        assert len(found) <= 1, f"{len(found)} issues of one incident"
        return found[0] if found and found[0].fields.status.name == status else None


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Way]]:
    secrets = tmp_path_factory.mktemp("secrets")

    def kept(name: str, secret: str) -> str:
        (secrets / name).write_text(secret + "\n")
        return str(secrets / name)

    password, token = kept("password", JiraStandIn.PASSWORD), kept("token", JiraStandIn.TOKEN)
    of_user = {"user": JiraStandIn.USER, "password_file": password}
    all_ways = {
        "cloud": Way(
            "cloud", JiraStandIn("cloud"), {"user": JiraStandIn.EMAIL, "password_file": token}, JiraStandIn.ACCOUNT
        ),
        "token": Way("token", JiraStandIn(), {"bearer_file": token}, JiraStandIn.USER),
        "password": Way("password", JiraStandIn(), of_user, JiraStandIn.USER),
        "flaky": Way("flaky", JiraStandIn("cloud"), {"user": JiraStandIn.EMAIL, "password_file": token}, JiraStandIn.ACCOUNT),
    }
    yield all_ways
    for way in all_ways.values():
        way.jira.close()


WAYS = ("cloud", "token", "password")


class JiraGateway(Gateway):
    """A gateway whose incidents of class `x` go to the Jira of way `x`."""

    def __init__(self, directory: Path, ways: dict[str, Way]):
        super().__init__(directory)
        service = {
            "name": "default",
            "integrations": [{"name": "default", "type": "pagerduty"}],
            "grouping": [{"match": ['component="comes-back"'], "by": ["group"], "reopen_within": "1h"}],
            "notify": [{"receivers": [f"jira-{name}"], "match": [f'class="{name}"']} for name in ways],
        }
        policy = {"services": [service], "receivers": [way.receiver() for way in ways.values()]}
        self.call("PUT", "/api/v1/policy", data=yaml.safe_dump(policy, allow_unicode=True).encode())

    def call(self, method: str, path: str, **more: object) -> Json:
        headers = {"Authorization": f"Bearer {self._token}"}
        response = requests.request(method, self.url + path, headers=headers, timeout=30, **more)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def send(self, action: str, way: str, key: str, **payload: str) -> None:
        event: Json = {"routing_key": self.key, "event_action": action, "dedup_key": key}
        if action == "trigger":
            about = {"source": "share", "severity": "critical", "class": way, "custom_details": {"description": MESSAGE}}
            event["payload"] = about | payload
        response = requests.post(self.guide_url, json=event, timeout=10)
        assert response.status_code == 202, response.text


@pytest.fixture(scope="module")
def gateway(ways: dict[str, Way], tmp_path_factory: pytest.TempPathFactory) -> Iterator[JiraGateway]:
    running = JiraGateway(tmp_path_factory.mktemp("gateway"), ways)
    yield running
    assert running.process.stop() == 0


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, ways: dict[str, Way]) -> Way:
    return ways[request.param]


@pytest.fixture(scope="module", autouse=True)
def lost_answer(gateway: JiraGateway, ways: dict[str, Way]) -> str:
    """An issue is made, and the answer to that is lost. Begun first, because it takes longest."""
    ways["flaky"].jira.control(faults=["reset_after"], search_lag_seconds=20)
    gateway.send("trigger", "flaky", "lost", summary="lost answer")
    return "lost answer"


def test_a_receivers_test_says_what_jira_would_say_and_makes_nothing(gateway: JiraGateway, way: Way) -> None:
    (receiver,) = [found for found in gateway.get("/api/v1/receivers")["items"] if found["name"] == f"jira-{way.name}"]

    said = gateway.call("POST", f"/api/v1/receivers/{receiver['id']}/test")

    assert said["outcome"] == "delivered", said
    assert '"故障" in OPS from Pacher' in said["answer"]
    assert way.jira.counts().get("POST issue", 0) == 0


def test_an_alert_becomes_exactly_one_issue_and_its_end_closes_it(gateway: JiraGateway, way: Way) -> None:
    key, before = f"disk {uuid4()}", way.jira.counts().get("POST issue", 0)
    for _ in range(3):
        gateway.send("trigger", way.name, key, summary=TITLE)

    issue = eventually(lambda: way.issue(TITLE, "To Do"), "the issue")

    fields = issue.fields
    assert (fields.project.key, fields.issuetype.name, fields.priority.name) == ("OPS", "故障", "Highest")
    assert fields.assignee.displayName == "Pacher"
    assert fields.description.startswith(SAID + "\n\n||Severity|critical|\n")
    assert sum(bool(re.fullmatch(r"dutygate-[0-9a-f-]{36}", label)) for label in fields.labels) == 1

    gateway.send("resolve", way.name, key)

    closed = eventually(lambda: way.issue(TITLE, "Done"), "the issue to be closed")
    assert (closed.id, closed.fields.resolution.name) == (issue.id, "Done")
    assert [comment.body.split("*")[1] for comment in way.client().comments(closed)] == ["Resolved"]
    assert way.jira.counts()["POST issue"] == before + 1
    assert way.jira.unexpected_requests == []


def test_an_incident_that_comes_back_opens_its_issue_again(gateway: JiraGateway, way: Way) -> None:
    summary, key = f"comes back {way.name}", f"back {uuid4()}"
    trigger = {"summary": summary, "component": "comes-back", "group": key}
    gateway.send("trigger", way.name, key, **trigger)
    issue = eventually(lambda: way.issue(summary, "To Do"), "the issue")
    gateway.send("resolve", way.name, key)
    eventually(lambda: way.issue(summary, "Done"), "the issue to be closed")

    gateway.send("trigger", way.name, key, **trigger)

    again = eventually(lambda: way.issue(summary, "To Do"), "the issue to be open again")
    assert again.id == issue.id
    said = [comment.body.split("*")[1] for comment in way.client().comments(again)]
    assert said == ["Resolved", "Triggered again:"]


def test_a_person_who_closed_the_issue_is_respected(gateway: JiraGateway, way: Way) -> None:
    summary, key = f"closed by hand {way.name}", f"hand {uuid4()}"
    gateway.send("trigger", way.name, key, summary=summary)
    issue = eventually(lambda: way.issue(summary, "To Do"), "the issue")
    way.client().transition_issue(issue, "Reject", fields={"resolution": {"name": "Won't Do"}})

    gateway.send("resolve", way.name, key)

    def resolve_delivered() -> bool:
        deliveries = gateway.get("/api/v1/deliveries", receiver=f"jira-{way.name}", state="delivered")["items"]
        newest = deliveries[0]
        return newest["reason"] == "resolved" and newest["incident_id"] in str(issue.fields.labels)

    eventually(resolve_delivered, "the end to be delivered")
    assert way.issue(summary, "Rejected"), "it stays as it was left"


def test_an_issue_whose_answer_was_lost_is_found_again(gateway: JiraGateway, ways: dict[str, Way], lost_answer: str) -> None:
    way = ways["flaky"]
    eventually(lambda: way.issue(lost_answer, "To Do"), "the issue that was made")

    # Its end waits for its beginning to be known.
    gateway.send("resolve", "flaky", "lost")

    eventually(lambda: way.issue(lost_answer, "Done"), "the issue to be found and closed", LOST_ANSWER_SECONDS)
    assert way.jira.counts()["POST issue"] == 1
