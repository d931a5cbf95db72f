"""Collector: events a second with durable answers and how long an answer takes, beside the disk's own rate of fsync."""

from __future__ import annotations

import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

BATCHES = (1, 20, 100)
CONNECTIONS = {1: 64, 20: 16, 100: 8}
SECONDS = 5.0
KEY = "b" * 32
MUST_EVENTS = 8_000
MUST_P99_MS = 100.0


def run(data: Path | None) -> None:
    """Start a collector with one worker, and load it from a second process."""
    del data
    from activation_dagster.sources.simulator import simulate
    from activation_dagster.wiring import utc_now

    with tempfile.TemporaryDirectory(prefix="bench-collector-", dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        fsyncs = _fsyncs_a_second(folder)
        print(f"the disk alone: {fsyncs:,.0f} appends of 4 KiB with fdatasync a second ({1000 / fsyncs:.2f} ms each)")
        made = simulate(seed=1, people=100, events=3_000, now=utc_now()).lines
        lines = [line for line in map(_as_sent, made) if line]
        (folder / "events.ndjson").write_bytes(b"\n".join(lines))
        print(f"events of the simulated shop, {statistics.mean(map(len, lines)):,.0f} bytes each on average")
        process, port = _collector(folder)
        try:
            for batch in BATCHES:
                _one(folder, port, process.pid, batch, fsyncs)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _one(folder: Path, port: int, collector: int, batch: int, fsyncs: float) -> None:
    before = _cpu_seconds(collector)
    command = [sys.executable, "-m", "bench.collector", str(port), str(folder / "events.ndjson"), str(batch)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    cpu = _cpu_seconds(collector) - before
    events, seconds = said["events"], said["seconds"]
    must = "" if batch != BATCHES[-1] else f"   (must ≥ {MUST_EVENTS:,}, p99 ≤ {MUST_P99_MS:.0f} ms)"
    print(
        f"  batches of {batch:>3}, {CONNECTIONS[batch]:>2} connections: {events / seconds:8,.0f} events/s   "
        f"p50 {said['p50']:6.1f} ms   p99 {said['p99']:6.1f} ms   "
        f"{events / cpu:8,.0f} events a second of its CPU   {events / seconds / fsyncs:6.1f} events an fsync{must}"
    )


def _as_sent(line: bytes) -> bytes:
    """An event as an SDK sends it in a batch: without the times that a server adds."""
    try:
        event = json.loads(line)
    except ValueError:
        return b""
    if not isinstance(event, dict):
        return b""
    kept = {name: value for name, value in event.items() if name not in ("receivedAt", "sentAt", "originalTimestamp")}
    return json.dumps(kept, separators=(",", ":")).encode()


def _fsyncs_a_second(folder: Path) -> float:
    descriptor = os.open(folder / "fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    block = b"x" * 4096
    began = time.perf_counter()
    count = 0
    while time.perf_counter() - began < 2.0:
        os.write(descriptor, block)
        os.fdatasync(descriptor)
        count += 1
    os.close(descriptor)
    return count / (time.perf_counter() - began)


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _collector(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    import shutil

    from activation_dagster.domain.sources import Source, SourceKey, key_sha256
    from activation_dagster.registry.source_files import with_source
    from activation_dagster.wiring import utc_now

    shutil.copytree("contracts", folder / "contracts")
    key = SourceKey(sha256=key_sha256(KEY), made_at=utc_now())
    source = Source(name="shop", owner="shop", environment="demo", keys=(key,))
    (folder / "contracts" / "sources.yaml").write_text(with_source("", source))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTIVATION_")}
    environment |= {"ACTIVATION_HOME": str(folder / "home"), "ACTIVATION_CONTRACTS": str(folder / "contracts")}
    process = subprocess.Popen(
        [sys.executable, "-m", "activation_dagster.cli", "collector", "--port", "0"],
        env=environment,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"Listening"):
            port = int(line.split(b":")[2].split()[0])
        if b"startup complete" in line:
            return process, port
    raise RuntimeError("The collector ended before it listened.")


# -- the other process ------------------------------------------------------------------------------------------------


async def _load(port: int, file: Path, batch: int) -> dict[str, float]:
    import asyncio

    events = [line[1:] for line in file.read_bytes().splitlines()]
    authorization = base64.b64encode(f"{KEY}:".encode()).decode()
    latencies: list[float] = []
    began = time.perf_counter()
    word = uuid.uuid4().hex[:12]

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = 0
        while time.perf_counter() - began < SECONDS:
            some = [
                b'{"messageId":"%s-%d-%d",' % (word.encode(), number, sent + place)
                + events[(sent + place) % len(events)].replace(b'"messageId"', b'"sent"', 1)
                for place in range(batch)
            ]
            sent += batch
            body = b'{"batch":[' + b",".join(some) + b'],"sentAt":"2026-03-01T10:00:00.000Z"}'
            head = (
                f"POST /v1/batch HTTP/1.1\r\nhost: x\r\nauthorization: Basic {authorization}\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            asked = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(17)
            latencies.append(time.perf_counter() - asked)
            if b" 200 " not in answer[:15]:
                raise RuntimeError(answer.decode())
        writer.close()

    await asyncio.gather(*(connection(number) for number in range(CONNECTIONS[batch])))
    seconds = time.perf_counter() - began
    ordered = sorted(latencies)
    return {
        "events": len(latencies) * batch,
        "seconds": seconds,
        "p50": ordered[len(ordered) // 2] * 1000,
        "p99": ordered[int(len(ordered) * 0.99)] * 1000,
    }


if __name__ == "__main__":
    import asyncio

    print(json.dumps(asyncio.run(_load(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))))
