"""What a quantized variant may lose."""

import math

from distill.results import Estimate, Gate


def gate(drop: Estimate, agreement: float, max_drop_points: float) -> Gate:
    """Whether a variant keeps enough of fp32's score on validation.

    ``drop`` is the score of fp32 minus the variant's (fractions of 1) with its paired interval, ``agreement`` the share
    of answers equal to fp32's, ``max_drop_points`` the loss allowed in points (hundredths). The point estimate decides;
    how much loss the interval leaves possible stands beside it.
    """
    passed = drop.value <= max_drop_points / 100
    lost, least, most = (100 * x for x in (drop.value, drop.low, drop.high))
    interval = (
        f"95 % interval of the loss {least:.2f} to {most:.2f}" if math.isfinite(most) else "one text, no interval"
    )
    reason = (
        f"{'loses' if lost >= 0 else 'gains'} {abs(lost):.2f} points against fp32 on validation, "
        f"{max_drop_points:g} allowed; {interval}"
    )
    if passed and most > max_drop_points:
        reason += ", so a loss of more than allowed is not ruled out"
    return Gate(passed, drop, max_drop_points / 100, agreement, reason)
