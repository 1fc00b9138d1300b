"""The gradient over distance that `benchmarks/gradients.py` shows, against a product of Jacobians in numpy."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

GRADIENTS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "gradients.py"))


def test_a_vanilla_rnn_passes_on_what_the_product_of_its_jacobians_says():
    torch.manual_seed(0)
    model = GRADIENTS["recurrent"]("rnn")
    ids_BL = torch.randint(1, GRADIENTS["VOCABULARY"], (1, 6))
    torch.manual_seed(1)
    norms = GRADIENTS["gradient_norms"](model, ids_BL)

    torch.manual_seed(1)
    direction = torch.nn.functional.normalize(torch.randn(1, GRADIENTS["HIDDEN"]), dim=-1)[0].numpy()
    weights = {name: p.detach().numpy() for name, p in model.recurrent.forward_layers[0].named_parameters()}
    x_LD = model.embeddings(ids_BL)[0].detach().numpy()
    states = [np.zeros(GRADIENTS["HIDDEN"], dtype=np.float32)]
    for x_D in x_LD:
        states.append(np.tanh(weights["weight_ih_l0"] @ x_D + weights["weight_hh_l0"] @ states[-1]))
    back, expected = direction, []
    for state in reversed(states[1:]):
        inner = back * (1 - state**2)
        expected.append(np.linalg.norm(inner @ weights["weight_ih_l0"]))
        back = inner @ weights["weight_hh_l0"]
    np.testing.assert_allclose(norms.numpy(), expected[::-1], rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_what_reaches_a_far_token_vanishes_in_an_rnn_less_in_an_lstm_and_not_in_attention(seed):
    def far_to_near(name: str) -> float:
        torch.manual_seed(seed)
        model = GRADIENTS["NETWORKS"][name]()
        norm_L = GRADIENTS["gradient_norms"](model, torch.randint(1, GRADIENTS["VOCABULARY"], (4, 65)))
        return float(norm_L[0] / norm_L[-2])

    rnn, lstm, attention = (far_to_near(name) for name in ("RNN, uniform weights", "LSTM", "attention"))
    assert rnn < 1e-6 < 1e-3 < lstm < 0.5 < attention
