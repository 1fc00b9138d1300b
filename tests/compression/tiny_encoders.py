"""Small classifiers of several families with weights that matter, and texts with labels."""

from pathlib import Path
from typing import Any

import torch
from little_world import word_pieces
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from distill import tasks
from distill.models import EncoderConfig, EncoderForSequenceClassification
from distill.text import Example, Reading
from distill.training.problem import Rows

LABELS = ("a", "b", "c")
TEXTS = ["a gorgeous witty film", "the cast is dull", "a film", "the film is a film", "", "dull dull cast"]
READING = Reading(word_pieces(TEXTS), 16)
TASK = tasks.build("text-classification", LABELS)
ROWS = Rows.read(TASK, READING, [Example(text, None, LABELS[i % 3]) for i, text in enumerate(TEXTS)])
SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "num_hidden_layers": 3,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_labels": 3,
}


def bert(labels: int = 3) -> Any:
    return made(BertForSequenceClassification, BertConfig(**{**SIZES, "num_labels": labels}))


def electra() -> Any:
    return made(ElectraForSequenceClassification, ElectraConfig(**SIZES, embedding_size=40))


def roberta() -> Any:
    return made(RobertaForSequenceClassification, RobertaConfig(**SIZES, pad_token_id=0))


def distilbert() -> Any:
    sizes: Any = {"n_layers": 3, "dim": 48, "n_heads": 4, "hidden_dim": 64, "num_labels": 3}
    return made(DistilBertForSequenceClassification, DistilBertConfig(vocab_size=120, **sizes))


def in_repo() -> Any:
    return made(EncoderForSequenceClassification, EncoderConfig(**SIZES))


FAMILIES = [bert, electra, roberta, distilbert, in_repo]


def made(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def logits_of(model: Any) -> Tensor:
    """[N, C] of the texts, each read by itself."""
    with torch.no_grad():
        return torch.cat([model(torch.tensor([one.input_ids.tolist()])).logits for one in ROWS.encoded])


def reloaded(model: Any, folder: Path) -> Any:
    """As ``save_pretrained`` writes it and transformers' auto class reads it."""
    model.save_pretrained(folder)
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()


def loss_of(model: Any) -> float:
    """Cross-entropy over the texts, by numpy."""
    logs = logits_of(model).double().log_softmax(-1).numpy()
    return -float(sum(logs[i, i % 3] for i in range(len(TEXTS))))
