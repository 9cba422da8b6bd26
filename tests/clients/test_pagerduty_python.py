"""PagerDuty's own Python client (`pagerduty`), and its widely installed predecessor (`pdpyras`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pagerduty
import pdpyras
import pytest

from harness import Gateway
from tls_front import TlsFront


@pytest.fixture(scope="module")
def tls_front(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsFront]:
    running = TlsFront(gateway.url, tmp_path_factory.mktemp("tls"))
    yield running
    running.close()


# The client appends PagerDuty's paths to its base address. People who read that the gateway's
# address is `…/event/push/alert/pagerduty` make that the base.
@pytest.fixture(params=["", "/event/push/alert/pagerduty"], ids=["plain", "guide"])
def client(request: pytest.FixtureRequest, gateway: Gateway, tls_front: TlsFront) -> Iterator[pagerduty.EventsApiV2Client]:
    with pagerduty.EventsApiV2Client(
        gateway.key, base_url=tls_front.url + request.param, verify=tls_front.client_context()
    ) as client:
        yield client


def test_trigger_acknowledge_resolve(gateway: Gateway, client: pagerduty.EventsApiV2Client) -> None:
    dedup_key = client.trigger(
        "磁盘 disk ☃ 97 % full",
        "db-1",
        severity="warning",
        payload={"component": "mysql", "group": "app-stack", "class": "disk"},
        custom_details={"free": "3 %", "nested": {"list": [1, 2.50, None]}},
        images=[{"src": "https://example.com/graph.png", "href": "https://example.com/", "alt": "graph"}],
        links=[{"href": "https://example.com/runbook", "text": "runbook"}],
    )
    opened = gateway.alert(dedup_key)
    assert opened["status"] == "triggered"
    assert opened["summary"] == "磁盘 disk ☃ 97 % full"
    assert opened["severity"] == "warning"
    assert (opened["source"], opened["component"], opened["group"], opened["class"]) == ("db-1", "mysql", "app-stack", "disk")
    assert opened["custom_details"] == {"free": "3 %", "nested": {"list": [1, 2.50, None]}}
    assert opened["links"] == [{"href": "https://example.com/runbook", "text": "runbook"}]

    assert client.trigger("a repetition", "db-1", dedup_key=dedup_key) == dedup_key
    assert gateway.alert(dedup_key)["event_count"] == 2

    assert client.acknowledge(dedup_key) == dedup_key
    assert gateway.alert(dedup_key)["status"] == "acknowledged"

    assert client.resolve(dedup_key) == dedup_key
    resolved = gateway.alert(dedup_key)
    assert resolved["status"] == "resolved"
    assert resolved["id"] == opened["id"]


def test_a_change_event_is_kept(gateway: Gateway, client: pagerduty.EventsApiV2Client, request: pytest.FixtureRequest) -> None:
    summary = f"Deployed v1.2.3 ☃ {request.node.name}"

    client.submit(
        summary,
        source="ci",
        # 7.2.0 fails to make a timestamp of its own (AttributeError in `event_timestamp`).
        timestamp=datetime.now(UTC).isoformat(),
        custom_details={"commit": "abc"},
        links=[{"href": "https://example.com/build/7", "text": "build"}],
    )

    (change,) = [change for change in gateway.changes() if change["summary"] == summary]
    assert change["source"] == "ci"
    assert change["custom_details"] == {"commit": "abc"}
    assert change["links"] == [{"href": "https://example.com/build/7", "text": "build"}]


def test_a_wrong_key_is_an_error_that_says_so(tls_front: TlsFront) -> None:
    with pagerduty.EventsApiV2Client("0" * 32, base_url=tls_front.url, verify=tls_front.client_context()) as client:
        with pytest.raises(pagerduty.HttpError) as raised:
            client.trigger("summary", "source")

    assert raised.value.response.status_code == 400
    assert "Invalid routing key" in raised.value.response.text


@pytest.mark.parametrize("base_path", ["", "/event/push/alert/pagerduty"], ids=["plain", "guide"])
def test_pdpyras_trigger_acknowledge_resolve(gateway: Gateway, base_path: str) -> None:
    session = pdpyras.EventsAPISession(gateway.key)
    session.url = gateway.url + base_path

    dedup_key = session.trigger("out of memory", "web-7")
    assert gateway.alert(dedup_key)["status"] == "triggered"
    session.acknowledge(dedup_key)
    assert gateway.alert(dedup_key)["status"] == "acknowledged"
    session.resolve(dedup_key)
    assert gateway.alert(dedup_key)["status"] == "resolved"
