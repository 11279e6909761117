"""Files of OTLP as they come: JSON, a request a line or one document; the same in gzip; binary; or standard input."""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from .documents import Found, read_text
from .otlp import Unreadable
from .protobuf import read_binary

GZIP = b"\x1f\x8b"
HEAD = 4_096
BUFFER = 1 << 16
_TEXT = re.compile(rb"(\xef\xbb\xbf)?\s*([\[{]\s*[\"\[{}\]]|\Z)")
_BINARY_NAMES = (".pb", ".bin", ".binpb", ".proto")


def read(name: str) -> Iterator[Found]:
    """
    Yield what a file holds, and what is wrong with it: the number of its line or message, and a piece or the reason.

    Args:
        name: Path of the file; ``-`` is standard input.

    Raises:
        OSError: It cannot be opened or read.
        MissingDependency: It is binary, and opentelemetry-proto is not installed.
    """
    with _opened(name) as file:
        try:
            if _is_binary(file, name):
                yield from read_binary(file, name)
            else:
                yield from read_text(file)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            yield 0, Unreadable("the gzip file is broken, or ends in the middle")


@contextmanager
def _opened(name: str) -> Iterator[Any]:
    raw: Any = sys.stdin.buffer if name == "-" else open(name, "rb", 0)  # noqa: SIM115 closed below
    try:
        file: Any = io.BufferedReader(raw, BUFFER)
        if file.peek(2)[:2] == GZIP:
            file = io.BufferedReader(cast("Any", gzip.GzipFile(fileobj=file)), BUFFER)
        yield file
    finally:
        if name != "-":
            raw.close()


def _is_binary(file: Any, name: str) -> bool:
    """Return whether a file is binary. A request in protobuf begins with what a text takes for an empty line."""
    if name.lower().removesuffix(".gz").endswith(_BINARY_NAMES):
        return True
    head = file.peek(HEAD)[:HEAD]
    if _TEXT.match(head):
        return False
    return b"\x00" in head or head[:1] == b"\x0a" or not _decodes(head)


def _decodes(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character that goes on
    return True
