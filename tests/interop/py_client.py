"""A client on Python's `websockets` that runs a list of cases on one connection.

python py_client.py URL [JSON_OPTIONS]
  ca         PEM file to trust instead of the system's list
  servername name for SNI and certificate check, default the URL's host
  origin     value of the Origin header, default none
  protocols  list to offer, default none
  deflate    offer permessage-deflate, default true
  headers    more request headers
  cases      see README.md, default text, binary, big_text, big_binary, close
  timeout_ms for each step, default 10000
"""

import asyncio
import json
import os
import socket
import ssl
import struct
import sys

from common import close_arguments, failure, log, pairs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

url = sys.argv[1]
options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
cases = options.get("cases", ["text", "binary", "big_text", "big_binary", "close"])
timeout = options.get("timeout_ms", 10_000) / 1000
MIB = 1024 * 1024


class Failed(Exception):
    pass


class Connection(ClientConnection):
    """Counts the Pings, which `websockets` answers silently."""

    pings = 0

    def process_event(self, event):
        opcode = getattr(event, "opcode", None)
        if opcode is not None and opcode.name == "PING":
            self.pings += 1
        super().process_event(event)


async def echo(connection, message, send=None):
    await connection.send(message if send is None else send)
    got = await connection.recv()
    if type(got) is not type(message):
        raise Failed(f"sent {type(message).__name__}, got {type(got).__name__}")
    if got != message:
        raise Failed(f"the echo differs ({len(got)} long)")
    return {"bytes": len(got if isinstance(got, bytes) else got.encode())}


async def ending(connection, expected=None):
    """Waits for the end, whatever arrives before it."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    got = connection.close_code, connection.close_reason or ""
    if expected is not None and got != expected:
        raise Failed(f"closed with {got[0]} {got[1]}")
    return {"code": got[0], "reason": got[1]}


async def run(connection, name):
    match name.split(":")[0]:
        case "text":
            return await echo(connection, "hello, 世界")
        case "binary":
            return await echo(connection, bytes([0, 1, 127, 128, 254, 255]))
        case "big_text":
            return await echo(connection, "0123456789abcdef" * (MIB // 16))
        case "big_binary":
            return await echo(connection, os.urandom(MIB))  # random: compression cannot make it small
        case "fragmented":
            return await echo(connection, "one two three", ["one ", "two ", "three"])
        case "ping":
            await (await connection.ping("from the client"))
            return {"pong": "from the client"}
        case "close":
            code, reason = close_arguments(name, 1000, "done")
            await connection.close(code, reason)
            return await ending(connection, (code, reason))
        case "server_close":
            code, reason = close_arguments(name, 4001, "bye")
            await connection.send(f"close:{code}:{reason}")
            return await ending(connection, (code, reason))
        case "wait_close":
            return await ending(connection)  # whoever ends it, and whenever
        case "idle":
            before = connection.pings
            await asyncio.sleep(int(name.split(":")[1]) / 1000)
            if connection.close_code is not None:
                raise Failed(f"closed with {connection.close_code} {connection.close_reason or ''}")
            return {"pings": connection.pings - before}
        case "tell":
            await connection.send(name.removeprefix("tell:"))
            return await ending(connection)
        case "terminate" | "reset" as command:
            await connection.send(command)
            return await ending(connection)  # the server cuts: what arrives depends on what is in between
        case "cut":
            connection.transport.abort()
            return await ending(connection)
        case "cut_reset":
            linger = struct.pack("ii", 1, 0)
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.transport.abort()
            return await ending(connection)
    raise Failed("no such case")


async def run_all(connection):
    passed = 0
    for name in cases:
        try:
            detail = await asyncio.wait_for(run(connection, name), timeout)
            passed += 1
            log({"case": name, "ok": True, "detail": detail})
        except TimeoutError:
            log({"case": name, "ok": False, "detail": f"nothing within {round(timeout * 1000)} ms"})
        except ConnectionClosed:
            closed = f"closed with {connection.close_code} {connection.close_reason or ''}"
            log({"case": name, "ok": False, "detail": closed})
        except Failed as failure:
            log({"case": name, "ok": False, "detail": str(failure)})
    return passed


async def main():
    tls = {}
    if url.startswith("wss:"):
        tls["ssl"] = ssl.create_default_context(cafile=options.get("ca"))
        if "servername" in options:
            tls["server_hostname"] = options["servername"]
    passed = 0
    # The iterator form of `connect` would retry, and the plain form follows redirects; the tests need a single attempt.
    attempt = connect(
        url,
        origin=options.get("origin"),
        subprotocols=options.get("protocols"),
        compression="deflate" if options.get("deflate", True) else None,
        additional_headers=options.get("headers"),
        open_timeout=timeout,
        close_timeout=timeout,
        ping_interval=None,  # a Ping that the test did not ask for would be in its counts
        max_size=16 * MIB,
        create_connection=Connection,
        proxy=None,
        **tls,
    )
    attempt.process_redirect = lambda error: error
    try:
        connection = await attempt
    except InvalidStatus as refusal:
        response = refusal.response
        body = bytes(response.body).decode(errors="replace")
        answer = {"status": response.status_code, "headers": pairs(response.headers), "body": body}
        log({"unexpected_response": answer})
    except Exception as error:  # no connection, no TLS, an invalid 101, an end in the middle
        log({"error": failure(error)})
    else:
        response = connection.response.headers
        log(
            {
                "event": "open",
                "protocol": connection.subprotocol or "",
                "extensions": response.get("Sec-WebSocket-Extensions", ""),
                "headers": pairs(response),
            }
        )
        passed = await run_all(connection)
        if connection.close_code is not None:
            log({"event": "close", "code": connection.close_code, "reason": connection.close_reason or ""})
    log({"done": True, "passed": passed, "failed": len(cases) - passed})
    sys.stdout.flush()
    # A connection that the cases left open is cut, as if the process were killed.
    os._exit(0 if passed == len(cases) else 1)


asyncio.run(main())
