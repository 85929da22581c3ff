"""The colours, by name, for light and for dark pages.

Low, medium and high are a blue, an amber and a red, as far apart in lightness as in hue: they stay apart for readers
who are colour-blind, and on paper without colours. Heat goes from the page's own shade to one that stands out.
"""

from __future__ import annotations

import re

LIGHT = {
    "page": "#f5f6f8",
    "card": "#ffffff",
    "text": "#1b2430",
    "muted": "#586474",
    "line": "#d9dee5",
    "track": "#e9ecf1",
    "plain": "#8793a3",
    "accent": "#0b6e99",
    "accent-soft": "#0b6e9930",
    "bad": "#b3123f",
    "bad-soft": "#b3123f30",
    "good": "#1a7f37",
    "low": "#4b97c6",
    "medium": "#c27a00",
    "high": "#7d0f33",
    "on-low": "#10202b",
    "on-medium": "#10202b",
    "on-high": "#ffffff",
    "h0": "#eaf3f8",
    "h1": "#cfe4ef",
    "h2": "#aed3e5",
    "h3": "#86bdd8",
    "h4": "#4f9ac0",
    "h5": "#28769f",
    "h6": "#125c85",
    "h7": "#073f60",
    "weak-heat": "#10202b",
    "strong-heat": "#ffffff",
}
DARK = {
    "page": "#10151b",
    "card": "#192029",
    "text": "#e8edf3",
    "muted": "#a3b0bf",
    "line": "#303b48",
    "track": "#26303b",
    "plain": "#76859a",
    "accent": "#5cc0ea",
    "accent-soft": "#5cc0ea30",
    "bad": "#ff7d96",
    "bad-soft": "#ff7d9630",
    "good": "#5fd07f",
    "low": "#3779ab",
    "medium": "#d5952a",
    "high": "#ffb3c0",
    "on-low": "#ffffff",
    "on-medium": "#10151b",
    "on-high": "#10151b",
    "h0": "#1f2e3a",
    "h1": "#203d4e",
    "h2": "#215065",
    "h3": "#23627c",
    "h4": "#267490",
    "h5": "#4fa6c3",
    "h6": "#7cc3d9",
    "h7": "#bfe6f2",
    "weak-heat": "#e8edf3",
    "strong-heat": "#10151b",
}
#: How many shades heat has.
HEAT_STEPS = 8
_VARIABLE = re.compile(r"var\(--([\w-]+)\)")


def variables(palette: dict[str, str]) -> str:
    """The colours as the declarations of a style sheet."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


def resolved(css: str, palette: dict[str, str]) -> str:
    """A style sheet with the colours themselves, for what does not know variables."""
    return _VARIABLE.sub(lambda match: palette[match[1]], css)
