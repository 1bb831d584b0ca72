"""Reading protocol buffers: bytes to fields by number. Pure.

The wire format is a page of the protocol buffers documentation (protobuf.dev/programming-guides/encoding). What is
asked of the kubelet needs strings and submessages alone, so a library with generated classes would be most of the
agent's memory (docs/adr/0012-node-agent.md).
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """Not a protocol buffers message. The message says at which byte."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    r"""``(field number, value)`` in their order: an int for a varint, bytes for all else. Raises `WireError`.

    >>> list(fields(b"\x0a\x03gpu\x10\x96\x01"))
    [(1, b'gpu'), (2, 150)]
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError(f"field number 0 at byte {at}")
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == BYTES:
            length, at = _varint(message, at)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise WireError(f"wire type {kind} at byte {at}")
        if at + length > len(message):
            raise WireError(f"field {number} ends behind the message, at byte {at}")
        yield number, message[at : at + length]
        at += length


def parts(message: bytes, number: int) -> Iterator[bytes]:
    """The values of a repeated string or submessage field. Raises `WireError`, also when it is a number."""
    for found, value in fields(message):
        if found == number:
            if isinstance(value, int):
                raise WireError(f"field {number} is a number, not a string or a message")
            yield value


def text(message: bytes, number: int) -> str:
    """A string field, the last if there are several; empty when absent. Raises `WireError`."""
    values = list(parts(message, number))
    try:
        return values[-1].decode() if values else ""
    except UnicodeDecodeError as error:
        raise WireError(f"field {number} is not UTF-8") from error


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise WireError(f"a number ends behind the message, at byte {at}")
        octet = message[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise WireError(f"a number of more than ten bytes, at byte {at}")
