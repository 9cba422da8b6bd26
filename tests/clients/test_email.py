"""Mail, taken by a real server (aiosmtpd) and read by Python's own parser of mails.

Between them stands a whole gateway: events come in as from any sender, mails go out by its outbox.
"""

from __future__ import annotations

import email
import email.policy
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from harness import Gateway, Json, eventually, free_port

# aiosmtpd knows of STARTTLS only: over TLS from the first byte it thinks that passwords are in the clear.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

PASSWORD, WRONG_PASSWORD = "pass-of-the-gate", "pass-of-another-gate"
TITLE = "磁盘 disk ☃ \"data\" at 97 % <b>full</b> on " + "db-1.prod.example.com " * 4
DETAILS = {"description": "剩余空间 1 %\nfree space: <1 %", "free": 1.10, "mounts": ["/data"]}


@dataclass
class Mail:
    """A mail as it was taken."""

    to: list[str]
    message: EmailMessage
    secured: bool
    user: str | None


@dataclass
class MailServer:
    """What `aiosmtpd` asks, and what it took."""

    mails: list[Mail] = field(default_factory=list)
    # Recipients that are refused, each with as many answers as there are, then taken.
    refused: dict[str, list[str]] = field(default_factory=dict)
    controller: Controller = None  # type: ignore[assignment]

    def start(self, **options: Any) -> MailServer:
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port(), ready_timeout=30, **options)
        self.controller.start()
        return self

    @property
    def port(self) -> int:
        return self.controller.port

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        answers = self.refused.get(address)
        if answers:
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        user = session.auth_data.login.decode() if session.authenticated else None
        secured = server.transport.get_extra_info("ssl_object") is not None
        self.mails.append(Mail(list(envelope.rcpt_tos), message, secured, user))
        return "250 2.0.0 queued as 4711"

    def mail(self, state: str, about: str) -> Mail | None:
        """The one mail in this state of the incident that has `about` in its title."""
        found = [mail for mail in self.mails if f"[{state}] " in mail.message["subject"] and about in mail.message["subject"]]
        assert len(found) <= 1, f"{len(found)} mails {state} about {about}"
        return found[0] if found else None


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
    right = data.login == b"gate" and data.password == PASSWORD.encode()
    # "Not handled" means that the answer is still to be given.
    return AuthResult(success=right, handled=right, auth_data=data)


def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(made)
    return made


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def servers(authority: trustme.CA) -> Iterator[dict[str, MailServer]]:
    login = {"authenticator": authenticate, "auth_required": True}
    running = {
        "plain": MailServer().start(),
        "starttls": MailServer().start(tls_context=context(authority), require_starttls=True, **login),
        "smtps": MailServer().start(ssl_context=context(authority), auth_require_tls=False, **login),
        "strangers": MailServer().start(ssl_context=context(trustme.CA()), auth_require_tls=False, **login),
    }
    yield running
    for server in running.values():
        server.controller.stop()


class MailGateway(Gateway):
    """A gateway that mails incidents of class `x` by the receiver `x`."""

    def __init__(self, directory: Path, servers: dict[str, MailServer], authority: trustme.CA):
        authorities = directory / "authorities.pem"
        authority.cert_pem.write_to_path(str(authorities))
        settings = {
            "MAIL_PASSWORD": PASSWORD,
            "WRONG_PASSWORD": WRONG_PASSWORD,
            "SSL_CERT_FILE": str(authorities),
            "DUTYGATE_PUBLIC_URL": "https://duty.example.com",
        }
        super().__init__(directory, settings)
        plain = f"smtp://127.0.0.1:{servers['plain'].port}"
        login = "username: gate, password_env: MAIL_PASSWORD"
        ways = {
            "plain": f"smtp: '{plain}'",
            "starttls": f"smtp: 'smtp://localhost:{servers['starttls'].port}', {login}",
            "smtps": f"smtp: 'smtps://localhost:{servers['smtps'].port}', {login}",
            "strangers": f"smtp: 'smtps://localhost:{servers['strangers'].port}', {login}",
            "wrong-password": f"smtp: 'smtps://localhost:{servers['smtps'].port}', username: gate, password_env: WRONG_PASSWORD",
            "in-the-clear": f"smtp: '{plain}', {login}",
        }
        receivers = "".join(
            f"  - {{name: {name}, kind: email, from: Duty <gate@example.com>, to: [night@example.com, Ops <ops@example.org>], {way}}}\n"
            for name, way in ways.items()
        )
        rules = "".join(f"      - {{receivers: [{name}], match: ['class=\"{name}\"']}}\n" for name in ways)
        self.apply(
            "services:\n  - name: default\n    integrations: [{name: default, type: pagerduty}]\n"
            f"    notify:\n{rules}receivers:\n{receivers}"
        )

    def send(self, action: str, receiver: str, key: str, summary: str = "") -> None:
        payload = {"summary": f"{key} {summary}", "source": "db-1", "severity": "critical", "class": receiver, "custom_details": DETAILS}
        event = {"event_action": action, "dedup_key": key, "payload": payload, "client": "Zabbix", "client_url": "https://zabbix.example.com/?a=1&b=2"}
        response = requests.post(self.guide_url_with_key, json=event, timeout=10)
        assert response.status_code == 202, response.text

    def delivery(self, receiver: str, state: str) -> Json | None:
        """The newest delivery to a receiver, with its attempts, once it is in this state and was tried."""
        newest = self.deliveries(receiver=receiver)[:1]
        if not newest or newest[0]["state"] != state or newest[0]["attempts"] == 0:
            return None
        return self.get(f"/api/v1/deliveries/{newest[0]['id']}")


@pytest.fixture(scope="module")
def gateway(servers: dict[str, MailServer], authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailGateway]:
    running = MailGateway(tmp_path_factory.mktemp("gateway"), servers, authority)
    yield running
    assert running.process.stop() == 0


@pytest.fixture
def key() -> str:
    return f"key-{uuid4().hex[:8]}"


def text_of(mail: Mail, kind: str) -> str:
    (part,) = [part for part in mail.message.iter_parts() if part.get_content_type() == f"text/{kind}"]
    assert part.get_content_charset() == "utf-8"
    return part.get_content().replace("\r\n", "\n")


def test_an_incident_is_a_thread_from_its_beginning_to_its_end(gateway: MailGateway, servers: dict[str, MailServer], key: str) -> None:
    server = servers["plain"]

    gateway.send("trigger", "plain", key, TITLE)
    opened = eventually(lambda: server.mail("CRITICAL", key), "a mail that tells of the incident")
    gateway.send("resolve", "plain", key)
    resolved = eventually(lambda: server.mail("RESOLVED", key), "a mail that tells of its end")

    (incident,) = gateway.get("/api/v1/incidents", q=key)["items"]
    number = incident["number"]
    assert opened.message["subject"] == f"[CRITICAL] {key} {TITLE.strip()} (#{number})"
    assert resolved.message["subject"] == f"[RESOLVED] {key} {TITLE.strip()} (#{number})"
    thread = f"<incident.{incident['id']}@example.com>"
    ids = {f"<{delivery['id']}@example.com>" for delivery in gateway.deliveries(incident=incident["id"])}
    assert {opened.message["message-id"], resolved.message["message-id"]} == ids
    for mail in (opened, resolved):
        assert mail.message.defects == []
        assert mail.to == ["night@example.com", "ops@example.org"]
        assert mail.message["references"] == mail.message["in-reply-to"] == thread
        assert mail.message["from"] == "Duty <gate@example.com>"
        assert mail.message["to"] == "night@example.com, Ops <ops@example.org>"
        assert mail.message["date"].datetime is not None
        assert mail.message["auto-submitted"] == "auto-generated"
        assert mail.message["x-auto-response-suppress"] == "All"
        assert mail.message["x-dutygate-incident"] == str(number)
        assert mail.message.get_content_type() == "multipart/alternative"
    assert opened.message["x-dutygate-reason"] == "opened"
    assert opened.message["importance"] == "high"
    assert resolved.message["x-dutygate-status"] == "resolved"


def test_what_is_known_is_in_the_text_and_in_the_html(gateway: MailGateway, servers: dict[str, MailServer], key: str) -> None:
    gateway.send("trigger", "plain", key, TITLE)
    mail = eventually(lambda: servers["plain"].mail("CRITICAL", key), "a mail that tells of the incident")

    (incident,) = gateway.get("/api/v1/incidents", q=key)["items"]
    text, html = text_of(mail, "plain"), text_of(mail, "html").replace("&#x2f;", "/")
    page = f"https://duty.example.com/incidents/{incident['id']}"
    for said in (page, "New incident", "Service: default", "剩余空间 1 %\nfree space: <1 %", "Source: db-1", "free: 1.1\n", "https://zabbix.example.com/?a=1&b=2"):
        assert said in text
    for said in (f'href="{page}"', "☃ &quot;data&quot; at 97 % &lt;b&gt;full&lt;/b&gt;", "free space: &lt;1 %", "https://zabbix.example.com/?a=1&amp;b=2", ">CRITICAL<"):
        assert said in html


@pytest.mark.parametrize("way", ["starttls", "smtps"])
def test_a_user_logs_in_over_tls_that_is_checked(gateway: MailGateway, servers: dict[str, MailServer], key: str, way: str) -> None:
    gateway.send("trigger", way, key)
    mail = eventually(lambda: servers[way].mail("CRITICAL", key), f"a mail by {way}")

    assert mail.secured
    assert mail.user == "gate"
    delivery = eventually(lambda: gateway.delivery(way, "delivered"), "the delivery to be delivered")
    assert delivery["attempt_log"][-1]["status"] == 250
    assert "queued as 4711" in delivery["attempt_log"][-1]["answer"]


@pytest.mark.parametrize(
    ("receiver", "said"),
    [
        ("wrong-password", "check username and password"),
        ("strangers", "certificate"),
        ("in-the-clear", "a password is never sent in the clear"),
    ],
)
def test_what_somebody_can_mend_is_said_and_tried_again(gateway: MailGateway, key: str, receiver: str, said: str) -> None:
    gateway.send("trigger", receiver, key)
    delivery = eventually(lambda: gateway.delivery(receiver, "pending"), "a first attempt to fail")

    attempt = delivery["attempt_log"][0]
    assert said in attempt["error"]
    assert "Subject: [CRITICAL]" in attempt["request"]
    assert PASSWORD not in str(delivery) and WRONG_PASSWORD not in str(delivery)


def test_a_greylisting_server_gets_the_mail_again(gateway: MailGateway, servers: dict[str, MailServer], key: str) -> None:
    server = servers["plain"]
    greylisted = "451 4.7.1 Greylisted, come back in some seconds"
    server.refused = {"night@example.com": [greylisted], "ops@example.org": [greylisted]}

    gateway.send("trigger", "plain", key)
    eventually(lambda: server.mail("CRITICAL", key), "the mail to come at the second try", within=60)

    delivery = eventually(lambda: gateway.delivery("plain", "delivered"), "the delivery to be delivered")
    assert "Greylisted" in delivery["attempt_log"][0]["error"]
    assert server.mail("CRITICAL", key) is not None, "one mail, and no more"


def test_an_unknown_recipient_does_not_keep_the_mail_from_the_others(gateway: MailGateway, servers: dict[str, MailServer], key: str) -> None:
    server = servers["plain"]
    server.refused = {"night@example.com": ["550 5.1.1 no such user"]}

    gateway.send("trigger", "plain", key)
    mail = eventually(lambda: server.mail("CRITICAL", key), "the mail to the other")

    server.refused = {}
    assert mail.to == ["ops@example.org"]
    delivery = eventually(lambda: gateway.delivery("plain", "delivered"), "the delivery to be delivered")
    assert "not for night@example.com (550 5.1.1 no such user)" in delivery["attempt_log"][-1]["error"]


def test_a_receiver_is_tried_out(gateway: MailGateway, servers: dict[str, MailServer]) -> None:
    headers = {"Authorization": f"Bearer {gateway._token}"}
    response = requests.post(f"{gateway.url}/api/v1/receivers/plain/test", headers=headers, timeout=30)

    assert response.status_code == 200, response.text
    assert response.json()["outcome"] == "delivered"
    (mail,) = [mail for mail in servers["plain"].mails if mail.message["subject"].startswith("[TEST] ")]
    assert "Nothing is wrong" in text_of(mail, "plain")
