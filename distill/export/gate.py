"""What a quantized variant may lose."""

import math

from distill.results import PERCENT, Estimate, Gate, Scale


def gate(drop: Estimate, agreement: float, max_drop_points: float, scale: Scale = PERCENT) -> Gate:
    """Whether a variant keeps enough of fp32's score on validation.

    ``drop`` is the score of fp32 minus the variant's (fractions of 1) with its paired interval, ``agreement`` the share
    of answers equal to fp32's, ``max_drop_points`` the loss allowed in points (hundredths of a score), ``scale`` that
    of the score. The point estimate decides; how much loss the interval leaves possible stands beside it.
    """
    allowed = max_drop_points / 100
    passed = drop.value <= allowed
    read, digits = scale.gains.read, scale.digits + 1
    interval = (
        f"95 % interval of the loss {read(drop.low):.{digits}f} to {read(drop.high):.{digits}f}"
        if math.isfinite(drop.high)
        else "one text, no interval"
    )
    reason = (
        f"{'loses' if drop.value >= 0 else 'gains'} {abs(read(drop.value)):.{digits}f} {scale.steps} against fp32 on "
        f"validation, {read(allowed):g} allowed; {interval}"
    )
    if passed and drop.high > allowed:
        reason += ", so a loss of more than allowed is not ruled out"
    return Gate(passed, drop, allowed, agreement, reason)
