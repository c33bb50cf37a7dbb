"""Makes text that others chose (labels, reasons, file names) safe for a terminal and for a line-based reader."""

from __future__ import annotations


def escaped(text: str) -> str:
    """Return `text` with a backslash escape for everything that is not printable.

    Covers C0 and C1 controls, line and paragraph separators, bidirectional overrides and undecodable bytes of file
    names.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that os.fsdecode could not decode
        return f"\\x{code - 0xDC00:02x}"
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if short:
        return short
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
