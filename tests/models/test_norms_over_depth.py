"""What `benchmarks/norms.py` shows, in a few steps."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

NORMS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "norms.py"))


def test_both_norms_start_alike_but_for_the_last_normalisation():
    torch.manual_seed(0)
    pre = NORMS["encoder"]("pre", 2).state_dict()
    torch.manual_seed(0)
    post = NORMS["encoder"]("post", 2).state_dict()
    assert pre.keys() - post.keys() == {"encoder.final_norm.weight", "encoder.final_norm.bias"}
    assert all(torch.equal(pre[name], weight) for name, weight in post.items())


def test_warm_up_grows_evenly_and_stays():
    shares = [NORMS["share_of_rate"](step, 4) for step in range(6)]
    assert shares == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert NORMS["share_of_rate"](0, 0) == 1.0


@pytest.mark.slow
def test_twelve_layers_learn_in_pre_ln_and_not_in_post_ln_without_warm_up():
    pre, post = (np.mean(NORMS["losses"](norm, 12, 0, seed=0, steps=60)[-10:]) for norm in ("pre", "post"))
    assert pre < 2.3 < 2.7 < post
