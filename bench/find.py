"""Compares `wsgate find` with jq on the same records; bench/find calls it."""

import datetime
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time

PROGRAM, RECORDS = sys.argv[1], int(sys.argv[2])

# Fields as the proxy writes them; the ones that differ from record to record are filled in below.
COMMON = {
    "time": "",
    "schema": 1,
    "version": "0.1.0",
    "instance": "gateway-5d9c7b6f4-x2x8k",
    "level": "info",
    "event": "",
    "conn": "",
    "request_id": "",
    "client": "",
    "peer": "",
    "listener": "10.0.0.5:8443",
    "sni": "api.example.com",
    "tls_version": "1.3",
    "alpn": "http/1.1",
    "http_version": "1.1",
    "method": "GET",
    "host": "api.example.com",
    "path": "/api/realtime-voice/stream?token=*",
    "origin": "",
    "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "generation": 1,
    "tls_ms": 12,
    "head_ms": 0,
    "policy_ms": 0,
}
KINDS = [
    {
        "event": "refused",
        "stage": "policy",
        "by": "client",
        "reason": "origin_not_allowed",
        "status": 403,
        "detail": "the Origin is not one of https://app.example.com",
        "hint": "if the page is yours, add its origin to `routes[].websocket.origins` exactly as the field origin shows it",
        "route": "/api/realtime-voice/stream",
        "client_sees": 1006,
        "lasted_ms": 13,
    },
    {"event": "opened", "route": "/api/realtime-voice/stream", "upstream": "voice", "handshake_ms": 3},
    {
        "event": "closed",
        "stage": "tunnel",
        "by": "client",
        "reason": "client_eof_no_close",
        "status": 101,
        "hint": "the client ended without calling close(): a script that exited, or an app that the phone moved to the background",
        "route": "/api/realtime-voice/stream",
        "upstream": "voice",
        "attempts": [{"endpoint": "http://127.0.0.1:3000", "outcome": "connected", "ms": 0}],
        "client_sees": 1006,
        "bytes_client_to_upstream": 182044,
        "bytes_upstream_to_client": 4120,
        "messages_client_to_upstream": 410,
        "messages_upstream_to_client": 22,
        "lasted_ms": 65110,
        "idle_ms": 5110,
        "pings": 2,
        "pongs": 2,
    },
    {"event": "request", "status": 200, "route": "/api/", "upstream": "voice", "response_ms": 4, "lasted_ms": 5},
]


def write(path):
    """Writes the records."""
    chance = random.Random(1)
    at = datetime.datetime(2026, 1, 2)
    with open(path, "w", encoding="ascii") as file:
        for number in range(RECORDS):
            at += datetime.timedelta(milliseconds=chance.randint(0, 80))
            client = f"203.0.{chance.randint(0, 255)}.{chance.randint(0, 255)}"
            record = COMMON | KINDS[number % len(KINDS)]
            record["time"] = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
            record["conn"] = record["request_id"] = f"{number // 4:016x}"
            record["client"], record["peer"] = client, f"{client}:{chance.randint(1024, 65535)}"
            record["origin"] = chance.choice(["https://app.example.com", "https://evil.example", "null"])
            file.write(json.dumps(record, separators=(",", ":")) + "\n")


def measure(command):
    """The seconds and the largest memory in MiB of a command."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} ended with {process.returncode}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "records")
        write(path)
        subprocess.run(["gzip", "-k", "-1", path], check=True)
        subprocess.run(["zstd", "-q", path], check=True)
        print(f"{RECORDS} records, {os.path.getsize(path) / 2**20:.0f} MiB\n")
        print("| command | seconds | times as fast as jq | MiB |")
        print("|---|---:|---:|---:|")
        jq, memory = measure(["jq", "-c", ".reason", path])
        print(f"| jq -c .reason | {jq:.1f} | 1.0 | {memory:.0f} |")
        for options in [
            "--top reason records",
            "--top client records",
            "--summary records",
            "--reason origin_not_allowed --format json records",
            "--reason origin_not_allowed records",
            "--id 00000000000003e8 records",
            "--since 2026-01-02T05:00 --until 2026-01-02T06:00 --failed records",
            "--format json records",
            "records",
            "--top reason records.gz",
            "--top reason records.zst",
        ]:
            arguments = [path + part[7:] if part.startswith("records") else part for part in options.split()]
            seconds, memory = measure([PROGRAM, "find", *arguments])
            print(f"| find {options} | {seconds:.1f} | {jq / seconds:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
