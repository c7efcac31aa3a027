"""How long and how often to measure."""

from __future__ import annotations

from msgspec import Struct


class Policy(Struct, frozen=True, kw_only=True):
    """Bounds of a run; times in s.

    Attributes:
        least_rounds, most_rounds: rounds of each cell; it ends early once it is steady and its interval is narrow.
        least_samples, least_s: of one round.
        settle_s: at most, before a round's samples count.
        warm_s: how long the device is kept busy before a round, so that its clocks are up: they fall while the host works.
        gap_s: at least, from one round's beginning to the next one's.
        time_limit_s: of one cell, sampling and settling together; also of one dispatch.
        compile_limit_s: of one pipeline's creation.
        ahead: a second worker prepares cells from the other end, for devices that compile at the first dispatch.
    """

    least_rounds: int = 3
    most_rounds: int = 8
    least_samples: int = 7
    least_s: float = 0.15
    settle_s: float = 0.5
    warm_s: float = 1.0
    gap_s: float = 0.5
    time_limit_s: float = 20.0
    compile_limit_s: float = 60.0
    ahead: bool = False


QUICK = Policy(most_rounds=5)
FULL = Policy(most_rounds=12, least_samples=10, least_s=0.3, settle_s=1.0, gap_s=2.0)
SOFTWARE = Policy(least_rounds=1, most_rounds=1, least_samples=5, least_s=0.05, settle_s=0.1, warm_s=0.0, ahead=True)
"""For software devices: their times mean nothing absolute, so that they are not worth waiting for."""
