"""Fixtures shared by all modules, and logs of child processes on failure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from harness import Gateway, Process

# Everything here talks to loopback; a proxy from the developer's environment would only be in the way.
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = "127.0.0.1,localhost"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    assert running.process.stop() == 0, "a gateway that is asked to stop drains and exits with 0"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Adds to a failure what the processes it worked with had to say."""
    report = yield
    if report.failed:
        for fixture in getattr(item, "funcargs", {}).values():
            process = getattr(fixture, "process", fixture)
            if isinstance(process, Process):
                report.sections.append((f"log of {process.name}", process.log[-20_000:]))
    return report
