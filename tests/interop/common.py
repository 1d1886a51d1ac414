"""Shared by all Python peers: one JSON object per line on stdout, and an end even if the test is killed."""

import errno
import json
import os
import ssl
import sys
import threading


def log(line):
    try:
        print(json.dumps(line, ensure_ascii=False), flush=True)
    except BrokenPipeError:
        os._exit(0)  # the harness has gone


def exit_with_stdin():
    """A server runs as long as the harness holds its stdin open."""

    def wait():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def failure(error):
    """An exception as {"code", "message"}; the code is the name from OpenSSL or the system, or the exception's class."""
    code = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    code = code or errno.errorcode.get(getattr(error, "errno", None)) or type(error).__name__
    return {"code": code, "message": str(error) or type(error).__name__}


def pairs(headers):
    """Headers in their order, including repeats."""
    return [[name, value] for name, value in headers.raw_items()]


def close_arguments(text, code, reason):
    """'close:4000:some: reason' as (4000, 'some: reason'), with defaults for missing parts."""
    _, *given = text.split(":", 2)
    if given:
        code = int(given[0])
        reason = given[1] if len(given) > 1 else ""
    return code, reason
