"""Names that came from outside, as a reader can see them: no control character acts."""

from __future__ import annotations

MOST = 160
_JOINERS = "\u200c\u200d"
"""Zero width, but part of how some scripts and emoji are written."""


def shown(text: str, most: int = MOST) -> str:
    """A label or path for display: control and direction characters written out, length bounded.

    Args:
        text: anything.
        most: characters; what is longer loses its middle, so that both ends can be read.
    """
    if len(text) > most:
        tail = most // 2
        text = f"{text[: most - tail - 1]}…{text[-tail:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else _written_out(c) for c in text)


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
