"""Measures how what is owed to receivers goes out, and prints a Markdown report.

    python3 benches/outbox/bench.py [path of a release binary]

- A receiver that answers in 20 ms and takes 8 at a time: how fast 10,000 deliveries that waited for
  it are through, beside what wrk gets out of the same receiver over 8 connections.
- Ingestion while such a backlog goes out, beside ingestion with nothing to send; round after round,
  every other round in reverse.
- The processor time of a gateway that has nothing to do.
- 100 receivers, one of them dead: how long after its decision each of the others is told.

Receivers are one asyncio process of this script, on loopback. It shares the cores with the gateway.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "throughput"))
from bench import free_port, get, post, progress  # noqa: E402

BACKLOG = int(os.environ.get("BACKLOG", "10000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("DURATION", "5"))
ANSWER_SECONDS = 0.020
CONCURRENCY = 8
RECEIVERS = 100
IDLE_SECONDS = 30
KEY = secrets.token_hex(16)
TOKEN = secrets.token_hex(16)


async def serve(port: int, times: object) -> None:
    """Answers every POST after 20 ms, and notes when the incident was decided and when this came."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionError, IndexError):
                writer.close()
                return
            path = head.split(b" ", 2)[1].decode()
            now = time.time()
            await asyncio.sleep(ANSWER_SECONDS)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            times.append((path, now, body if path.startswith("/timed") else None))

    server = await asyncio.start_server(handle, "127.0.0.1", port, backlog=512)
    async with server:
        await server.serve_forever()


def receiver_process(port: int, pipe: object) -> None:
    times: list[tuple[str, float, bytes | None]] = []

    async def main() -> None:
        task = asyncio.create_task(serve(port, times))
        while True:
            await asyncio.sleep(0.2)
            while pipe.poll():
                command = pipe.recv()
                if command == "count":
                    pipe.send(len(times))
                elif command == "take":
                    pipe.send(list(times))
                    times.clear()
                else:
                    task.cancel()
                    return

    asyncio.run(main())


@contextmanager
def receiver(port: int) -> Iterator[object]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=receiver_process, args=(port, theirs), daemon=True)
    process.start()
    time.sleep(0.5)
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


def ask(pipe: object, command: str) -> object:
    pipe.send(command)
    return pipe.recv()


@contextmanager
def gateway(binary: str) -> Iterator[tuple[str, int]]:
    """A gateway on a new database: its address and the id of its process."""
    directory = Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_DIR")))
    port = free_port()
    environment = {
        "DUTYGATE_LISTEN": f"127.0.0.1:{port}",
        "DUTYGATE_DATABASE_URL": f"sqlite://{directory}/bench.db",
        "DUTYGATE_DEFAULT_INTEGRATION_KEY": KEY,
        "DUTYGATE_ADMIN_TOKEN": TOKEN,
        "DUTYGATE_OUTBOUND_ALLOW_PRIVATE_ADDRESSES": "true",
        "DUTYGATE_LOG_LEVEL": "error",
    }
    process = subprocess.Popen([binary], env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                get(f"{url}/readyz")
                break
            except OSError:
                time.sleep(0.05)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(directory)


def call(url: str, method: str, path: str, body: object) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v1{path}", method=method, headers=headers, data=json.dumps(body).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        return json.loads(response.read())


def set_up(url: str, receivers: list[dict[str, object]]) -> None:
    for one in receivers:
        post(f"{url}/api/v1/receivers", TOKEN, one)
    names = [one["name"] for one in receivers]
    # A rule names so many at most.
    rules = [{"receivers": names[at : at + 20]} for at in range(0, len(names), 20)]
    call(url, "PUT", "/services/default", {"name": "default", "notify": rules})


def send_many(binary: str, url: str, count: int) -> None:
    """So many fresh keys: each opens an incident, and each is told."""
    command = [binary, "send", "--url", url, "--routing-key", KEY, "--summary", "disk {i} full", "--source", "db"]
    command += ["--severity", "error", "--dedup-key", f"{secrets.token_hex(4)}-{{i}}", "--count", str(count), "--concurrency", "32"]
    subprocess.run(command, check=True, capture_output=True, timeout=600)


def wrk(url: str, connections: int, seconds: int, script: Path | None, *arguments: str) -> float:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]
    if script:
        command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            result = json.loads(line.removeprefix("RESULT "))
            return (result["requests"] - result["refused"]) / result["seconds"]
        if line.startswith("Requests/sec:"):
            rate = float(line.split()[1])
    return rate


def ingest_rate(url: str, seconds: int) -> float:
    script = HERE.parent / "throughput" / "requests.lua"
    return wrk(f"{url}/v2/enqueue", 64, seconds, script, "events", "repeating", "1000", secrets.token_hex(3), KEY)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def what_the_receiver_allows() -> float:
    port = free_port()
    post_script = Path(tempfile.mkstemp(suffix=".lua")[1])
    post_script.write_text('wrk.method = "POST"\nwrk.body = "{}"\n', encoding="utf-8")
    with receiver(port):
        done = subprocess.run(
            ["wrk", "-t1", f"-c{CONCURRENCY}", "-d5s", "-s", str(post_script), f"http://127.0.0.1:{port}/x"],
            capture_output=True, text=True, check=True, timeout=60,
        )
    post_script.unlink()
    return next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("Requests/sec:"))


def drain(binary: str) -> tuple[float, float]:
    """How fast a backlog is through, and what share of it came late, by 10 s windows: the median."""
    port = free_port()
    hook = {"name": "slow", "kind": "webhook", "url": f"http://127.0.0.1:{port}/x", "concurrency": CONCURRENCY}
    with gateway(binary) as (url, _):
        set_up(url, [hook])
        send_many(binary, url, BACKLOG)
        with receiver(port) as pipe:
            deadline = time.time() + 180
            while ask(pipe, "count") < BACKLOG and time.time() < deadline:
                time.sleep(0.5)
            came = sorted(at for _, at, _ in ask(pipe, "take"))
    if len(came) < BACKLOG:
        sys.exit(f"only {len(came)} of {BACKLOG} were delivered")
    # One at a time finds out that it is up again; from then on it goes at full speed.
    first = next(i for i in range(len(came)) if came[min(i + 20, len(came) - 1)] - came[i] < 1)
    rate = (len(came) - first - 1) / (came[-1] - came[first])
    return rate, came[-1] - came[first]


def busy_and_idle(binary: str) -> tuple[list[float], list[float]]:
    """Ingestion with and without a backlog that goes out meanwhile."""
    idle: list[float] = []
    busy: list[float] = []
    for round_number in range(ROUNDS):
        for is_busy in [False, True] if round_number % 2 == 0 else [True, False]:
            port = free_port()
            hook = {"name": "slow", "kind": "webhook", "url": f"http://127.0.0.1:{port}/x", "concurrency": CONCURRENCY}
            with gateway(binary) as (url, _):
                set_up(url, [hook])
                send_many(binary, url, BACKLOG if is_busy else 1000)
                with receiver(port) as pipe:
                    # The keys of the load open their incidents before anything is measured.
                    ingest_rate(url, 2)
                    if not is_busy:
                        while json.loads(get(f"{url}/api/v1/deliveries?state=pending&limit=1", TOKEN))["items"]:
                            time.sleep(0.5)
                    else:
                        # One at a time finds out that it is up again; then all goes at once.
                        while ask(pipe, "count") < 100:
                            time.sleep(0.1)
                    before = ask(pipe, "count")
                    rate = ingest_rate(url, SECONDS)
                    sent = (ask(pipe, "count") - before) / SECONDS
            progress(f"  ingestion {'with' if is_busy else 'without'} a backlog: {rate:,.0f}/s, sent meanwhile {sent:,.0f}/s")
            (busy if is_busy else idle).append(rate)
    return idle, busy


def idle_cost(binary: str) -> float:
    """Processor seconds a second of a gateway with a receiver and nothing to do."""
    with gateway(binary) as (url, pid):
        set_up(url, [{"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:9/x"}])
        time.sleep(3)
        before = processor_seconds(pid)
        time.sleep(IDLE_SECONDS)
        return (processor_seconds(pid) - before) / IDLE_SECONDS


def one_dead_of_many(binary: str) -> tuple[float, float, int]:
    """Delays of 99 receivers while one is dead: median, p99, and how many messages."""
    port = free_port()
    dead = free_port()
    hooks = [
        {"name": f"r{n:03d}", "kind": "webhook", "url": f"http://127.0.0.1:{dead if n == 0 else port}/timed/{n}"} for n in range(RECEIVERS)
    ]
    with gateway(binary) as (url, _), receiver(port) as pipe:
        set_up(url, hooks)
        for _ in range(60):
            send_many(binary, url, 1)
            time.sleep(0.5)
        time.sleep(2)
        came = ask(pipe, "take")
    delays = []
    for _, at, body in came:
        created = json.loads(body)["data"]["incident"]["created_at"]
        delays.append(at - datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp())
    return median(delays), percentile(delays, 0.99), len(delays)


def main() -> None:
    binary = str(Path(sys.argv[1]).resolve())
    allowed = what_the_receiver_allows()
    progress(f"the receiver allows {allowed:,.0f}/s over {CONCURRENCY} connections")
    rate, took = drain(binary)
    progress(f"{BACKLOG} deliveries in {took:.1f} s: {rate:,.0f}/s")
    idle, busy = busy_and_idle(binary)
    cost = idle_cost(binary)
    middle, p99, messages = one_dead_of_many(binary)
    print("| what | figure |\n|---|---|")
    print(f"| receiver alone, {CONCURRENCY} connections, answers in 20 ms (wrk) | {allowed:,.0f}/s |")
    print(f"| {BACKLOG:,} waiting deliveries to it | {rate:,.0f}/s, {rate / allowed:.2f} of that |")
    print(f"| ingestion, nothing to send | {median(idle):,.0f} events/s |")
    print(f"| ingestion while a backlog goes out | {median(busy):,.0f} events/s, {median(busy) / median(idle):.2f} of that |")
    print(f"| processor of a gateway with nothing to do | {cost * 100:.2f} % of one core |")
    print(f"| {RECEIVERS} receivers, one dead: decision to arrival at the others | median {middle * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms ({messages:,} messages) |")


if __name__ == "__main__":
    main()
