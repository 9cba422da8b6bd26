"""The flows that people wrote scripts for, with nothing hand-written in between.

- Guance's monitor event becomes a PagerDuty incident, and its recovery resolves it. PagerDuty is
  another gateway here, which takes what PagerDuty takes and refuses what it refuses.
- ElastAlert 2, as a whole process set up as the integration guide says, reaches PagerDuty through
  the gateway, its event unchanged.
- Guance's monitor event becomes exactly one Jira issue, with the fields of the script that people
  wrote for that, and its recovery closes it. More about Jira is in test_jira.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from elasticsearch_stand_in import ElasticsearchStandIn
from harness import Gateway, Json, eventually
from jira import JIRA
from jira_stand_in import JiraStandIn
from test_elastalert import audit_entry, rule_like_the_guides, start

EVENT = Path(__file__).parent.parent / "fixtures" / "seeds" / "guance_disk_usage.json"

POLICY = """
services:
  - name: default
    integrations: [{name: default, type: pagerduty}]
    notify: [{receivers: [pagerduty]}]
receivers:
  - {name: pagerduty, kind: pagerduty, url: %s/v2/enqueue, routing_key_env: PD_KEY%s}
"""


@pytest.fixture(scope="module")
def pagerduty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("pagerduty"))
    yield running
    assert running.process.stop() == 0


def gateway_before(pagerduty: Gateway, directory: Path, more: str) -> Gateway:
    running = Gateway(directory, {"PD_KEY": pagerduty.key})
    running.apply(POLICY % (pagerduty.url, more))
    return running


@pytest.fixture(scope="module")
def grouping(pagerduty: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Tells PagerDuty of incidents."""
    running = gateway_before(pagerduty, tmp_path_factory.mktemp("grouping"), "")
    yield running
    assert running.process.stop() == 0


@pytest.fixture(scope="module")
def passing(pagerduty: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Passes alerts on as they came."""
    running = gateway_before(pagerduty, tmp_path_factory.mktemp("passing"), ", passthrough: true")
    yield running
    assert running.process.stop() == 0


def tell_guance(gateway: Gateway, key: str, event: Json) -> Json:
    response = requests.post(f"{gateway.url}/event/push/alert/guance", params={"integration_key": key}, json=event, timeout=10)
    assert response.status_code == 200, response.text
    return response.json()


def event_of(checker: str) -> tuple[Json, Json]:
    """The documents' event, of a checker of its own; and the recovery after it."""
    event = json.loads(EVENT.read_text(encoding="utf-8")) | {"df_monitor_checker_event_ref": checker, "df_event_id": f"event-{checker}"}
    recovery = event | {"df_status": "ok", "df_sub_status": "ok", "df_fault_status": "ok", "df_event_id": f"event-{checker}-ok", "Result": 12}
    return event, recovery


def told(pagerduty: Gateway, **filters: str) -> Json:
    return eventually(lambda: next(iter(pagerduty.alerts(**filters)), None), f"PagerDuty to hear of {filters}")


def assert_as_the_script_sent_it(alert: Json, event: Json) -> None:
    assert alert["summary"] == event["df_title"] == "实例名称为 share 磁盘使用率过高"
    assert alert["severity"] == "critical"
    assert alert["source"] == "share"
    details = alert["custom_details"]
    assert details["description"] == event["df_message"]
    assert details["result"] == 100
    assert details["date"] == 1693034940


def test_a_guance_event_becomes_a_pagerduty_incident_and_is_resolved(grouping: Gateway, pagerduty: Gateway) -> None:
    key = grouping.integration_key("guance-hz", "default", "guance")
    event, recovery = event_of("grouped")

    tell_guance(grouping, key, event)
    # Guance delivers twice now and then.
    tell_guance(grouping, key, event)
    incident = eventually(lambda: next(iter(grouping.get("/api/v1/incidents", service="default")["items"]), None), "the incident")
    dedup_key = f"dutygate:{incident['id']}"

    alert = told(pagerduty, dedup_key=dedup_key)
    assert_as_the_script_sent_it(alert, event)
    assert alert["client"] == "dutygate"
    assert alert["client_url"] == f"{grouping.url}/incidents/{incident['id']}"
    assert event["df_event_link"] in [link["href"] for link in alert["links"]]
    assert alert["event_count"] == 1, "what came twice was told once"

    tell_guance(grouping, key, recovery)
    told(pagerduty, dedup_key=dedup_key, status="resolved")
    assert len(pagerduty.alerts(dedup_key=dedup_key)) == 1


def test_a_guance_event_passes_through_with_its_client(passing: Gateway, pagerduty: Gateway) -> None:
    key = passing.integration_key("guance-hz", "default", "guance")
    event, recovery = event_of("passed")
    dedup_key = tell_guance(passing, key, event)["dedup_key"]

    alert = told(pagerduty, dedup_key=dedup_key)
    assert_as_the_script_sent_it(alert, event)
    assert alert["client"].startswith("Guance") and "observer" in alert["client"]
    assert alert["client_url"] == event["df_event_link"]

    tell_guance(passing, key, recovery)
    told(pagerduty, dedup_key=dedup_key, status="resolved")


def test_elastalert_reaches_pagerduty_through_the_gateway(passing: Gateway, pagerduty: Gateway, tmp_path: Path) -> None:
    elasticsearch = ElasticsearchStandIn()
    elasticsearch.index("pgy_audit-1", audit_entry("acc-7"))
    rules = tmp_path / "rules"
    rules.mkdir()
    rule = rule_like_the_guides("on to PagerDuty", pagerduty_service_key=passing.key, pagerduty_incident_key="audit/login")
    (rules / "rule.yaml").write_text(rule, encoding="utf-8")
    elastalert = start("elastalert", passing.guide_url, elasticsearch, tmp_path)
    try:
        assert elastalert.await_alert("on to PagerDuty")["alert_sent"] is True
        alert = told(pagerduty, dedup_key="audit/login")
    finally:
        elastalert.process.stop()
        elasticsearch.close()

    sent = passing.alert("audit/login")
    for field in ("summary", "severity", "source", "component", "group", "class", "client", "custom_details"):
        assert alert[field] == sent[field], field
    assert (alert["severity"], alert["source"], alert["class"]) == ("error", "mysql.host.name", "ping failure")
    assert alert["client"] == "wahaha"


JIRA_POLICY = """
services:
  - name: default
    integrations: [{name: default, type: pagerduty}]
    notify: [{receivers: [jira]}]
receivers:
  - name: jira
    kind: jira
    url: %s
    auth: {user: %s, password_env: JIRA_PASSWORD}
    project: OPS
    issue_type: 故障
    assignee: pacher
    priority: {critical: Highest}
"""


def test_a_guance_event_becomes_exactly_one_jira_issue_and_is_closed(tmp_path: Path) -> None:
    stand_in = JiraStandIn("datacenter")
    gateway = Gateway(tmp_path, {"JIRA_PASSWORD": JiraStandIn.PASSWORD})
    try:
        gateway.apply(JIRA_POLICY % (stand_in.url, JiraStandIn.USER))
        key = gateway.integration_key("guance-hz", "default", "guance")
        event, recovery = event_of("to-jira")
        client = JIRA(server=stand_in.url, basic_auth=(JiraStandIn.USER, JiraStandIn.PASSWORD), max_retries=0)

        tell_guance(gateway, key, event)
        tell_guance(gateway, key, event)
        issue = eventually(lambda: next(iter(client.search_issues('project = "OPS"')), None), "the issue")

        fields = issue.fields
        assert (fields.project.key, fields.summary) == ("OPS", event["df_title"])
        assert (fields.issuetype.name, fields.assignee.name, fields.priority.name) == ("故障", "pacher", "Highest")
        for line in event["df_message"].splitlines():
            assert line.strip() in fields.description

        tell_guance(gateway, key, recovery)
        eventually(lambda: client.issue(issue.key).fields.status.statusCategory.key == "done" or None, "the issue to be closed")
        assert len(client.search_issues('project = "OPS"')) == 1
    finally:
        assert gateway.process.stop() == 0
        stand_in.close()
