"""A client of plain requests on Python's http.client and urllib.

python web_client.py JSON_OPTIONS     as web_client.js, over TLS with `ca`
"""

import hashlib
import http.client
import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

from common import log

options = json.loads(sys.argv[1])
timeout = options.get("timeout_ms", 10_000) / 1000
place = urllib.parse.urlsplit(options["url"])
context = ssl.create_default_context(cafile=options.get("ca"))


def connect():
    return http.client.HTTPSConnection(place.hostname, place.port, timeout=timeout, context=context)


def kept():
    connection = connect()
    for _ in range(10):
        connection.request("GET", "/api/json?case=py_kept", headers={"token": "t"})
        response = connection.getresponse()
        assert json.load(response) == {"token": "t"}, response.status
    connection.close()


def chunks():
    connection = connect()
    pieces = [os.urandom(1000) for _ in range(30)]
    connection.request("POST", "/api/hash?case=py_chunks", body=iter(pieces), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    got = json.load(connection.getresponse())
    assert got["bytes"] == 30_000, got
    assert got["sha256"] == hashlib.sha256(b"".join(pieces)).hexdigest(), got
    connection.close()


def methods():
    connection = connect()
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS"]:
        connection.request(method, f"/api/hash?case=py_{method.lower()}", body=b"some")
        got = json.load(connection.getresponse())
        assert got["text"] == "some", got
    connection.close()


def urls():
    address = f"{options['url']}/api/nothing?case=py_urllib"
    try:
        urllib.request.urlopen(address, timeout=timeout, context=context)
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
        return
    raise AssertionError("no 404")


def main():
    failed = 0
    cases = options["cases"]
    for name in cases:
        try:
            globals()[name]()
            log({"case": name, "ok": True, "detail": None})
        except (AssertionError, OSError, http.client.HTTPException, ValueError) as error:
            failed += 1
            log({"case": name, "ok": False, "detail": repr(error)})
    log({"done": True, "passed": len(cases) - failed, "failed": failed})
    sys.exit(1 if failed else 0)


main()
