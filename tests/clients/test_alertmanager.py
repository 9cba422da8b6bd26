"""Prometheus Alertmanager, Debian's package, as a process.

Over V2 only: with a `service_key` (V1) it ignores `url` and always calls PagerDuty itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
import yaml

from harness import Gateway, Json, Process, answers_200, eventually, free_port

# The label that picks the receiver, and the receivers' ways to reach the gateway.
WAYS = ("v2", "guide")


def configuration(gateway: Gateway) -> Json:
    def receiver(name: str, **pagerduty: str) -> Json:
        return {
            "name": name,
            "pagerduty_configs": [
                {"send_resolved": True, "group": "{{ .CommonLabels.alertname }}", "client": f"Alertmanager {name}"} | pagerduty
            ],
        }

    return {
        "route": {
            "receiver": "v2",
            "group_by": ["alertname"],
            "group_wait": "100ms",
            "group_interval": "500ms",
            "repeat_interval": "1h",
            "routes": [{"receiver": way, "matchers": [f'way="{way}"']} for way in WAYS],
        },
        "receivers": [
            receiver("v2", url=f"{gateway.url}/v2/enqueue", routing_key=gateway.key),
            # As the guide has it: the key in the address counts, the one in the body is not read.
            receiver("guide", url=gateway.guide_url_with_key, routing_key="xxx"),
        ],
    }


class Alertmanager:
    def __init__(self, gateway: Gateway, directory: Path):
        self.url = f"http://127.0.0.1:{free_port()}"
        (directory / "alertmanager.yml").write_text(yaml.safe_dump(configuration(gateway)))
        command = [
            "prometheus-alertmanager",
            "--config.file=alertmanager.yml",
            f"--storage.path={directory}/storage",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ]
        self.process = Process("alertmanager", command, directory)
        try:
            eventually(self._is_ready, "Alertmanager to be ready")
        except BaseException:
            self.process.stop()
            raise

    def fire(self, way: str, name: str) -> None:
        self._post(way, name, ends_at=datetime.now(UTC) + timedelta(hours=1))

    def resolve(self, way: str, name: str) -> None:
        self._post(way, name, ends_at=datetime.now(UTC) - timedelta(seconds=1))

    def failed_notifications(self) -> float:
        """How many notifications Alertmanager itself says that PagerDuty did not take."""
        text = requests.get(f"{self.url}/metrics", timeout=5).text
        (line,) = [line for line in text.splitlines() if line.startswith('alertmanager_notifications_failed_total{integration="pagerduty"')]
        return float(line.rsplit(maxsplit=1)[1])

    def _post(self, way: str, name: str, ends_at: datetime) -> None:
        alert = {
            "labels": {"alertname": name, "way": way, "instance": "db-1:9100"},
            "annotations": {"summary": "磁盘 disk ☃ 97 % full"},
            "startsAt": "2026-01-02T03:04:05Z",
            "endsAt": ends_at.isoformat(),
        }
        requests.post(f"{self.url}/api/v2/alerts", json=[alert], timeout=5).raise_for_status()

    def _is_ready(self) -> bool:
        self.process.assert_running()
        return answers_200(f"{self.url}/-/ready")


@pytest.fixture(scope="module")
def alertmanager(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    running = Alertmanager(gateway, tmp_path_factory.mktemp("alertmanager"))
    yield running
    running.process.stop()


@pytest.mark.parametrize("way", WAYS)
def test_a_firing_alert_opens_one_and_its_end_resolves_it(gateway: Gateway, alertmanager: Alertmanager, way: str) -> None:
    name = f"DiskFull{way}"

    def alert_with(status: str) -> Json | None:
        alertmanager.process.assert_running()
        found = [alert for alert in gateway.alerts() if name in alert["summary"]]
        assert len(found) <= 1, found
        return found[0] if found and found[0]["status"] == status else None

    alertmanager.fire(way, name)
    opened = eventually(lambda: alert_with("triggered"), f"an open alert of {name}")
    assert opened["summary"].startswith("[FIRING:1] ")
    assert opened["client"] == f"Alertmanager {way}"
    assert "磁盘 disk ☃ 97 % full" in opened["custom_details"]["firing"]
    assert opened["group"] == name
    # What Alertmanager sends when its configuration names no severity.
    assert opened["severity"] == "error"

    alertmanager.resolve(way, name)
    resolved = eventually(lambda: alert_with("resolved"), f"the alert of {name} to be resolved")
    assert resolved["id"] == opened["id"]
    assert alertmanager.failed_notifications() == 0
