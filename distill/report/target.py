"""What a report says of a target: whether the chosen file meets it, and by how much it does not."""

import math

from distill.formatting import number, score
from distill.results import Offer, Scale, TargetResult

UNITS = {"size_mb": "MB", "latency_ms": "ms", "memory_mb": "MB of memory"}
SHIP = {
    "linear": "a linear model on TF-IDF (scikit-learn; it is in no bundle, its size and latency are not measured)",
    "static": "averaged token vectors (student=static)",
}


def target_in_words(result: TargetResult | None, scale: Scale) -> tuple[str, ...]:
    """One sentence for the target, one for each limit, one for each floor that would do; none without a target."""
    if result is None or not result.limits:
        return ()
    first = f"met by {result.chosen}" if not result.missed else f"not met; the nearest is {result.chosen}"
    if not result.missed and not result.shown:
        first += " by the estimate, not shown: the interval's end is beyond the limit of the drop"
    limits = [limit_in_words(result, name, scale) for name in result.limits]
    ship = [
        f"ship that: {SHIP.get(name, name)} {lost_in_words(lost, scale)} against the teacher on validation"
        for name, lost in result.floors.items()
    ]
    return (f"The target is {first}.", *limits, *ship)


def limit_in_words(result: TargetResult, name: str, scale: Scale) -> str:
    """``23 MB, 10 allowed: missed by 13``"""
    offer, limit = result.taken, result.limits[name]
    over = result.missed.get(name)
    if name == "drop":
        low, high = offer.drop.low / 100, offer.drop.high / 100
        fine = scale.drops
        known = f"{lost_in_words(offer.drop.value, scale)} against the teacher on validation, "
        if math.isfinite(high):
            known += f"95 % interval of the loss {score(low, fine)} to {score(high, fine)}, "
        known += f"{fine.read(limit / 100):g} allowed"
        beyond = "" if over is None else points(over, scale)
    else:
        value = offer.figures[name]
        known = f"{number(value) if math.isfinite(value) else 'unknown'} {UNITS[name]}, {limit:g} allowed"
        beyond = "" if over is None else f"{number(over)} {UNITS[name]}" if math.isfinite(over) else "what is not known"
    return f"{known}: {'met' if over is None else f'missed by {beyond}'}"


def points(lost: float, scale: Scale) -> str:
    """``1.25 points``; hundredths of a score as people read them."""
    return f"{score(lost / 100, scale.drops)} {scale.steps}"


def lost_in_words(lost: float, scale: Scale) -> str:
    """``loses 1.25 points``, or gains them."""
    return f"{'loses' if lost >= 0 else 'gains'} {points(abs(lost), scale)}"


def missed_in_words(result: TargetResult | None, scale: Scale) -> str:
    """What is said of a target that is missed; empty where it is met, and where there is none."""
    if result is None or not result.missed:
        return ""
    fallen = "; ".join(limit_in_words(result, name, scale) for name in result.missed)
    return (
        f"target not met: the nearest is {result.chosen}: {fallen}. Front (drop, size, latency): "
        f"{'; '.join(front_in_words(result, scale))}"
    )


def front_in_words(result: TargetResult, scale: Scale) -> tuple[str, ...]:
    """What no other file is better than in everything."""
    by_name = {offer.name: offer for offer in result.offers}
    return tuple(offer_in_words(by_name[name], scale) for name in result.front)


def offer_in_words(offer: Offer, scale: Scale) -> str:
    """``student int8 (1.25 points, 6.4 MB, 1.1 ms)``"""
    latency = f", {number(offer.latency_ms)} ms" if math.isfinite(offer.latency_ms) else ""
    return f"{offer.name} ({points(offer.drop.value, scale)}, {number(offer.size_mb)} MB{latency})"
