"""Any encoder of transformers' or of this repository with feed-forward matrices and word embeddings in two factors.

A model of low rank is one of a class of its own, below the class that it was made of: its configuration is that class's
too, with ``low_rank``, which says of which kind it is and which ranks its factors have. transformers' auto classes load
it once this module was imported, as they do the models of this repository.

Shape suffixes: V vocabulary, D size of embeddings, I and O what a linear layer takes and gives, R rank.
"""

from functools import cache
from typing import Any

import transformers
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from distill.models.narrowing import feed_forwards
from distill.models.students import layers_of

HEADS = ("Model", "ModelForSequenceClassification", "ModelForTokenClassification", "ModelForQuestionAnswering")
"""What a model of low rank is loaded by, behind ``Auto``."""


class LowRankLinear(nn.Module):
    """A linear layer whose matrix is ``out`` [O, R] times ``into`` [R, I]."""

    def __init__(self, of: nn.Linear, rank: int) -> None:
        super().__init__()
        self.into = nn.Linear(of.in_features, rank, bias=False)
        self.out = nn.Linear(rank, of.out_features, bias=of.bias is not None)

    def forward(self, x: Tensor) -> Tensor:
        """[…, I] to […, O]"""
        out: Tensor = self.out(self.into(x))
        return out


class LowRankEmbedding(nn.Module):
    """Embeddings whose table is ``table`` [V, R] times ``widen`` [R, D]."""

    def __init__(self, of: nn.Embedding, rank: int) -> None:
        super().__init__()
        self.table = nn.Embedding(of.num_embeddings, rank, padding_idx=of.padding_idx)
        self.widen = nn.Linear(rank, of.embedding_dim, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """[…] to […, D]"""
        out: Tensor = self.widen(self.table(ids))
        return out


class LowRankConfig(PretrainedConfig):  # type: ignore[misc]
    """Where transformers' auto classes begin: what is read is one of the classes of :func:`configuration_of`."""

    model_type = "low_rank"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration that a ``config.json`` holds."""
        return configuration_of(CONFIG_MAPPING[config_dict["low_rank"]["of"]]).from_dict(config_dict, **kwargs)


@cache
def configuration_of(kind: Any) -> Any:
    """The configuration below one of another kind, known to transformers' auto classes with all heads of that kind."""
    found = type(f"LowRank{kind.__name__}", (kind,), {"model_type": LowRankConfig.model_type, "__module__": __name__})
    for head in HEADS:
        auto = getattr(transformers, f"Auto{head}")
        if kind in auto._model_mapping:
            auto.register(found, model_of(auto._model_mapping[kind], found))
    return found


def model_of(kind: type[PreTrainedModel], configuration: Any) -> Any:
    """The class below another one whose models have factors."""

    def __init__(self: Any, config: Any) -> None:
        kind.__init__(self, config)
        if rank := config.low_rank["feed_forward"]:
            layers = layers_of(self)
            for linear, layer, name in feed_forward_matrices(self):
                layers[layer].set_submodule(name, LowRankLinear(linear, rank))
        if rank := config.low_rank["embeddings"]:
            self.set_input_embeddings(LowRankEmbedding(self.get_input_embeddings(), rank))

    members = {"config_class": configuration, "__init__": __init__, "__module__": __name__}
    return type(f"LowRank{kind.__name__}", (kind,), members)


def feed_forward_matrices(model: Any) -> list[tuple[nn.Linear, int, str]]:
    """(a linear layer, the number of the layer of the model that has it, its name there), of all layers."""
    found = []
    for number, (layer, part) in enumerate(zip(layers_of(model), feed_forwards(model), strict=True)):
        known = {id(linear) for linear in (*part.into, part.out)}
        found += [(m, number, name) for name, m in layer.named_modules() if isinstance(m, nn.Linear) and id(m) in known]
    return found


def low_rank_like(model: PreTrainedModel, feed_forward: int, embeddings: int) -> Any:
    """A model as this one with factors of these ranks (0: none), whose weights are to be set: all others are those of
    the model."""
    of: Any = type(model.config)
    kind = configuration_of(of)
    settings = {**model.config.to_dict(), "model_type": LowRankConfig.model_type}
    settings["low_rank"] = {"of": model.config.model_type, "feed_forward": feed_forward, "embeddings": embeddings}
    found = model_class_of(type(model), kind)(kind.from_dict(settings))
    own = {name: tensor for name, tensor in model.state_dict().items() if name in found.state_dict()}
    found.load_state_dict(own, strict=False)
    return found.to(device=model.device, dtype=model.dtype).eval()


def model_class_of(kind: type[PreTrainedModel], configuration: Any) -> Any:
    """The registered class below that of a model."""
    for head in HEADS:
        mapping = getattr(transformers, f"Auto{head}")._model_mapping
        if configuration in mapping and issubclass(mapping[configuration], kind):
            return mapping[configuration]
    return model_of(kind, configuration)


AutoConfig.register(LowRankConfig.model_type, LowRankConfig)
