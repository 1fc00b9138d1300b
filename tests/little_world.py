"""A small world of film reviews, and a small random model that reads them."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

GOOD = ["gorgeous", "witty", "moving", "clever", "tender", "brilliant", "charming", "fresh"]
BAD = ["dull", "clumsy", "tedious", "shallow", "noisy", "bland", "stale", "lazy"]
THINGS = ["film", "story", "script", "cast", "ending", "comedy", "drama", "scene"]
FORMS = ["a {0} {1}", "the {1} is {0} from start to end", "what a {0} {1} , truly {2}", "{0} , {2} and never {3}"]


def review(generator: random.Random) -> tuple[str, str, str]:
    """(text, label, film)"""
    label = generator.choice(["fresh", "rotten"])
    own, other = (GOOD, BAD) if label == "fresh" else (BAD, GOOD)
    text = generator.choice(FORMS).format(
        generator.choice(own), generator.choice(THINGS), generator.choice(own), generator.choice(other)
    )
    return text + f" number {generator.randrange(1000)}", label, f"film {generator.randrange(40)}"


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def word_pieces(texts: Sequence[str]) -> Tokenizer:
    """A WordPiece tokenizer with the characters of the texts and their 150 most frequent words, always the same."""
    words = Counter(word for text in texts for word in text.lower().split())
    frequent = sorted(words, key=lambda word: (-words[word], word))[:150]
    characters = sorted({c for word in words for c in word})
    pieces = dict.fromkeys([*SPECIAL, *characters, *(f"##{c}" for c in characters), *frequent])
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def write_bert(folder: Path, texts: Sequence[str], labels: Sequence[str] | None = None, **settings: Any) -> Path:
    """Writes a random BERT of two layers x 32 as save_pretrained does, with a tokenizer made of the texts.

    With labels it is a classifier, without it an encoder.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    tokenizer = word_pieces(texts)
    if labels is not None:
        settings["id2label"] = dict(enumerate(labels))
        settings["label2id"] = {label: i for i, label in enumerate(labels)}
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        **settings,
    )
    (BertModel if labels is None else BertForSequenceClassification)(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder


def write_masked_bert(folder: Path, texts: Sequence[str], seed: int = 0) -> Path:
    """The same as a masked language model, its weights so large that it says something else of each place."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    write_bert(folder, texts, initializer_range=0.2)
    torch.manual_seed(seed)
    BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder
