"""Identifiers: UUID version 7, which sort by the time of their making and so stay cheap to index."""

import os
import time
import uuid


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) as text; its order is a convenience, never a promise."""
    millis = time.time_ns() // 1_000_000
    value = (millis & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
