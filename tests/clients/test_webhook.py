"""Webhooks, taken by a plain HTTP server and checked by the library of Standard Webhooks."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from harness import Gateway, Json, eventually

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH = "/services/T000/a-path-that-is-a-secret"
PAGE = Path(__file__).parent.parent.parent / "docs" / "receivers" / "webhook.md"


@dataclass
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)


class Hook:
    """A server that keeps what is posted, and answers with the statuses it is given, then with 200."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.statuses: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                hook.posted.append(Posted(self.path, headers, body))
                self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def about(self, key: str) -> list[Posted]:
        return [posted for posted in self.posted if key.encode() in posted.body]


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    running = Hook()
    yield running
    running.close()


POLICY = """
services:
  - name: default
    integrations: [{name: default, type: pagerduty}]
    notify:
      - {receivers: [hook], match: ['class="hook"']}
      - {receivers: [chat], match: ['class="chat"']}
      - {receivers: [alertmanager], match: ['class="alertmanager"']}
receivers:
  - {name: hook, kind: webhook, url: %HOOK%/in, secret_env: HOOK_SECRET}
  - name: chat
    kind: webhook
    url_env: CHAT_URL
    template: |
      {"text": "[{{ incident.severity|upper }}] {{ incident.title }}"}
  - {name: alertmanager, kind: webhook, url: %HOOK%/am, format: alertmanager}
"""


@pytest.fixture(scope="module")
def gateway(hook: Hook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = {
        "HOOK_SECRET": SECRET,
        "CHAT_URL": hook.url + PATH,
        # Nobody asked for a proxy, so none is to be used.
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }
    running = Gateway(tmp_path_factory.mktemp("gateway"), settings)
    running.apply(POLICY.replace("%HOOK%", hook.url))
    yield running
    assert running.process.stop() == 0


@pytest.fixture
def key() -> str:
    return f"key-{uuid4().hex[:8]}"


def send(gateway: Gateway, action: str, receiver: str, key: str) -> None:
    summary = f'{key} "磁盘" C:\\data\nis full'
    payload = {"summary": summary, "source": "db-1", "severity": "critical", "class": receiver}
    event = {"event_action": action, "dedup_key": key, "payload": payload}
    response = requests.post(gateway.guide_url_with_key, json=event, timeout=10)
    assert response.status_code == 202, response.text


def verify_as_documented() -> Callable[[str, dict[str, str], bytes], bool]:
    """The function that the page gives to readers of Python."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Callable[[str, dict[str, str], bytes], bool]] = {}
    exec(code, names)  # noqa: S102 (it is ours)
    return names["verify"]


def test_what_is_posted_is_signed_as_its_libraries_want(gateway: Gateway, hook: Hook, key: str) -> None:
    send(gateway, "trigger", "hook", key)
    eventually(lambda: hook.about(key), "the incident's opening")
    send(gateway, "resolve", "hook", key)
    opened, resolved = eventually(lambda: len(hook.about(key)) == 2 and hook.about(key), "its end")

    verify = verify_as_documented()
    for posted in (opened, resolved):
        assert Webhook(SECRET).verify(posted.body, posted.headers) == posted.json
        assert verify(SECRET, posted.headers, posted.body)
        assert not verify(SECRET, posted.headers, posted.body + b" ")
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(posted.body + b" ", posted.headers)
    assert [opened.json["type"], resolved.json["type"]] == ["incident.opened", "incident.resolved"]
    (incident,) = gateway.get("/api/v1/incidents", q=key)["items"]
    assert opened.json["data"]["incident"]["id"] == incident["id"]
    assert opened.json["data"]["alerts"][0]["dedup_key"] == key
    ids = {delivery["id"] for delivery in gateway.deliveries(incident=incident["id"])}
    assert {opened.headers["webhook-id"], resolved.headers["webhook-id"]} == ids


def test_a_retry_is_the_same_again(gateway: Gateway, hook: Hook, key: str) -> None:
    hook.statuses = [503]

    send(gateway, "trigger", "hook", key)
    first, second = eventually(lambda: len(hook.about(key)) == 2 and hook.about(key), "a second try", within=60)

    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    Webhook(SECRET).verify(second.body, second.headers)


def test_a_template_makes_the_body_and_a_secret_address_stays_one(gateway: Gateway, hook: Hook, key: str) -> None:
    send(gateway, "trigger", "chat", key)
    (posted,) = eventually(lambda: hook.about(key), "the message")

    assert posted.path == PATH
    assert posted.json == {"text": f'[CRITICAL] {key} "磁盘" C:\\data\nis full'}
    delivery = eventually(lambda: gateway.deliveries(receiver="chat", state="delivered"), "the delivery")[0]
    shown = gateway.get(f"/api/v1/deliveries/{delivery['id']}")["attempt_log"][0]["request"]
    assert hook.url in shown and PATH not in shown


def test_alertmanagers_document_fires_and_resolves(gateway: Gateway, hook: Hook, key: str) -> None:
    send(gateway, "trigger", "alertmanager", key)
    eventually(lambda: hook.about(key), "the firing group")
    send(gateway, "resolve", "alertmanager", key)
    firing, resolved = eventually(lambda: len(hook.about(key)) == 2 and hook.about(key), "the resolved group")

    assert firing.json["version"] == "4"
    assert [firing.json["status"], resolved.json["status"]] == ["firing", "resolved"]
    assert firing.json["groupKey"] == resolved.json["groupKey"]
    (before,), (after,) = firing.json["alerts"], resolved.json["alerts"]
    assert before["fingerprint"] == after["fingerprint"]
    assert before["labels"] == after["labels"]
    assert before["endsAt"] == "0001-01-01T00:00:00Z" < after["endsAt"]
