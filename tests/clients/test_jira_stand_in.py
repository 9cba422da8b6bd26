"""The stand-in for Jira, with the client (`jira`, from PyPI) that people script Jira with.

It takes the script that people wrote by hand before there was a gateway, and it refuses, forgets and
loses as Jira does.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from jira import JIRA, JIRAError

from harness import Json, eventually
from jira_stand_in import JiraStandIn

# What Guance says of a full disk.
TITLE = "实例名称为 share 磁盘使用率过高"
MESSAGE = ">等级：critical    \n>实例：share    \n>内容：磁盘使用率为 100.00%    \n>建议：登录华为云控制台查看 RDS 是否有异常"


@pytest.fixture(params=["cloud", "datacenter"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def jira(kind: str) -> Iterator[JiraStandIn]:
    running = JiraStandIn(kind)
    yield running
    running.close()
    assert running.unexpected_requests == []


@pytest.fixture
def client(jira: JiraStandIn) -> JIRA:
    user = (JiraStandIn.EMAIL, JiraStandIn.TOKEN) if jira.is_cloud else (JiraStandIn.USER, JiraStandIn.PASSWORD)
    return JIRA(server=jira.url, basic_auth=user, max_retries=0)


@pytest.fixture
def fields(kind: str) -> Json:
    """As the script by hand has it; Cloud names its people otherwise."""
    assignee = {"accountId": JiraStandIn.ACCOUNT} if kind == "cloud" else {"name": "pacher"}
    return {
        "project": {"key": "OPS"},
        "summary": TITLE,
        "description": MESSAGE,
        "issuetype": {"name": "故障"},
        "assignee": assignee,
        "priority": {"name": "Highest"},
    }


def test_the_script_by_hand_makes_an_issue(client: JIRA, fields: Json) -> None:
    made = client.create_issue(fields=fields)

    read = client.issue(made.key).fields
    assert (read.project.key, read.summary, read.description) == ("OPS", TITLE, MESSAGE)
    assert (read.issuetype.name, read.priority.name, read.status.name) == ("故障", "Highest", "To Do")
    assert read.assignee.displayName == "Pacher"


def test_what_jira_refuses_is_refused(client: JIRA, jira: JiraStandIn, fields: Json) -> None:
    jira.control(required={"customfield_10010": "Team"})
    wrong = {
        "summary": "a\nb",
        "priority": {"name": "Urgent"},
        "customfield_1": "x",
        "labels": ["a b"],
        "assignee": {"name": "nobody"},
    }

    with pytest.raises(JIRAError) as refused:
        client.create_issue(fields=fields | wrong)

    assert refused.value.status_code == 400
    assert set(refused.value.response.json()["errors"]) == {*wrong, "customfield_10010"}
    with pytest.raises(JIRAError) as stranger:
        JIRA(server=jira.url, basic_auth=("pacher", "wrong"), max_retries=0).create_issue(fields=fields)
    assert stranger.value.status_code == 401


def test_the_search_lags(client: JIRA, jira: JiraStandIn, fields: Json) -> None:
    jira.control(search_lag_seconds=0.3)
    made = client.create_issue(fields=fields | {"labels": ["dutygate-1"]})
    query = 'project = "OPS" AND labels = "dutygate-1"'

    assert client.search_issues(query) == []
    found = eventually(lambda: client.search_issues(query), "the search to find the issue")
    assert [issue.key for issue in found] == [made.key]


def test_an_issue_is_commented_closed_opened_again_and_linked(client: JIRA, fields: Json) -> None:
    one, two = client.create_issue(fields=fields), client.create_issue(fields=fields)

    client.add_comment(one, "first")
    client.transition_issue(one, "完成", fields={"resolution": {"name": "Done"}}, comment="second")
    closed = client.issue(one.key).fields
    assert (closed.status.name, closed.status.statusCategory.key) == ("Done", "done")
    assert (closed.resolution.name, [comment.body for comment in client.comments(one)]) == ("Done", ["first", "second"])
    with pytest.raises(JIRAError, match="Resolution is required"):
        client.transition_issue(two, "完成")

    client.transition_issue(one, "Reopen")
    client.create_issue_link("Relates", two, one)
    opened = client.issue(one.key).fields
    assert (opened.status.name, opened.resolution) == ("To Do", None)
    assert [link.inwardIssue.key for link in opened.issuelinks] == [two.key]


def test_an_answer_gets_lost_after_the_issue_is_made(client: JIRA, jira: JiraStandIn, fields: Json) -> None:
    requests.post(f"{jira.url}/_control", json={"faults": ["reset_after", "500_after", "502_before", "429"]}, timeout=5)
    failed = []
    for _ in range(4):
        with pytest.raises((JIRAError, requests.ConnectionError)) as lost:
            client.create_issue(fields=fields)
        failed.append(getattr(lost.value, "status_code", None))

    assert failed == [None, 500, 502, 429]
    assert len(client.search_issues('project = "OPS"')) == 2
    assert requests.get(f"{jira.url}/_control", timeout=5).json()["POST issue"] == 4
