"""Many connections of one process, on Python's `websockets`, and how each of them ended.

python many.py JSON_OPTIONS
  urls       opened in turns
  count      connections
  at_once    how many handshakes may be in progress, default 50
  busy       how many of the connections send a message every `every_ms`, continuously
  every_ms   default 250
  silent     send nothing: for servers that do not echo
  ca         PEM file to trust instead of the system's list
  origin     value of the Origin header, default none
"""

import asyncio
import json
import os
import resource
import ssl
import sys
import time

from common import failure, log
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

options = json.loads(sys.argv[1])
urls, count, busy = options["urls"], options["count"], options.get("busy", 0)
every = options.get("every_ms", 250) / 1000

result = {"opened": 0, "echoes": 0, "ends": {}, "first_ms": None, "last_ms": None}
ready = 0


async def send(connection):
    try:
        while True:
            await connection.send("more")
            await asyncio.sleep(every)
    except ConnectionClosed:
        pass  # counted where it is read


async def one(number, tls, gate):
    global ready
    async with gate:
        connection = await connect(
            urls[number % len(urls)],
            origin=options.get("origin"),
            compression=None,
            open_timeout=None,
            ping_interval=None,
            proxy=None,
            **tls,
        )
        result["opened"] += 1
        try:
            # Every tunnel carries something, so all of them are known to be open on both sides.
            if not options.get("silent"):
                await connection.send("hello")
                await connection.recv()
                result["echoes"] += 1
            ready += 1
            if ready % 100 == 0 or ready == count:
                log({"case": f"opened {ready}", "ok": True})
        except ConnectionClosed:
            pass  # counted below
    sender = asyncio.create_task(send(connection)) if number < busy else None
    try:
        while True:
            await connection.recv()
            result["echoes"] += 1
    except ConnectionClosed:
        pass
    if sender:
        sender.cancel()
    end = f"{connection.close_code} {connection.close_reason or ''}"
    result["ends"][end] = result["ends"].get(end, 0) + 1
    result["last_ms"] = int(time.time() * 1000)
    result["first_ms"] = result["first_ms"] or result["last_ms"]


async def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    tls = {}
    if urls[0].startswith("wss:"):
        tls["ssl"] = ssl.create_default_context(cafile=options.get("ca"))
    gate = asyncio.Semaphore(options.get("at_once", 50))
    ends = await asyncio.gather(*(one(number, tls, gate) for number in range(count)), return_exceptions=True)
    for error in ends:
        if error is not None:
            log({"error": failure(error)})
    log({"done": True, **result})
    sys.stdout.flush()
    os._exit(0)


asyncio.run(main())
