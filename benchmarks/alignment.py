"""Which word of the source an encoder-decoder looks at as it writes: `python benchmarks/alignment.py`.

Trained on noun phrases of English and their French, where an adjective follows its noun: `the red cat` is `le chat
rouge`. So the right alignment is known. The recurrent encoder-decoder with additive attention (2014), and the
Transformer (2017). Writes `benchmarks/results/alignment/` (figures and a plot).
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from distill.models.recurrent_encoder_decoder import RecurrentForSeq2SeqLM, RecurrentSeq2SeqConfig
from distill.models.transformer import TransformerForSeq2SeqLM, TransformerSeq2SeqConfig

DETERMINERS = {"the": "le", "a": "un", "this": "ce", "my": "mon", "every": "chaque"}
ADJECTIVES = {"red": "rouge", "yellow": "jaune", "calm": "calme", "rich": "riche", "fast": "rapide", "wide": "large"}
NOUNS = {"cat": "chat", "dog": "chien", "wolf": "loup", "book": "livre", "garden": "jardin", "horse": "cheval"}
BETWEEN = {"and": "et", "or": "ou", "with": "avec", "without": "sans"}
FRENCH = DETERMINERS | ADJECTIVES | NOUNS | BETWEEN
SPECIAL = PAD, START, END = "<pad>", "<s>", "</s>"
WORDS = (*SPECIAL, *FRENCH, *FRENCH.values())
IDS = {word: index for index, word in enumerate(WORDS)}
SIZE, STEPS, BATCH, RATE, ASKED = 64, 400, 32, 3e-3, 100
SHOWN = ["the", "red", "cat", "and", "a", "horse", "without", "my", "calm", "dog"]
RESULTS = Path(__file__).parent / "results" / "alignment"


class Pair(NamedTuple):
    """A sentence, its translation, and of each word of the translation the place of the one it translates."""

    source: list[str]
    target: list[str]
    alignment: list[int]


def pair(random: Random) -> Pair:
    """One to three noun phrases; no word stands in a sentence twice."""
    phrases = random.randint(1, 3)
    drawn = [random.sample(list(words), phrases) for words in (DETERMINERS, ADJECTIVES, NOUNS, BETWEEN)]
    source: list[str] = []
    alignment: list[int] = []
    for determiner, adjective, noun, between in zip(*drawn, strict=True):
        place = len(source)
        if random.random() < 0.7:
            source += [determiner, adjective, noun]
            alignment += [place, place + 2, place + 1]
        else:
            source += [determiner, noun]
            alignment += [place, place + 1]
        source.append(between)
        alignment.append(len(source) - 1)
    source, alignment = source[:-1], alignment[:-1]  # nothing follows the last phrase
    return Pair(source, [FRENCH[source[place]] for place in alignment], alignment)


def padded(sentences: list[list[str]]) -> Tensor:
    """[B, L], padded on the right."""
    longest = max(map(len, sentences))
    return torch.tensor([[IDS[word] for word in words] + [IDS[PAD]] * (longest - len(words)) for words in sentences])


def recurrent() -> PreTrainedModel:
    """One layer of GRU, the encoder's in both directions."""
    return RecurrentForSeq2SeqLM(
        RecurrentSeq2SeqConfig(
            vocab_size=len(WORDS),
            embedding_size=SIZE,
            hidden_size=SIZE,
            num_hidden_layers=1,
            attention_size=SIZE,
            dropout=0.0,
            pad_token_id=IDS[PAD],
            eos_token_id=IDS[END],
            decoder_start_token_id=IDS[START],
        )
    )


def transformer() -> PreTrainedModel:
    """One block that reads and one that writes, of one head, in pre-LN."""
    return TransformerForSeq2SeqLM(
        TransformerSeq2SeqConfig(
            vocab_size=len(WORDS),
            hidden_size=SIZE,
            num_hidden_layers=1,
            num_decoder_layers=1,
            num_attention_heads=1,
            intermediate_size=4 * SIZE,
            norm="pre",
            dropout=0.0,
            pad_token_id=IDS[PAD],
            eos_token_id=IDS[END],
            decoder_start_token_id=IDS[START],
        )
    )


NETWORKS: dict[str, Callable[[], PreTrainedModel]] = {
    "additive attention (2014)": recurrent,
    "Transformer (2017)": transformer,
}


def inputs(pairs: list[Pair]) -> dict[str, Tensor]:
    """Source, and the target from its start on."""
    source_BS = padded([[*one.source, END] for one in pairs])
    target_BL = padded([[START, *one.target] for one in pairs])
    return {
        "input_ids": source_BS,
        "attention_mask": (source_BS != IDS[PAD]).long(),
        "decoder_input_ids": target_BL,
    }


def train(model: PreTrainedModel, steps: int = STEPS) -> None:
    """On new sentences at each step."""
    random = Random(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    for _ in range(steps):
        pairs = [pair(random) for _ in range(BATCH)]
        next_BL = padded([[*one.target, END] for one in pairs])
        logits_BLV = model(**inputs(pairs)).logits
        optimizer.zero_grad()
        functional.cross_entropy(logits_BLV.flatten(0, 1), next_BL.flatten(), ignore_index=IDS[PAD]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.inference_mode()
def weights_of(model: PreTrainedModel, pairs: list[Pair]) -> Tensor:
    """[B, L, S]: how much weight each word of the target gives to each of the source."""
    return model(**inputs(pairs), output_attentions=True).cross_attentions[-1][:, 0]


@torch.inference_mode()
def write(model: PreTrainedModel, source: list[str]) -> list[str]:
    """The translation, greedily, without its end."""
    (ids,) = model.generate(padded([[*source, END]]), max_new_tokens=16, do_sample=False)
    return [word for i in ids.tolist() if (word := WORDS[i]) not in SPECIAL]


def aligned(model: PreTrainedModel, pairs: list[Pair]) -> dict[str, float]:
    """Share of the targets' words that give most weight to the word they translate: of adjectives, and of others."""
    right: dict[str, list[bool]] = {"adjectives": [], "others": []}
    for most_L, one in zip(weights_of(model, pairs).argmax(-1).tolist(), pairs, strict=True):
        for word, most, place in zip(one.target, most_L, one.alignment, strict=False):
            right["adjectives" if word in ADJECTIVES.values() else "others"].append(most == place)
    return {kind: sum(each) / len(each) for kind, each in right.items()}


def main() -> None:
    torch.set_num_threads(1)
    random = Random("asked")
    asked = [pair(random) for _ in range(ASKED)]
    figure, axes = plt.subplots(1, len(NETWORKS), figsize=(9, 4.8), layout="constrained")
    figures = {}
    for axis, (name, network) in zip(axes, NETWORKS.items(), strict=True):
        torch.manual_seed(0)
        model = network()
        train(model)
        written = write(model.eval(), SHOWN)
        (weights_LS,) = weights_of(model, [Pair(SHOWN, written, [])])
        figures[name] = {
            "translated": sum(write(model, one.source) == one.target for one in asked) / ASKED,
            "aligned": aligned(model, asked),
            "source": [*SHOWN, END],
            "written": [*written, END],
            "weights": weights_LS.numpy().round(4).tolist(),
        }
        print(name, {key: figures[name][key] for key in ("translated", "aligned")}, flush=True)
        axis.imshow(weights_LS, vmin=0, vmax=1, cmap="Blues")
        axis.set(title=name, ylabel="written")
        axis.set_xticks(range(len(SHOWN) + 1), [*SHOWN, END], rotation=90)
        axis.set_yticks(range(len(written) + 1), [*written, END])
        axis.tick_params(length=0)
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / "alignment.png", dpi=130)
    (RESULTS / "figures.json").write_text(json.dumps(figures, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
