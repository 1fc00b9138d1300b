"""Teachers that find masked tokens."""

from typing import Any

import torch
from transformers import AutoModelForMaskedLM

from distill.config import PretrainedTeacher
from distill.errors import UserError
from distill.models.loading import load_config
from distill.sources import locate


def load_masked_lm(config: PretrainedTeacher, seed: int) -> tuple[Any, bool]:
    """A checkpoint as a masked language model, and whether it has a trained head for that.

    A head that is missing starts from random weights, which the seed fixes. Raises UserError where there is no such
    model of this kind.
    """
    location, revision = config.source.hub or str(locate(config.source)), config.source.revision
    settings = load_config(location, revision, config.trust_remote_code)
    has_head = any(str(a).endswith("ForMaskedLM") for a in settings.architectures or ())
    torch.manual_seed(seed)
    try:
        model = AutoModelForMaskedLM.from_pretrained(
            location, revision=revision, trust_remote_code=config.trust_remote_code, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{location} cannot be loaded as a masked language model: {error}") from error
    return model, has_head
