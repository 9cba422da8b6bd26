"""What every test here stands on: child processes, bounded waiting, and a running gateway.

Deliberately knows nothing of the gateway's inside: it is started as its users start it and asked
through its HTTP API.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import requests

T = TypeVar("T")
Json = dict[str, Any]

# Long enough for a debug build beside a compiler on two cores; a passing test never waits that long.
DEADLINE_SECONDS = 30.0
POLL_SECONDS = 0.05


def eventually(look: Callable[[], T | None], what: str, within: float = DEADLINE_SECONDS) -> T:
    """Returns the first result of `look` that is true; fails after `within` seconds.

    The only place that sleeps. `what` completes the sentence "timed out waiting for …".
    """
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {within:g} s waiting for {what}")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers_200(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


class Process:
    """A child process whose output goes to a file, shown when a test that uses it fails."""

    def __init__(self, name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None):
        self.name = name
        self.log_file = directory / f"{name}.log"
        with self.log_file.open("wb") as log:
            self._child = subprocess.Popen(
                command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def assert_running(self) -> None:
        status = self._child.poll()
        assert status is None, f"{self.name} ended with status {status}:\n{self.log}"

    def stop(self, grace_seconds: float = 20.0) -> int:
        """Asks the process to end and returns its exit status; kills it when it does not obey."""
        if self._child.poll() is None:
            self._child.terminate()
        try:
            return self._child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


class Gateway:
    """A `dutygate serve` with a database of its own.

    `settings` are more variables of its environment: settings of the gateway, and secrets of its
    receivers. Receivers are on this machine, so private addresses are allowed.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None):
        self.key = secrets.token_hex(16)
        self._token = secrets.token_hex(32)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        # A developer's own settings must not reach the gateway under test.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DUTYGATE_")}
        settings = {
            "DUTYGATE_LISTEN": f"127.0.0.1:{port}",
            "DUTYGATE_DATABASE_URL": f"sqlite://{directory}/dutygate.db",
            "DUTYGATE_DEFAULT_INTEGRATION_KEY": self.key,
            "DUTYGATE_ADMIN_TOKEN": self._token,
            "DUTYGATE_OUTBOUND_ALLOW_PRIVATE_ADDRESSES": "true",
        } | dict(settings or {})
        self.process = Process("gateway", [os.environ["DUTYGATE_BIN"], "serve"], directory, inherited | settings)
        try:
            eventually(self._is_ready, "the gateway's /readyz to answer 200")
        except BaseException:
            self.process.stop()
            raise

    @property
    def guide_url(self) -> str:
        """The address that the integration guide tells people to put in place of PagerDuty's."""
        return f"{self.url}/event/push/alert/pagerduty"

    @property
    def guide_url_with_key(self) -> str:
        return f"{self.guide_url}?integration_key={self.key}"

    def get(self, path: str, **query: str) -> Json:
        response = requests.get(
            self.url + path, params=query, headers={"Authorization": f"Bearer {self._token}"}, timeout=10
        )
        assert response.status_code == 200, f"GET {response.url}: {response.status_code} {response.text}"
        return response.json()

    def apply(self, policy: str) -> None:
        """Makes the configuration what a policy file, as YAML, says."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/yaml"}
        response = requests.put(f"{self.url}/api/v1/policy", data=policy.encode(), headers=headers, timeout=30)
        assert response.status_code == 200, f"PUT /policy: {response.status_code} {response.text}"

    def integration_key(self, name: str, service: str, kind: str = "pagerduty") -> str:
        """Makes an integration and returns its key."""
        response = requests.post(
            f"{self.url}/api/v1/integrations",
            json={"name": name, "service": service, "type": kind},
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=10,
        )
        assert response.status_code == 201, response.text
        return response.json()["key"]

    def deliveries(self, **filters: str) -> list[Json]:
        return self.get("/api/v1/deliveries", **filters)["items"]

    def alerts(self, **filters: str) -> list[Json]:
        return self.get("/api/v1/alerts", **filters)["items"]

    def alert(self, dedup_key: str) -> Json:
        """Returns the one alert of `dedup_key`, open or not."""
        found = self.alerts(dedup_key=dedup_key)
        assert len(found) == 1, f"{len(found)} alerts with dedup_key {dedup_key!r}: {found}"
        return found[0]

    def changes(self) -> list[Json]:
        return self.get("/api/v1/changes")["items"]

    def _is_ready(self) -> bool:
        self.process.assert_running()
        return answers_200(f"{self.url}/readyz")
