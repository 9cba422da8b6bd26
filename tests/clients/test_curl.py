"""curl, and the shapes of requests that shell scripts send with it."""

from __future__ import annotations

import gzip
import json
import subprocess
from uuid import uuid4

import pytest

from harness import Gateway, Json


def curl(*arguments: str, body: bytes) -> tuple[int, Json]:
    """Sends `body` and returns status and answer. Fails when curl does, say on a reset connection."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}", *arguments]
    done = subprocess.run([*command, "--data-binary", "@-"], input=body, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    answer, _, status = done.stdout.decode().rpartition("\n")
    return int(status), json.loads(answer)


def trigger(gateway: Gateway, dedup_key: str, details: object = None) -> bytes:
    payload = {"summary": "CPU at 99 % ☃", "source": "web-1", "severity": "critical", "custom_details": details}
    event = {"routing_key": gateway.key, "event_action": "trigger", "dedup_key": dedup_key, "payload": payload}
    return json.dumps(event, ensure_ascii=False).encode()


def assert_open(gateway: Gateway, answer: tuple[int, Json], dedup_key: str) -> None:
    assert answer == (202, {"status": "success", "message": "Event processed", "dedup_key": dedup_key})
    assert gateway.alert(dedup_key)["summary"] == "CPU at 99 % ☃"


@pytest.fixture
def dedup_key() -> str:
    return f"web-1/cpu {uuid4()}"


@pytest.mark.parametrize("path", ["/v2/enqueue", "/v2/enqueue/", "/event/push/alert/pagerduty", "/event/push/alert/pagerduty/"])
def test_no_content_type_given_means_curls_form_type(gateway: Gateway, dedup_key: str, path: str) -> None:
    answer = curl(gateway.url + path, body=trigger(gateway, dedup_key))

    assert_open(gateway, answer, dedup_key)


@pytest.mark.parametrize(
    "headers",
    [["Content-Type:"], ["Content-Type: text/plain"], ["Content-Type: application/json; charset=utf-8"], ["Transfer-Encoding: chunked"]],
    ids=lambda headers: headers[0],
)
def test_headers_do_not_matter(gateway: Gateway, dedup_key: str, headers: list[str]) -> None:
    options = [option for header in headers for option in ("--header", header)]

    answer = curl(*options, f"{gateway.url}/v2/enqueue", body=trigger(gateway, dedup_key))

    assert_open(gateway, answer, dedup_key)


def test_a_gzip_body_is_inflated(gateway: Gateway, dedup_key: str) -> None:
    body = gzip.compress(trigger(gateway, dedup_key))

    answer = curl("--header", "Content-Encoding: gzip", f"{gateway.url}/v2/enqueue", body=body)

    assert_open(gateway, answer, dedup_key)


def test_v1_is_answered_with_200(gateway: Gateway, dedup_key: str) -> None:
    event = {"service_key": gateway.key, "event_type": "trigger", "incident_key": dedup_key, "description": "CPU at 99 % ☃"}

    answer = curl(f"{gateway.url}/generic/2010-04-15/create_event.json", body=json.dumps(event).encode())

    assert answer == (200, {"status": "success", "message": "Event processed", "incident_key": dedup_key})
    assert gateway.alert(dedup_key)["severity"] == "critical"


def test_the_largest_body_is_taken(gateway: Gateway, dedup_key: str) -> None:
    room = 512 * 1024 - len(trigger(gateway, dedup_key, ""))

    body = trigger(gateway, dedup_key, "x" * room)

    assert len(body) == 512 * 1024
    assert_open(gateway, curl(f"{gateway.url}/v2/enqueue", body=body), dedup_key)


def test_a_larger_body_is_refused_with_an_answer_and_no_reset(gateway: Gateway, dedup_key: str) -> None:
    status, answer = curl(f"{gateway.url}/v2/enqueue", body=trigger(gateway, dedup_key, "x" * 600 * 1024))

    assert status == 400
    assert answer["errors"] == ["Event is too large (maximum is 512 KB)"]
    assert gateway.alerts(dedup_key=dedup_key) == []
