"""ElastAlert 2, as a whole process, set up as the integration guide says.

The guide has the operator do two things: replace PagerDuty's address in ElastAlert's source by the
gateway's, and use the rule in `rules/flashduty_guide.yaml`. The key goes either into the address or
into the rule; both ways are tested, each with an ElastAlert of its own, because the address is the
same for all rules of a process.

ElastAlert starts every rule after a random delay of up to 15 seconds and then repeats it a few
seconds late or early, so all rules share two processes that are started at once.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from elasticsearch_stand_in import WRITEBACK_INDEX, ElasticsearchStandIn
from harness import Gateway, Json, Process, eventually

GUIDE_RULE = Path(__file__).parent / "rules" / "flashduty_guide.yaml"

PAGERDUTY_ADDRESSES = ("https://events.pagerduty.com/v2/enqueue", "https://events.pagerduty.com/generic/2010-04-15/create_event.json")

# The random delay of the first run, the start of Python with ElastAlert's many imports, and a slow machine.
ELASTALERT_DEADLINE_SECONDS = 60.0


@dataclass
class ElastAlert:
    process: Process
    elasticsearch: ElasticsearchStandIn

    def await_alert(self, rule_name: str) -> Json:
        """Waits until ElastAlert has written down that it sent, or could not send, an alert."""

        def first_record() -> Json | None:
            self.process.assert_running()
            return next(iter(self.elasticsearch.written_back(rule_name)), None)

        return eventually(first_record, f"ElastAlert's rule {rule_name!r} to alert", ELASTALERT_DEADLINE_SECONDS)


def with_address(url: str, directory: Path) -> Path:
    """Copies the installed ElastAlert and replaces PagerDuty's address in the copy's source."""
    installed = importlib.util.find_spec("elastalert")
    assert installed and installed.submodule_search_locations
    shutil.copytree(installed.submodule_search_locations[0], directory / "elastalert")
    source = directory / "elastalert" / "alerters" / "pagerduty.py"
    text = source.read_text()
    for address in PAGERDUTY_ADDRESSES:
        assert text.count(address) == 1, f"ElastAlert no longer names {address} once"
        text = text.replace(address, url)
    source.write_text(text)
    return directory


def start(name: str, url: str, elasticsearch: ElasticsearchStandIn, directory: Path, *arguments: str) -> ElastAlert:
    config = {
        "rules_folder": str(directory / "rules"),
        "run_every": {"seconds": 2},
        "buffer_time": {"minutes": 15},
        "es_host": "127.0.0.1",
        "es_port": elasticsearch.port,
        "writeback_index": WRITEBACK_INDEX,
        "alert_time_limit": {"days": 2},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    source = with_address(url, directory / "source")
    command = [sys.executable, "-m", "elastalert.elastalert", "--config", "config.yaml", "--verbose", *arguments]
    # Nothing else of the environment: it could carry ES_HOST or a proxy.
    environment = {"PYTHONPATH": str(source), "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1", "LC_ALL": "C.UTF-8"}
    return ElastAlert(Process(name, command, directory, environment), elasticsearch)


def rule_like_the_guides(name: str, **changes: object) -> str:
    rule = yaml.safe_load(GUIDE_RULE.read_text()) | {"name": name} | changes
    return yaml.safe_dump(rule, allow_unicode=True)


def audit_entry(account: str) -> Json:
    """A document as the guide's rule expects it, made now."""
    return {
        "created_at": int(time.time() * 1000),
        "account_id": account,
        "operation": "登录 login",
        "request_id": f"req-{account}",
        "operation_name": "user.login",
    }


@pytest.fixture(scope="module")
def elasticsearch() -> Iterator[ElasticsearchStandIn]:
    running = ElasticsearchStandIn()
    yield running
    running.close()


@pytest.fixture(scope="module")
def audit(elasticsearch: ElasticsearchStandIn) -> Json:
    document = audit_entry("acc-42")
    elasticsearch.index("pgy_audit-1", document)
    return document


@pytest.fixture(scope="module", autouse=True)
def both_elastalerts(
    gateway: Gateway, elasticsearch: ElasticsearchStandIn, audit: Json, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ElastAlert, ElastAlert]]:
    key_in_address = tmp_path_factory.mktemp("key-in-address")
    (key_in_address / "rules").mkdir()
    shutil.copy(GUIDE_RULE, key_in_address / "rules" / "guide.yaml")
    key_in_rule = tmp_path_factory.mktemp("key-in-rule")
    (key_in_rule / "rules").mkdir()
    rules: dict[str, dict[str, object]] = {"unknown-key": {"pagerduty_service_key": "0" * 32}}
    for version in ("v1", "v2"):
        common = {
            "pagerduty_service_key": gateway.key,
            "pagerduty_api_version": version,
            "pagerduty_incident_key": version + "-{0}",
            "pagerduty_incident_key_args": ["account_id"],
        }
        # The test decides when a recovery is found, by putting it into this index.
        recovery = {"index": f"pgy_recovered_{version}*", "pagerduty_event_type": "resolve"}
        rules |= {f"{version}-trigger": common, f"{version}-resolve": common | recovery}
    for name, changes in rules.items():
        (key_in_rule / "rules" / f"{name}.yaml").write_text(rule_like_the_guides(name, **changes))

    started = (
        start("elastalert", gateway.guide_url_with_key, elasticsearch, key_in_address, "--rule", "rules/guide.yaml"),
        start("elastalert", gateway.guide_url, elasticsearch, key_in_rule),
    )
    yield started
    for elastalert in started:
        elastalert.process.stop()


@pytest.fixture
def key_in_address(both_elastalerts: tuple[ElastAlert, ElastAlert]) -> ElastAlert:
    return both_elastalerts[0]


@pytest.fixture
def key_in_rule(both_elastalerts: tuple[ElastAlert, ElastAlert]) -> ElastAlert:
    return both_elastalerts[1]


def test_the_guides_rule_opens_an_alert_with_every_field(gateway: Gateway, key_in_address: ElastAlert, audit: Json) -> None:
    record = key_in_address.await_alert("b")

    assert record["alert_sent"] is True, record
    # The rule sets no incident key, so the gateway made one; the rule is told apart by its address' key.
    (alert,) = [alert for alert in gateway.alerts() if not alert["dedup_key"].startswith(("v1-", "v2-"))]
    assert alert["status"] == "triggered"
    assert alert["event_count"] == 1
    assert len(alert["dedup_key"]) == 32
    assert alert["summary"] == "Test acc-42 123 aa☃ 登录 login"
    assert alert["severity"] == "error"
    assert alert["source"] == "mysql.host.name"
    assert alert["class"] == "ping failure"
    assert alert["component"] == "mysql"
    assert alert["group"] == "app-stack"
    assert alert["client"] == "wahaha"
    assert alert["custom_details"]["information"].startswith("Test req-acc-42  123 bb☃ user.login")
    happened_at = datetime.fromisoformat(alert["event_at"])
    assert round(happened_at.timestamp() * 1000) == audit["created_at"], "the event keeps the document's own time"


def test_a_v2_rule_opens_an_alert_and_another_resolves_it(
    gateway: Gateway, key_in_rule: ElastAlert, elasticsearch: ElasticsearchStandIn
) -> None:
    opens_and_resolves(gateway, key_in_rule, elasticsearch, "v2", "error", "mysql.host.name")


def test_a_v1_rule_opens_an_alert_and_another_resolves_it(
    gateway: Gateway, key_in_rule: ElastAlert, elasticsearch: ElasticsearchStandIn
) -> None:
    # V1 has neither severity nor source: the severity is fixed, the source is the client's name.
    opens_and_resolves(gateway, key_in_rule, elasticsearch, "v1", "critical", "wahaha")


def opens_and_resolves(
    gateway: Gateway, elastalert: ElastAlert, elasticsearch: ElasticsearchStandIn, version: str, severity: str, source: str
) -> None:
    record = elastalert.await_alert(f"{version}-trigger")
    assert record["alert_sent"] is True, record
    opened = gateway.alert(f"{version}-acc-42")
    assert opened["status"] == "triggered"
    assert opened["summary"] == "Test acc-42 123 aa☃ 登录 login"
    assert opened["severity"] == severity
    assert opened["source"] == source
    assert opened["custom_details"]["information"].startswith("Test req-acc-42  123 bb☃ user.login")

    elasticsearch.index(f"pgy_recovered_{version}-1", audit_entry("acc-42"))

    record = elastalert.await_alert(f"{version}-resolve")
    assert record["alert_sent"] is True, record
    resolved = gateway.alert(f"{version}-acc-42")
    assert resolved["id"] == opened["id"]
    assert resolved["status"] == "resolved"


def test_an_unknown_key_is_an_error_in_elastalert(gateway: Gateway, key_in_rule: ElastAlert) -> None:
    record = key_in_rule.await_alert("unknown-key")

    assert record["alert_sent"] is False
    assert "400" in record["alert_exception"]


def test_elastalert_needed_nothing_that_the_stand_in_lacks(elasticsearch: ElasticsearchStandIn) -> None:
    assert elasticsearch.unexpected_requests == []
