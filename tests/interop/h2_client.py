"""A client on Python's `h2` and `wsproto`: many requests and tunnels on one HTTP/2 connection.

python h2_client.py JSON_OPTIONS
  url        the proxy, without a path
  ca         PEM file to trust
  origin     value of the Origin header of tunnels, default none
  ws         path of tunnels, default /ws: a proxy's route to ws_server.js
  cases      the functions below
  timeout_ms for each step, default 10000
"""

import hashlib
import json
import os
import socket
import ssl
import sys
import time
import urllib.parse

from common import log
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2 import events
from h2.settings import SettingCodes
from wsproto.connection import Connection as WebSocket, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

options = json.loads(sys.argv[1])
timeout = options.get("timeout_ms", 10_000) / 1000
place = urllib.parse.urlsplit(options["url"])
MIB = 1024 * 1024


class Failed(Exception):
    pass


def expect(condition, *words):
    if not condition:
        raise Failed(" ".join(map(repr, words)))


class Stream:
    """What has arrived on one stream. The window of a stalled one is never enlarged."""

    def __init__(self, id, stalled=False):
        self.id, self.stalled = id, stalled
        self.fields, self.trailers, self.data = None, None, bytearray()
        self.ended, self.reset = False, None

    @property
    def status(self):
        return int(self.fields[":status"])

    @property
    def over(self):
        return self.ended or self.reset is not None


class Link:
    """One connection. It reads only while somebody waits for something."""

    def __init__(self):
        context = ssl.create_default_context(cafile=options.get("ca"))
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection((place.hostname, place.port), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname=place.hostname)
        expect(self.socket.selected_alpn_protocol() == "h2", self.socket.selected_alpn_protocol())
        self.streams, self.settled, self.goaway = {}, False, None
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.until("the server's settings", lambda: self.settled)

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def until(self, what, ready):
        deadline = time.monotonic() + timeout
        self.flush()
        while not ready():
            expect(time.monotonic() < deadline, f"waited in vain for {what}")
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                continue
            expect(data, f"the connection ended before {what}", self.goaway)
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()

    def take(self, event):
        if isinstance(event, events.RemoteSettingsChanged):
            self.settled = True
        elif isinstance(event, events.ConnectionTerminated):
            self.goaway = {"code": int(event.error_code), "last": event.last_stream_id}
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if isinstance(event, events.ResponseReceived):
            stream.fields = dict(event.headers)
        elif isinstance(event, events.TrailersReceived):
            stream.trailers = dict(event.headers)
        elif isinstance(event, events.DataReceived):
            stream.data += event.data
            length = event.flow_controlled_length
            if stream.stalled and length:
                self.h2.increment_flow_control_window(length)
            else:
                self.h2.acknowledge_received_data(length, stream.id)
        elif isinstance(event, events.StreamEnded):
            stream.ended = True
        elif isinstance(event, events.StreamReset):
            stream.reset = int(event.error_code)

    def ask(self, method, path, fields=(), end=True, stalled=False):
        stream = Stream(self.h2.get_next_available_stream_id(), stalled)
        self.streams[stream.id] = stream
        first = [(":method", method), (":scheme", "https"), (":authority", place.netloc), (":path", path)]
        self.h2.send_headers(stream.id, first + list(fields), end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        """Sends as much at a time as the windows of the server allow."""
        data = memoryview(data)
        while data:
            window = lambda: self.h2.local_flow_control_window(stream.id)
            self.until("a larger window", lambda: stream.over or window() > 0)
            if stream.over:
                return
            piece = data[: min(window(), self.h2.max_outbound_frame_size)]
            self.h2.send_data(stream.id, bytes(piece))
            data = data[len(piece) :]
        if end:
            self.h2.end_stream(stream.id)
        self.flush()

    def finish(self, stream):
        self.until(f"the end of stream {stream.id}", lambda: stream.over)
        expect(stream.ended, "reset", stream.reset)
        return stream

    def get(self, path, fields=()):
        return self.finish(self.ask("GET", path, fields))


class Tunnel:
    """A WebSocket on a stream (RFC 8441)."""

    def __init__(self, link, case, path=None):
        path = path or options.get("ws", "/ws")
        fields = [("sec-websocket-version", "13")]
        if "origin" in options:
            fields.append(("origin", options["origin"]))
        expect(link.h2.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL) == 1, "extended CONNECT is not offered")
        stream = Stream(link.h2.get_next_available_stream_id())
        link.streams[stream.id] = stream
        first = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", place.netloc),
            (":path", f"{path}?case={case}"),
        ]
        link.h2.send_headers(stream.id, first + fields)
        self.link, self.stream, self.arrived = link, stream, []
        self.ws = WebSocket(ConnectionType.CLIENT)
        link.until("an answer", lambda: stream.fields is not None or stream.over)
        self.status = stream.fields and stream.status

    def opened(self):
        expect(self.status == 200, self.status, bytes(self.stream.data), self.stream.reset)
        return self

    def send(self, event):
        self.link.send(self.stream, self.ws.send(event))

    def receive(self):
        """The next event; None at the end of the stream."""

        def ready():
            if self.stream.data:
                self.ws.receive_data(bytes(self.stream.data))
                self.stream.data.clear()
                self.arrived += self.ws.events()
            return self.arrived or self.stream.over

        self.link.until("a message", ready)
        return self.arrived.pop(0) if self.arrived else None

    def message(self):
        """A whole message, and an answer to each Ping before it."""
        parts = []
        while True:
            event = self.receive()
            if isinstance(event, Ping):
                self.send(event.response())
            elif isinstance(event, (TextMessage, BytesMessage)):
                parts.append(event.data)
                if event.message_finished:
                    return parts[0][:0].join(parts)
            else:
                raise Failed(f"no message but {event}")

    def echo(self, data):
        self.send(TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data))
        got = self.message()
        expect(got == data, "the echo differs", len(got), len(data))

    def end(self):
        """How it ended: the Close that came, and whether END_STREAM or RST_STREAM followed."""
        close = None
        while (event := self.receive()) is not None:
            if isinstance(event, CloseConnection):
                close = {"code": int(event.code), "reason": event.reason or ""}
                if self.ws.state.name == "REMOTE_CLOSING":
                    self.send(event.response())
                elif self.ws.state.name == "OPEN":
                    # Of a Close that it dislikes, wsproto tells only what to answer.
                    self.send(event)
        return {"close": close, "ended": self.stream.ended, "reset": self.stream.reset}

    def close(self, code=1000, reason="done"):
        self.send(CloseConnection(code=code, reason=reason))
        self.link.until("the Close", lambda: self.stream.data or self.stream.over)
        # After its own end, the other side may say that it does not need ours.
        if self.stream.reset is None:
            self.link.h2.end_stream(self.stream.id)
        return self.end()


def get(link):
    stream = link.get("/api/json?case=h2_get", [("token", "abc")])
    expect(json.loads(stream.data) == {"token": "abc"}, stream.fields, bytes(stream.data))
    return {"stream": stream.id}


def head(link):
    stream = link.finish(link.ask("HEAD", "/api/json?case=h2_head"))
    expect(stream.fields["content-length"] == "14" and not stream.data, stream.fields)


def post(link):
    """A body of unknown length with trailers."""
    body = os.urandom(200_000)
    stream = link.ask("POST", "/api/hash?case=h2_post", [("trailer", "x-sum")], end=False)
    link.send(stream, body)
    link.h2.send_headers(stream.id, [("x-sum", "abc")], end_stream=True)
    link.finish(stream)
    got = json.loads(stream.data)
    expect(got["sha256"] == hashlib.sha256(body).hexdigest(), got)
    return got["trailers"]


def trailers(link):
    stream = link.get("/api/trailers?case=h2_trailers", [("te", "trailers")])
    expect(stream.data == b"with trailers", bytes(stream.data))
    return stream.trailers


def cookies(link):
    """Each cookie may be a field of its own (RFC 9113 section 8.2.3)."""
    stream = link.get("/api/cookies?case=h2_cookies", [("cookie", "a=1"), ("cookie", "b=2")])
    return json.loads(stream.data)["cookie"]


def upload(link):
    body = os.urandom(8 * MIB)
    length = [("content-length", str(len(body)))]
    stream = link.ask("PUT", "/api/hash?case=h2_upload", length, end=False)
    link.send(stream, body, end=True)
    got = json.loads(link.finish(stream).data)
    expect(got["sha256"] == hashlib.sha256(body).hexdigest(), got)


def download(link):
    stream = link.get(f"/api/download?bytes={8 * MIB}&case=h2_download")
    expect(hashlib.sha256(stream.data).hexdigest() == stream.fields["x-digest"], len(stream.data))


def cancelled(link):
    """Leaves in the middle of an answer; the connection goes on."""
    stream = link.ask("GET", f"/api/download?bytes={MIB}&hold=1&case=h2_cancelled")
    link.until("a half", lambda: len(stream.data) >= MIB // 2)
    link.h2.reset_stream(stream.id, ErrorCodes.CANCEL)
    link.get("/api/json?case=h2_after_cancelled")


def stalled(link):
    """One stream takes nothing, and holds up no other."""
    stream = link.ask("GET", f"/api/download?bytes={MIB}&case=h2_stalled", stalled=True)
    link.until("its window to be used up", lambda: len(stream.data) >= 65535)
    for number in range(10):
        link.get(f"/api/json?case=h2_beside_{number}")
    tunnel = Tunnel(link, "h2_beside_tunnel").opened()
    tunnel.echo(os.urandom(200_000))
    tunnel.close()
    expect(len(stream.data) == 65535, len(stream.data))
    stream.stalled = False
    link.h2.increment_flow_control_window(MIB, stream.id)
    link.finish(stream)
    expect(len(stream.data) == MIB, len(stream.data))


def streams(link):
    """Requests and tunnels at the same time on one connection."""
    tunnels = [Tunnel(link, f"h2_many_{number}").opened() for number in range(5)]
    asked = [link.ask("GET", f"/api/json?case=h2_among_{number}", [("token", str(number))]) for number in range(20)]
    for turn in range(20):
        for number, tunnel in enumerate(tunnels):
            tunnel.send(TextMessage(data=f"{number} {turn}"))
    for number, stream in enumerate(asked):
        expect(json.loads(link.finish(stream).data) == {"token": str(number)}, number)
    for turn in range(20):
        for number, tunnel in enumerate(tunnels):
            expect(tunnel.message() == f"{number} {turn}", number, turn)
    # One ends, and the others go on.
    expect(tunnels[2].close()["close"]["code"] == 1000)
    for number, tunnel in enumerate(tunnels):
        if number != 2:
            tunnel.echo("still here")
            tunnel.close()
    return [tunnel.stream.id for tunnel in tunnels]


def tunnel(link):
    """Messages of every size, a Ping, and a Close."""
    tunnel = Tunnel(link, "h2_tunnel").opened()
    for size in [0, 1, 125, 126, 65535, 65536, MIB]:
        tunnel.echo(os.urandom(size))
    for number in range(20):
        tunnel.echo(f"{number}, 世界")
    tunnel.send(Ping(payload=b"from the client"))
    event = tunnel.receive()
    expect(isinstance(event, Pong) and event.payload == b"from the client", event)
    headers = list(map(list, tunnel.stream.fields.items()))
    return {"stream": tunnel.stream.id, "headers": headers, **tunnel.close(4001, "bye")}


def ended_without_close(link):
    tunnel = Tunnel(link, "h2_ended_without_close").opened()
    tunnel.echo("one")
    link.h2.end_stream(tunnel.stream.id)
    return tunnel.end()


def reset(link):
    tunnel = Tunnel(link, "h2_reset").opened()
    tunnel.echo("one")
    link.h2.reset_stream(tunnel.stream.id, ErrorCodes.CANCEL)
    link.get("/api/json?case=h2_after_reset")


def told(link, command):
    """The server ends the tunnel in its own way."""
    tunnel = Tunnel(link, f"h2_told_{command.split(':')[0]}").opened()
    tunnel.send(TextMessage(data=command))
    return tunnel.end()


def server_close(link):
    return told(link, "close:4001:bye")


def server_terminate(link):
    return told(link, "terminate")


def server_reset(link):
    return told(link, "reset")


def refused(link):
    """A refusal ends one stream only."""
    tunnel = Tunnel(link, "h2_refused", "/nowhere")
    link.until("the end of the stream", lambda: tunnel.stream.over)
    link.get("/api/json?case=h2_after_refused")
    return {"status": tunnel.status, "body": bytes(tunnel.stream.data).decode()}


def main():
    link = Link()
    log({"event": "open", "settings": {int(id): value for id, value in link.h2.remote_settings.items()}})
    passed = 0
    for name in options["cases"]:
        try:
            detail = globals()[name](link)
            passed += 1
            log({"case": name, "ok": True, "detail": detail})
        except Exception as error:  # the line says which; the next case may still work
            log({"case": name, "ok": False, "detail": f"{type(error).__name__}: {error}"})
    log({"done": True, "passed": passed, "failed": len(options["cases"]) - passed, "goaway": link.goaway})
    sys.stdout.flush()
    os._exit(0 if passed == len(options["cases"]) else 1)


main()
