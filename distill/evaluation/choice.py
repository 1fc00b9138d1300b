"""Which of several files meets what was asked for: the smallest, or the fastest, that does; else the nearest."""

import math
from collections.abc import Mapping, Sequence

from distill.results import Offer, TargetResult, within

Key = tuple[float, float, str]
"""What offers are sorted by: the worst excess over a limit, the cost that is minimised, and the name."""


def choose(offers: Sequence[Offer], limits: Mapping[str, float]) -> TargetResult:
    """The smallest that meets all limits (the fastest, where a latency is asked for and no size); where none does the
    nearest: that whose worst excess is least, as a share of its limit. Raises ValueError where there is no offer."""
    best = min(offers, key=lambda offer: key_of(offer, limits))
    missed = {name: best.figures[name] - limit for name, limit in limits.items() if worse(best.figures[name], limit)}
    shown = "drop" not in limits or best.drop.high <= limits["drop"]
    return TargetResult(dict(limits), tuple(offers), best.name, missed, shown, front(offers))


def key_of(offer: Offer, limits: Mapping[str, float]) -> Key:
    """By which the least is chosen; the excess is 0 where all limits are met."""
    by = "latency_ms" if "latency_ms" in limits and "size_mb" not in limits else "size_mb"
    excess = max((worse(offer.figures[name], limit) for name, limit in limits.items()), default=0.0)
    return excess, offer.figures[by], offer.name


def worse(figure: float, limit: float) -> float:
    """How far a figure is above its limit, as a share of that; of a limit below 1 as a share of 1, so that one of 0 has
    a distance, too."""
    if not math.isfinite(figure):
        return math.inf
    return 0.0 if within(figure, limit) else (figure - limit) / max(limit, 1.0)


def front(offers: Sequence[Offer]) -> tuple[str, ...]:
    """Names of those that none other is at least as good as in drop, size and latency and better in one (Pareto)."""

    def costs(offer: Offer) -> tuple[float, ...]:
        return tuple(offer.figures[name] for name in ("drop", "size_mb", "latency_ms"))

    kept = [
        one
        for one in offers
        if not any(
            costs(other) != costs(one) and all(a <= b for a, b in zip(costs(other), costs(one), strict=True))
            for other in offers
        )
    ]
    return tuple(offer.name for offer in sorted(kept, key=lambda offer: (offer.size_mb, offer.name)))
