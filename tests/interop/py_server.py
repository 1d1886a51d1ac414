"""An echo server on Python's `websockets`.

python py_server.py [JSON_OPTIONS]
  deflate       offer permessage-deflate, default true
  subprotocols  list that the server speaks; default: the first one offered, whatever it is
  cert, key     PEM files: serve TLS
  refuse        {"status": 403, "headers": {…}, "body": "…"}: answer every handshake with that
"""

import asyncio
import itertools
import json
import os
import socket
import ssl
import struct
import sys

from common import close_arguments, exit_with_stdin, log, pairs
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
ids = itertools.count(1)


class Connection(ServerConnection):
    """Logs the control frames, which `websockets` answers silently."""

    number = None

    def process_event(self, event):
        opcode = getattr(event, "opcode", None)
        if opcode is not None and opcode.name in ("PING", "PONG"):
            log({"event": opcode.name.lower(), "id": self.number, "data": bytes(event.data).decode("latin-1")})
        super().process_event(event)


def on_request(connection, request):
    """Answers requests that must not become a WebSocket."""
    if "Upgrade" not in request.headers:
        seen = {"event": "request", "method": "GET", "url": request.path, "headers": pairs(request.headers)}
        log(seen)
        return connection.respond(200, json.dumps(seen))
    if refuse := options.get("refuse"):
        log({"event": "refused", "url": request.path, "headers": pairs(request.headers), "status": refuse["status"]})
        response = connection.respond(refuse["status"], refuse.get("body", ""))
        for name, value in refuse.get("headers", {}).items():
            response.headers[name] = value
        return response
    return None


def subprotocol(connection, offered):
    spoken = options.get("subprotocols", offered)
    return next((name for name in offered if name in spoken), None)


async def stream(connection, text):
    """'stream:50:20' sends a message every 50 ms, 20 of them, and closes."""
    every, count = map(int, text.split(":")[1:])
    for _ in range(count):
        await asyncio.sleep(every / 1000)
        await connection.send("more")
    await connection.close(1000, "all sent")


async def on_connection(connection):
    connection.number = number = next(ids)
    log(
        {
            "event": "connection",
            "id": number,
            "url": connection.request.path,
            "headers": pairs(connection.request.headers),
            "protocol": connection.subprotocol or "",
            "extensions": connection.response.headers.get("Sec-WebSocket-Extensions", ""),
        }
    )
    try:
        async for message in connection:
            binary = isinstance(message, bytes)
            size = len(message if binary else message.encode())
            log({"event": "message", "id": number, "binary": binary, "bytes": size})
            text = "" if binary or size > 200 else message
            if text.startswith("close:"):
                await connection.close(*close_arguments(text, 1000, ""))
            elif text == "terminate":
                connection.transport.abort()
            elif text == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.transport.abort()
            elif text == "ping":
                await connection.ping("from the server")
            elif text == "exit":
                os._exit(0)
            elif text.startswith("big:"):
                await connection.send("x" * int(text[4:]))
            elif text.startswith("stream:"):
                await stream(connection, text)
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass  # it ended without a Close frame; the code below says 1006
    await connection.wait_closed()
    log({"event": "close", "id": number, "code": connection.close_code, "reason": connection.close_reason or ""})


async def main():
    tls = None
    if "cert" in options:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options["cert"], options["key"])
    server = await serve(
        on_connection,
        "127.0.0.1",
        0,
        ssl=tls,
        process_request=on_request,
        select_subprotocol=subprotocol,
        compression="deflate" if options.get("deflate", True) else None,
        max_size=16 * 1024 * 1024,
        ping_interval=None,  # a Ping that the test did not ask for would be in its counts
        create_connection=Connection,
    )
    log({"listening": server.sockets[0].getsockname()[1]})
    exit_with_stdin()
    await server.serve_forever()


asyncio.run(main())
