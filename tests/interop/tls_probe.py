"""One TLS handshake with Python's ssl module, and its outcome.

python tls_probe.py HOST PORT [JSON_OPTIONS]
  ca          PEM file to trust instead of the system's list
  servername  for SNI and the name check, default HOST; "" sends no SNI and skips the name check
  alpn        list to offer, default ["http/1.1"]
  cert, key   PEM files of a client certificate
  min_version, max_version   "TLSv1.2" or "TLSv1.3"
  hold_ms     how long to stay after a good handshake, default 300: in TLS 1.3 a server's refusal comes after it
  timeout_ms  default 10000
"""

import json
import socket
import ssl
import sys

from common import failure, log

host, port = sys.argv[1], int(sys.argv[2])
options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}

context = ssl.create_default_context(cafile=options.get("ca"))
context.set_alpn_protocols(options.get("alpn", ["http/1.1"]))
if "cert" in options:
    context.load_cert_chain(options["cert"], options["key"])
if "min_version" in options:
    context.minimum_version = ssl.TLSVersion[options["min_version"].replace(".", "_")]
if "max_version" in options:
    context.maximum_version = ssl.TLSVersion[options["max_version"].replace(".", "_")]
servername = options.get("servername", host) or None
if servername is None:
    context.check_hostname = False

stage = "connect"
try:
    with socket.create_connection((host, port), options.get("timeout_ms", 10_000) / 1000) as plain:
        stage = "handshake"
        with context.wrap_socket(plain, server_hostname=servername) as tls:
            stage = "after"
            certificate = tls.getpeercert()
            names = [f"{kind}:{name}" for kind, name in certificate.get("subjectAltName", ())]
            result = {
                "ok": True,
                "protocol": tls.version(),
                "cipher": tls.cipher()[0],
                "alpn": tls.selected_alpn_protocol(),
                "certificate": {
                    "subject": dict(part[0] for part in certificate["subject"]).get("commonName"),
                    "issuer": dict(part[0] for part in certificate["issuer"]).get("commonName"),
                    "names": ", ".join(names),
                    "not_after": certificate["notAfter"],
                },
            }
            tls.settimeout(options.get("hold_ms", 300) / 1000)
            try:
                if tls.recv(1) == b"":
                    result = {"ok": False, "stage": stage, "error": None}
            except TimeoutError:
                pass  # still open: the handshake was good on both sides
except OSError as error:
    result = {"ok": False, "stage": stage, "error": failure(error)}
log(result)
sys.exit(0 if result["ok"] else 1)
