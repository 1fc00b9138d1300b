"""What a quantized variant may lose."""

import math
from dataclasses import replace

from distill.formatting import score
from distill.results import PERCENT, Estimate, Gate, Scale, within


def gate(
    drop: Estimate,
    agreement: float,
    max_drop_points: float,
    scale: Scale = PERCENT,
    token_agreement: float | None = None,
    min_agreement: float | None = None,
) -> Gate:
    """Whether a variant keeps enough of fp32's score on validation and, where that is asked, of its tokens.

    ``drop`` is the score of fp32 minus the variant's (fractions of 1) with its paired interval, ``agreement`` the share
    of answers equal to fp32's, ``max_drop_points`` the loss allowed in points (hundredths of a score), ``scale`` that
    of the score, ``token_agreement`` the share of tokens at which both find the same one most likely, ``min_agreement``
    the least that is allowed. The point estimate decides; how much loss the interval leaves possible stands beside it.
    """
    allowed = max_drop_points / 100
    fine = scale.drops
    interval = (
        f"95 % interval of the loss {score(drop.low, fine)} to {score(drop.high, fine)}"
        if math.isfinite(drop.high)
        else "one text, no interval"
    )
    reason = (
        f"{'loses' if drop.value >= 0 else 'gains'} {score(abs(drop.value), fine)} {scale.steps} against fp32 on "
        f"validation, {fine.read(allowed):g} allowed; {interval}"
    )
    if within(drop.value, allowed) and not within(drop.high, allowed):
        reason += ", so a loss of more than allowed is not ruled out"
    if token_agreement is not None and min_agreement is not None:
        reason += (
            f"; finds the same token most likely as fp32 at {100 * token_agreement:.2f} % of the tokens, at least "
            f"{100 * min_agreement:g} % asked"
        )
    made = Gate(False, drop, allowed, agreement, reason, token_agreement, min_agreement)
    return replace(made, passed=made.keeps_score and made.keeps_tokens)
