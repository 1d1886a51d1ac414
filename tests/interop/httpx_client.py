"""A client on Python's `httpx` with HTTP/2.

python httpx_client.py JSON_OPTIONS     as h2_client.py, without tunnels
"""

import asyncio
import hashlib
import json
import os
import ssl
import sys

import httpx
from common import log

options = json.loads(sys.argv[1])
MIB = 1024 * 1024


def expect(condition, *words):
    if not condition:
        raise AssertionError(" ".join(map(repr, words)))


async def get(client):
    response = await client.get("/api/json?case=httpx_get", headers={"token": "abc"})
    expect(response.http_version == "HTTP/2" and response.json() == {"token": "abc"}, response)


async def post(client):
    body = os.urandom(3 * MIB)
    got = (await client.post("/api/hash?case=httpx_post", content=body)).json()
    expect(got["sha256"] == hashlib.sha256(body).hexdigest(), got)


async def stream(client):
    hash = hashlib.sha256()
    async with client.stream("GET", f"/api/download?bytes={4 * MIB}&chunked=1&case=httpx_stream") as response:
        async for piece in response.aiter_bytes():
            hash.update(piece)
        expect(hash.hexdigest() == response.headers["x-digest"])


async def many(client):
    """At the same time, on one connection."""
    asked = (client.get("/api/json?case=httpx_many", headers={"token": str(number)}) for number in range(50))
    for number, response in enumerate(await asyncio.gather(*asked)):
        expect(response.json() == {"token": str(number)}, number)


async def left(client):
    """Leaves in the middle of an answer, and goes on."""
    async with client.stream("GET", f"/api/download?bytes={MIB}&hold=1&case=httpx_left") as response:
        async for _ in response.aiter_bytes():
            break
    await client.get("/api/json?case=httpx_after_left")


async def main():
    context = ssl.create_default_context(cafile=options.get("ca"))
    timeout = options.get("timeout_ms", 10_000) / 1000
    passed = 0
    async with httpx.AsyncClient(
        http1=False, http2=True, verify=context, timeout=timeout, base_url=options["url"], trust_env=False
    ) as client:
        for name in options["cases"]:
            try:
                await globals()[name](client)
                passed += 1
                log({"case": name, "ok": True, "detail": None})
            except (AssertionError, httpx.HTTPError, ValueError) as error:
                log({"case": name, "ok": False, "detail": repr(error)})
    log({"done": True, "passed": passed, "failed": len(options["cases"]) - passed})
    sys.exit(0 if passed == len(options["cases"]) else 1)


asyncio.run(main())
