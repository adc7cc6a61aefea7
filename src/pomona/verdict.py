"""One sentence on what a run spent its time on, and what would make it faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADVICE = {
    "read": "faster storage, tar shards or more requests in flight would help most",
    "decode": "smaller images at the source would help most",
    "embed": "a smaller network, a lower --precision or more cores would help most",
    "write": "a network with shorter features would help most",
}
_IDLE_WORTH_SAYING = 0.25


def bottleneck(seconds: Mapping[str, float], busy: float, wall: float, slots: int) -> str:
    """Name the stage that took most of the cores' time.

    Args:
        seconds: core-seconds by stage.
        busy: core-seconds that tasks took.
        wall: seconds from the first task's start to the last commit.
        slots: tasks that could run at the same time.
    """
    if wall <= 0 or busy <= 0:
        return "nothing was embedded"
    idle = max(0.0, 1 - busy / (wall * slots))
    stage = max(_ADVICE, key=lambda name: seconds.get(name, 0.0))
    share = seconds.get(stage, 0.0) / busy
    if idle > _IDLE_WORTH_SAYING:
        return (
            f"the cores were idle {idle:.0%} of {wall:.1f} s: too few images to keep {slots} busy, "
            f"or workers still starting"
        )
    return f"{stage} took {share:.0%} of the cores' time: {_ADVICE[stage]}"
