"""What is too large to be decoded, and the outcome of an image that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

from pomona.schema import Reason


class RejectedImage(Exception):  # noqa: N818 - an outcome of decoding, which becomes a row
    """An image that cannot be used.

    Attributes:
        reason: one of the closed list.
        message: one sentence for a person.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class DecodeLimits:
    """What is refused from the header, before memory is taken.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 50_000_000


def check_size(size: int, limits: DecodeLimits) -> None:
    """Refuse by the number of bytes, before they are read.

    Raises:
        RejectedImage: empty or too many bytes.
    """
    if size == 0:
        raise RejectedImage(Reason.EMPTY, "the file has no bytes")
    if size > limits.max_bytes:
        raise RejectedImage(
            Reason.TOO_MANY_BYTES, f"{size:,} bytes; at most {limits.max_bytes:,} are read"
        )


def check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    """Refuse by what the header says, before memory is taken.

    Raises:
        RejectedImage: zero-sized or too many pixels.
    """
    if width <= 0 or height <= 0:
        raise RejectedImage(Reason.ZERO_SIZED, f"the header says {width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise RejectedImage(
            Reason.TOO_MANY_PIXELS,
            f"{width:,} x {height:,} pixels; at most {limits.max_pixels:,} are decoded",
        )
