"""Measures the gateway with wrk and prints a Markdown report. Started by run.sh, which says how.

Six things are measured in turn, round after round, every other round in reverse, so that a machine
that slows down or a database that grows does not favour one of them:

- the gateway's no-op endpoint, which parses an event and answers: what HTTP and JSON alone cost;
- durable events of repeating keys, and of fresh keys (each opens an alert);
- the same two into a service with 200 silences, 50 inhibition rules, 50 grouping rules and 20 steps
  of enrichment;
- Alertmanager taking one alert a request, repeating as many keys. It keeps alerts in memory only.

wrk waits for an answer before it sends the next request on a connection, so latencies are those of
a system under full load by CONNECTIONS senders, not of one that is offered a fixed rate. It shares
the machine's cores with what it measures.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent

DURATION_SECONDS = int(os.environ.get("DURATION", "6"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "64"))
THREADS = int(os.environ.get("THREADS", "2"))
KEYS = int(os.environ.get("KEYS", "1000"))
WARM_UP_SECONDS = 2


@dataclass(frozen=True)
class Run:
    """What one wrk run reported."""

    accepted: int
    rate: float
    p50_ms: float
    p99_ms: float
    not_accepted: int
    statuses: dict[str, int]


@dataclass
class Subject:
    """Something to measure."""

    name: str
    url: str
    what: str
    mode: str
    status: str
    stores_events: bool = False
    routing_key: str = "none"
    runs: list[Run] = field(default_factory=list)

    def load(self, run_name: str, seconds: int, *, count_statuses: bool = False) -> Run:
        command = ["wrk", f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
        command += ["-s", str(HERE / "requests.lua"), self.url, "--", self.what, self.mode, str(KEYS), run_name, self.routing_key]
        if count_statuses:
            command.append("count")
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        results = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if done.returncode != 0 or len(results) != 1:
            sys.exit(f"wrk failed on {self.name}:\n{done.stdout}{done.stderr}")
        result = json.loads(results[0])
        accepted = result["requests"] - result["refused"]
        return Run(
            accepted=accepted,
            rate=accepted / result["seconds"],
            p50_ms=result["p50_ms"],
            p99_ms=result["p99_ms"],
            not_accepted=result["refused"] + result["failed"],
            statuses=result["statuses"],
        )


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str, token: str | None = None) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # No proxy from the environment: all addresses here are loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers), timeout=120) as response:
        return response.read()


def post(url: str, token: str, body: dict[str, object]) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=headers, data=json.dumps(body).encode())
    try:
        with opener.open(request, timeout=60) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        sys.exit(f"{url} answered {error.code}: {error.read().decode(errors='replace')}")


def make_ruled_service(gateway_url: str, token: str) -> str:
    """Makes a service with many rules, as a large team has them; returns its routing key.

    A few rules look at every event and most do not match, as in life: silences name hosts and
    classes, inhibition names a cause, the last grouping rule takes what the others leave.
    """
    enrich: list[dict[str, object]] = [
        {"extract": {"from": "summary", "regex": r"on (?P<host>\S+),"}},
        {"map": {"label": "tier", "from": "label.host", "table": {f"host-{n:05d}": "gold" for n in range(0, 1000, 7)}}},
    ]
    enrich += [{"set": {"label": f"team{n}", "value": "core"}, "match": [f'class="class-{n}"']} for n in range(16)]
    enrich += [{"set": {"label": "team", "value": "data"}, "match": ['group=~"prod-.*"']}, {"severity": "warning", "match": ['component="canary"']}]
    inhibition = [
        {"source": [f'class="down-{n}"'], "target": ['severity=~"warning|info"', f'component="component-{n}"'], "equal": ["source"]} for n in range(48)
    ]
    inhibition += [
        {"source": ['class="host down"'], "target": ['severity=~"error|warning|info"'], "equal": ["source"]},
        {"source": ['class="network down"'], "target": ['class=~"disk|cpu|memory"'], "equal": ["group"]},
    ]
    grouping: list[dict[str, object]] = [
        {"match": [f'class="class-{n}"', f'group=~"team-{n}-.*"'], "by": ["component", "class"], "window": "30m"} for n in range(49)
    ]
    grouping += [{"by": ["group", "class", "label.host"], "window": "30m", "window_type": "sliding"}]
    service = {"name": "ruled", "enrich": enrich, "inhibition": inhibition, "grouping": grouping}
    post(f"{gateway_url}/api/v1/services", token, service)
    for n in range(200):
        matchers = [f'source="host-{90000 + n}.example.com"', 'severity=~"warning|error"'] if n % 4 else [f'component=~"batch-{n}-.*"']
        silence = {"matchers": [matchers], "until": "2099-01-01T00:00:00Z", "comment": f"maintenance {n}", "service": "ruled"}
        post(f"{gateway_url}/api/v1/silences", token, silence)
    integration = post(f"{gateway_url}/api/v1/integrations", token, {"name": "ruled", "service": "ruled", "type": "pagerduty"})
    return str(integration["key"])


@contextmanager
def running(name: str, command: list[str], directory: Path, ready_url: str, settings: dict[str, str]) -> Iterator[int]:
    """Starts a server, waits until it is ready, yields its process id, ends it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DUTYGATE_")}
    log_file = directory / f"{name}.log"
    with log_file.open("wb") as log:
        child = subprocess.Popen(command, cwd=directory, env=inherited | settings, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not is_ready(ready_url):
            if child.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name} did not become ready:\n{log_file.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        yield child.pid
        if child.poll() is not None:
            sys.exit(f"{name} ended by itself:\n{log_file.read_text(errors='replace')[-4000:]}")
    finally:
        child.terminate()
        try:
            child.wait(40)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def is_ready(url: str) -> bool:
    try:
        get(url)
        return True
    except (urllib.error.URLError, ConnectionError):
        return False


def memory_mb(pid: int, what: str) -> float:
    """Reads `VmRSS` (now) or `VmHWM` (highest so far), in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {what} of process {pid}")


def commits_per_second(directory: Path) -> float:
    """How often this disk makes 4 KiB durable in a second: the floor under every commit."""
    probe = directory / "probe"
    with probe.open("wb", buffering=0) as file:
        begin, count = time.monotonic(), 0
        while time.monotonic() - begin < 1:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            count += 1
    probe.unlink()
    return count


def describe_machine(directory: Path) -> str:
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    filesystem = subprocess.run(["df", "--output=fstype", directory], capture_output=True, text=True, check=True).stdout.split()[-1]
    return (
        f"{len(os.sched_getaffinity(0))} cores ({models[0] if models else platform.machine()}), {filesystem}, "
        f"{commits_per_second(directory):,.0f} writes of 4 KiB made durable a second"
    )


def stored_events(gateway_url: str, token: str) -> int:
    return json.loads(get(f"{gateway_url}/api/v1/events?count=true&limit=1", token))["total"]


def measure(subjects: list[Subject]) -> int:
    """Fills in the runs of all subjects; returns how many events the gateway said that it kept."""
    accepted = 0
    for subject in subjects:
        progress(f"warm-up: {subject.name}")
        run = subject.load("warm-up", WARM_UP_SECONDS, count_statuses=True)
        if set(run.statuses) != {subject.status} or run.not_accepted:
            sys.exit(f"{subject.name} answered {run.statuses}, expected only {subject.status}; {run.not_accepted} not accepted")
        accepted += run.accepted if subject.stores_events else 0
    for round_number in range(1, ROUNDS + 1):
        for subject in subjects if round_number % 2 else subjects[::-1]:
            run = subject.load(f"round-{round_number}", DURATION_SECONDS)
            progress(f"round {round_number}/{ROUNDS}: {subject.name}: {run.rate:,.0f} a second, {run.not_accepted} not accepted")
            subject.runs.append(run)
            accepted += run.accepted if subject.stores_events else 0
    return accepted


def rule_ratio(ruled: Subject, plain: Subject) -> str:
    return f"{median(mine.rate / theirs.rate for mine, theirs in zip(ruled.runs, plain.runs, strict=True)):.2f}"


def row(subject: Subject, baseline: Subject, rival: Subject) -> str:
    def middle(value: Callable[[Run], float]) -> float:
        return median(value(run) for run in subject.runs)

    def ratio(other: Subject) -> str:
        # Of the same round, then the median: what slows a round down slows both.
        return f"{median(mine.rate / theirs.rate for mine, theirs in zip(subject.runs, other.runs, strict=True)):.2f}"

    rates = [run.rate for run in subject.runs]
    return (
        f"| {subject.name} | {middle(lambda run: run.rate):,.0f} | {min(rates):,.0f}–{max(rates):,.0f} "
        f"| {ratio(baseline)} | {ratio(rival)} | {middle(lambda run: run.p50_ms):.2f} | {middle(lambda run: run.p99_ms):.2f} |"
    )


def release(binary: str, directory: Path) -> None:
    """Prints what it does to senders when a silence over 10,000 open alerts ends."""
    wanted = 10_000
    key, token = secrets.token_hex(16), secrets.token_hex(32)
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    settings = {
        "DUTYGATE_LISTEN": address,
        "DUTYGATE_DATABASE_URL": f"sqlite://{directory}/release.db",
        "DUTYGATE_DEFAULT_INTEGRATION_KEY": key,
        "DUTYGATE_ADMIN_TOKEN": token,
    }
    with running("release", [binary, "serve"], directory, f"{url}/readyz", settings):
        body = {"matchers": ['group="prod-datapipe"'], "until": "2099-01-01T00:00:00Z", "comment": "all of it"}
        silence = post(f"{url}/api/v1/silences", token, body)
        fresh = Subject("fresh", f"{url}/v2/enqueue", "events", "fresh", "202", routing_key=key)
        count = f"{url}/api/v1/alerts?suppressed=true&count=true&limit=1"
        while json.loads(get(count, token))["total"] < wanted:
            fresh.load(secrets.token_hex(4), 1)
        silenced = json.loads(get(count, token))["total"]
        repeating = Subject("repeating", f"{url}/v2/enqueue", "events", "repeating", "202", routing_key=key)
        repeating.load("warm-up", 2)
        before = repeating.load("warm-up", 5)
        post(f"{url}/api/v1/silences/{silence['id']}/expire", token, {})
        begin = time.monotonic()
        during = repeating.load("warm-up", 5)
        while json.loads(get(count, token))["total"] > 0:
            time.sleep(0.05)
        took = time.monotonic() - begin
        incidents = json.loads(get(f"{url}/api/v1/incidents?count=true&limit=1", token))["total"]
    print(
        f"\nA silence over {silenced:,} open alerts ended under load: all were released into {incidents:,} incidents within {took:.1f} s; "
        f"p99 of senders {before.p99_ms:.1f} ms before, {during.p99_ms:.1f} ms in the 5 s after ({during.p99_ms / before.p99_ms:.1f} times)."
    )


def benchmark(binary: str, directory: Path) -> bool:
    """Prints the report; returns whether everything that was sent was accepted and kept."""
    machine = describe_machine(directory)
    key, token = secrets.token_hex(16), secrets.token_hex(32)
    gateway_address, rival_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    gateway_url, rival_url = f"http://{gateway_address}", f"http://{rival_address}"
    settings = {
        "DUTYGATE_LISTEN": gateway_address,
        "DUTYGATE_DATABASE_URL": f"sqlite://{directory}/dutygate.db",
        "DUTYGATE_DEFAULT_INTEGRATION_KEY": key,
        "DUTYGATE_ADMIN_TOKEN": token,
    }
    # Alerts are taken, grouped and held, and nobody is told.
    (directory / "alertmanager.yml").write_text("route: {receiver: nobody, group_by: [alertname], group_wait: 1h}\nreceivers: [{name: nobody}]\n")
    rival_command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", f"--storage.path={directory}/alertmanager"]
    rival_command += [f"--web.listen-address={rival_address}", "--cluster.listen-address=", "--log.level=warn"]

    noop = Subject("dutygate, no-op", f"{gateway_url}/bench/noop", "events", "repeating", "202", routing_key=key)
    repeating = Subject(
        f"dutygate, durable, {KEYS:,} keys", f"{gateway_url}/v2/enqueue", "events", "repeating", "202", stores_events=True, routing_key=key
    )
    fresh = Subject("dutygate, durable, fresh keys", f"{gateway_url}/v2/enqueue", "events", "fresh", "202", stores_events=True, routing_key=key)
    rival = Subject(f"Alertmanager, {KEYS:,} keys", f"{rival_url}/api/v2/alerts", "alerts", "repeating", "200")
    ruled_repeating = Subject(
        f"dutygate, durable, {KEYS:,} keys, rules", f"{gateway_url}/v2/enqueue", "events", "repeating", "202", stores_events=True
    )
    ruled_fresh = Subject("dutygate, durable, fresh keys, rules", f"{gateway_url}/v2/enqueue", "events", "fresh", "202", stores_events=True)
    subjects = [noop, repeating, ruled_repeating, rival, fresh, ruled_fresh]

    with (
        running("dutygate", [binary, "serve"], directory, f"{gateway_url}/readyz", settings) as gateway_pid,
        running("alertmanager", rival_command, directory, f"{rival_url}/-/ready", {}) as rival_pid,
    ):
        ruled_repeating.routing_key = ruled_fresh.routing_key = make_ruled_service(gateway_url, token)
        memory_before = {pid: memory_mb(pid, "VmRSS") for pid in (gateway_pid, rival_pid)}
        accepted = measure(subjects)
        memory_after = {pid: (memory_mb(pid, "VmRSS"), memory_mb(pid, "VmHWM")) for pid in (gateway_pid, rival_pid)}
        stored = stored_events(gateway_url, token)
        database_mb = sum(file.stat().st_size for file in directory.glob("dutygate.db*")) / 1e6

    print(f"{machine}; {CONNECTIONS} connections, {THREADS} threads of wrk, median of {ROUNDS} rounds of {DURATION_SECONDS} s.\n")
    print("| | requests/s | lowest–highest | to no-op | to Alertmanager | p50 ms | p99 ms |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for subject in subjects:
        print(row(subject, noop, rival))
    print(f"\nWith rules to without: {rule_ratio(ruled_repeating, repeating)} for repeating keys, {rule_ratio(ruled_fresh, fresh)} for fresh ones.")
    print("\n| memory, MB | before | after | highest |\n|---|---:|---:|---:|")
    for name, pid in (("dutygate", gateway_pid), ("Alertmanager", rival_pid)):
        print(f"| {name} | {memory_before[pid]:.0f} | {memory_after[pid][0]:.0f} | {memory_after[pid][1]:.0f} |")

    release(binary, directory)
    # wrk leaves at most one request a connection unanswered when it stops: stored, perhaps, but not counted.
    unanswered = CONNECTIONS * (ROUNDS + 1) * sum(subject.stores_events for subject in subjects)
    all_kept = accepted <= stored <= accepted + unanswered
    not_accepted = sum(run.not_accepted for subject in subjects for run in subject.runs)
    print(f"\n{accepted:,} events were accepted, {stored:,} are stored ({database_mb:,.0f} MB); {not_accepted} requests were not accepted.")
    if not all_kept:
        print(f"ERROR: stored should be {accepted:,} to {accepted + unanswered:,}.")
    return all_kept and not_accepted == 0


def main() -> int:
    (binary,) = sys.argv[1:]
    base = Path(os.environ.get("BENCH_DIR", "target/bench"))
    base.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="throughput-", dir=base)).resolve()
    try:
        return 0 if benchmark(binary, directory) else 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
