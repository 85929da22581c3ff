"""Text from elsewhere, made harmless for terminals and logs."""

from __future__ import annotations


def printable(text: str, encoding: str = "utf-8") -> str:
    """A text that cannot drive the reader's terminal: what is not printable, or not in the encoding, as escapes."""
    if text.isprintable() and encoding == "utf-8":
        return text
    plain = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return plain.encode(encoding, "backslashreplace").decode(encoding)
