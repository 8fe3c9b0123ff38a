"""The PNG format, as far as encoding and decoding share it."""

from __future__ import annotations

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
