"""Description of files that are no images, in words that repeat nothing of their content."""

from __future__ import annotations

_KNOWN_BEGINNINGS: dict[bytes, str] = {
    b"version https://git-lfs": "a pointer of Git LFS; `git lfs pull` fetches the image",
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"GIF8": "a GIF",
    b"\x93NUMPY": "a NumPy array",
    b"MATLAB 5.0": "a MATLAB file",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
}
_WEB_PAGES = (b"<!doctype", b"<html", b"<?xml")
_HEAD_BYTES = 512


def describe_unreadable(data: bytes, formats: tuple[str, ...]) -> str:
    """Return why a file that is of none of the formats is not read.

    >>> describe_unreadable(b"%PDF-1.7", ("PNG", "JPEG"))
    'The file is not an image in a known format (PNG, JPEG); it is a PDF'
    """
    head = data[:_HEAD_BYTES]
    if head.lstrip().lower().startswith(_WEB_PAGES):
        return "The file is HTML or XML, not an image (a web page saved in its place?)"
    message = f"The file is not an image in a known format ({', '.join(formats)})"
    kind = next((k for beginning, k in _KNOWN_BEGINNINGS.items() if head.startswith(beginning)), "")
    if not kind and not any(head):
        kind = "empty apart from zeros"
    elif not kind and all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in head):
        kind = "text"
    return f"{message}; it is {kind}" if kind else message
