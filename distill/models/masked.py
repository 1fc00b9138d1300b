"""Teachers that find masked tokens."""

from typing import Any

import torch
from transformers import AutoModelForMaskedLM

from distill.config import PretrainedTeacher
from distill.models.checkpoints import Checkpoint
from distill.models.teachers import new_in_training, unused


def load_masked_lm(config: PretrainedTeacher, seed: int) -> tuple[Any, bool]:
    """A checkpoint as a masked language model, and whether it has a trained head for that.

    A head that is missing starts from random weights, which the seed fixes. Raises UserError where there is no such
    model of this kind.
    """
    checkpoint = Checkpoint.of(config.source, config.trust_remote_code)
    has_head = any(str(a).endswith("ForMaskedLM") for a in checkpoint.config().architectures or ())
    torch.manual_seed(seed)
    model = checkpoint.weights(AutoModelForMaskedLM, unused if has_head else new_in_training)
    model.config.reads_token_types = "token_type_ids" in checkpoint.tokenizer().inputs
    return model, has_head
