"""Text from elsewhere, made harmless for terminals and logs."""

from __future__ import annotations


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""A text that cannot drive the reader's terminal: what is not printable, or not in the encoding, as escapes.

    Bytes of a file's name that are not UTF-8 are `\xNN`.
    """
    if text.isprintable() and encoding == "utf-8":
        return text
    plain = "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)
    return plain.encode(encoding, "backslashreplace").decode(encoding)


def _escaped(sign: str) -> str:
    code = ord(sign)
    # As Python has bytes that are not UTF-8.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else sign.encode("unicode_escape").decode("ascii")
