"""How many searches a second `nns serve` answers, and how soon: load that grows, over loopback, on this machine.

    python benchmarks/serve [ZOO.h5] [--rates 25 50 100 150 200 250 300] [--seconds 20] [--workers 2] [--out FILE.json]

Without ZOO it makes one of 14,000 made-up networks first (benchmarks/search/made_up.py, some minutes). The server is a
process of its own with its workers; requests leave when their time has come whether or not earlier ones were answered,
and the time of each counts from then: a server that falls behind cannot hide it. Each has the features of 50 images
(256 KB, 342 KB as base64) of one of 20 made-up datasets, and asks for ten candidates below 5 million parameters. Half
way through the last rate but one the zoo is replaced by a copy, by a rename.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CONNECTIONS = 64
DATASETS, IMAGES = 20, 50
PATH = "/v1/search/features?max_params=5M"
TIMEOUT = 30.0


def main() -> None:
    """Serve, ask, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", nargs="?", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", default=[25, 50, 100, 150, 200, 250, 300])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        zoo = Path(folder) / "zoo.h5"
        if args.zoo is None:
            made_up = Path(__file__).parents[1] / "search" / "made_up.py"
            subprocess.run([sys.executable, made_up, zoo], check=True)
        else:
            shutil.copyfile(args.zoo, zoo)
        server, port = start(zoo, args.workers)
        try:
            rows = asyncio.run(measure(port, zoo, args.rates, args.seconds, server.pid))
        finally:
            server.terminate()
            server.wait(30)
    if args.out:
        about = {"workers": args.workers, "cores": os.cpu_count(), "load": os.getloadavg(), "seconds": args.seconds}
        args.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def start(zoo: Path, workers: int) -> tuple[subprocess.Popen[str], int]:
    """Start a server; return it with its port."""
    command = [sys.executable, "-m", "nns", "serve", str(zoo), "--port", "0", "--rate", "0", "--workers", str(workers)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return server, int(found[1])
        print(line, end="", file=sys.stderr)
    raise SystemExit("the server did not start")


async def measure(port: int, zoo: Path, rates: list[float], seconds: float, pid: int) -> list[dict[str, Any]]:
    """Send requests at each rate; return a row each."""
    requests = await made_up_requests(port)
    await warm_up(port, requests)
    heads = ("asked/s", "answered/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "failed", "cores")
    print(" ".join(f"{each:>10}" for each in heads))
    rows = []
    for at, rate in enumerate(rates):
        replaced = at == len(rates) - 2
        before, began = cpu_seconds(pid), time.perf_counter()
        replacing = asyncio.create_task(replace(zoo, seconds / 2)) if replaced else None
        times, failed = await ask(port, requests, rate, seconds)
        wall = time.perf_counter() - began
        if replacing:
            await replacing
        p50, p90, p99 = (float(each) * 1e3 for each in np.percentile(times, [50, 90, 99]))
        row = {
            "asked": rate, "answered": len(times) / wall, "p50": p50, "p90": p90, "p99": p99,
            "max": max(times) * 1e3, "failed": failed, "replaced": replaced,
            "cpu": (cpu_seconds(pid) - before) / wall, "load": os.getloadavg()[0],
        }  # fmt: skip
        rows.append(row)
        shown = [f"{rate:10.0f}", *(f"{row[key]:10.1f}" for key in ("answered", "p50", "p90", "p99", "max"))]
        print(*shown, f"{failed:10}", f"{row['cpu']:10.2f}", "zoo replaced" if replaced else "", flush=True)
    return rows


async def made_up_requests(port: int) -> list[bytes]:
    """Write whole requests, so that sending one costs this process next to nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/zoo HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, body = await read_response(reader)
    writer.close()
    about, random, found = json.loads(body), np.random.default_rng(0), []
    for _ in range(DATASETS):
        features = random.standard_normal((IMAGES, about["feature_dim"])).astype("<f4")
        question = {
            "extractor": about["extractor"],
            "features": {"shape": features.shape, "data": base64.b64encode(features.tobytes()).decode()},
            "labels": [number % 10 for number in range(IMAGES)],
        }
        content = json.dumps(question).encode()
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        found.append(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return found


async def warm_up(port: int, requests: list[bytes]) -> None:
    """Let every process read what the first searches read."""
    await ask(port, requests, 20.0, 6.0)


async def ask(port: int, requests: list[bytes], rate: float, seconds: float) -> tuple[list[float], int]:
    """Send at a rate; return seconds from the moment at which each was due, and how many failed."""
    due: asyncio.Queue[float | None] = asyncio.Queue()
    times: list[float] = []
    failed = 0

    async def connection(number: int) -> None:
        nonlocal failed
        reader = writer = None
        while (when := await due.get()) is not None:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert reader is not None
                writer.write(requests[len(times) % len(requests)])
                status, _ = await asyncio.wait_for(read_response(reader), TIMEOUT)
                if status != 200:
                    raise OSError(f"status {status}")
                times.append(time.perf_counter() - when)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                print("failed:", error, file=sys.stderr)
                failed += 1
                writer = None
        if writer is not None:
            writer.close()

    connections = [asyncio.create_task(connection(number)) for number in range(CONNECTIONS)]
    began = time.perf_counter()
    for number in range(round(rate * seconds)):
        when = began + number / rate
        if (left := when - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        due.put_nowait(when)
    for _ in connections:
        due.put_nowait(None)
    await asyncio.gather(*connections)
    return times or [float("nan")], failed


async def read_response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one response with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return int(head.split(b" ")[1]), await reader.readexactly(length)


async def replace(zoo: Path, seconds: float) -> None:
    """Put a copy in the place of the zoo after some seconds, as one who publishes a new one would."""
    await asyncio.sleep(seconds)
    copy = zoo.with_suffix(".new")
    await asyncio.to_thread(shutil.copyfile, zoo, copy)
    os.replace(copy, zoo)


def cpu_seconds(pid: int) -> float:
    """Return processor seconds of a process and those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0.0
    for each in [str(pid), *children]:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
