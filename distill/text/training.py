"""Tokenizers trained on texts, for teachers and students that start from nothing."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from distill.errors import UserError
from distill.text.example import Example
from distill.text.vocabulary import texts_of

ALPHABET = 1000
"""Characters that a trained WordPiece vocabulary knows, the most frequent ones."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Of every trained tokenizer, under the ids 0 to 4."""


def train_tokenizer(
    examples: Iterable[Example], vocabulary_size: int, model: Literal["wordpiece", "bpe", "unigram"] = "wordpiece"
) -> Tokenizer:
    """A tokenizer trained on the texts, with BERT's special tokens: ``[CLS] A [SEP]``, ``[CLS] A [SEP] B [SEP]``.

    ``wordpiece`` lower-cases, as BERT (Devlin et al. 2019). ``bpe`` merges bytes, keeps case, and writes every text, as
    GPT-2 and RoBERTa (Sennrich et al. 2016). ``unigram`` keeps case, as SentencePiece's model (Kudo 2018), after NFKC.
    Where the texts give no more pieces (for WordPiece and BPE: that occur twice), the vocabulary is smaller than asked
    for. The same texts give the same vocabulary in every process.

    Raises UserError where all texts are blank, and for a ``vocabulary_size`` without room for all bytes (bpe) or for
    all characters of the texts (unigram). WordPiece takes more than ``vocabulary_size`` where its letters need it.
    """
    texts = [text for text in texts_of(examples) if text.strip()]
    if not texts:
        raise UserError("there is no text to train a tokenizer on; give texts that are not blank")
    tokenizer = {"wordpiece": _word_piece, "bpe": _byte_level_bpe, "unigram": _unigram}[model](texts, vocabulary_size)
    template = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    # ByteLevel here takes the blank before a word out of the offsets of its first piece
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), template]) if model == "bpe" else template
    return tokenizer


def _word_piece(texts: Sequence[str], vocabulary_size: int) -> Tokenizer:
    normalizer = normalizers.BertNormalizer(lowercase=True)
    counts = Counter(c for text in texts for c in normalizer.normalize_str(text) if not c.isspace())
    letters = sorted(c for c, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:ALPHABET])
    # The trainer numbers letters by the order of a hash table, and breaks ties between pairs by these numbers. Given as
    # special tokens they have fixed ones, and the same texts give the same vocabulary in every process.
    fixed = [*SPECIAL_TOKENS, *letters, *(f"##{c}" for c in letters)]
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizer
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trained.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=max(vocabulary_size, len(fixed)), min_frequency=2, special_tokens=fixed, show_progress=False
        ),
    )
    tokenizer = Tokenizer(models.WordPiece(trained.get_vocab(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def _byte_level_bpe(texts: Sequence[str], vocabulary_size: int) -> Tokenizer:
    # The trainer sorts this alphabet, and no letter has a second form inside words: a hash table decides nothing here.
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _check_room(vocabulary_size, len(alphabet), "there are 256 bytes")
    tokenizer = Tokenizer(models.BPE())
    # a blank before the first word too: a word has the same pieces wherever it stands, and in a list of words
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            min_frequency=2,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return tokenizer


def _unigram(texts: Sequence[str], vocabulary_size: int) -> Tokenizer:
    normalizer = normalizers.NFKC()
    # as in SentencePiece, a run of white space is one blank, and a blank stands before the first word too
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    words = (word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
    letters: set[str] = set().union(*words)
    _check_room(vocabulary_size, len(letters), f"the texts have {len(letters):,} different characters")
    trained = Tokenizer(models.Unigram())
    trained.normalizer = normalizer
    trained.pre_tokenizer = pre_tokenizer
    trained.train_from_iterator(
        texts,
        trainers.UnigramTrainer(
            vocab_size=vocabulary_size,
            special_tokens=list(SPECIAL_TOKENS),
            unk_token="[UNK]",
            show_progress=False,
        ),
    )
    # The trainer adds up in the order of a hash table, which moves scores in their last digits, and in that order it
    # gives letters that are in no text's best pieces scores 0.0001 apart. Rounded, levelled and sorted, they are fixed.
    pieces = json.loads(trained.to_str())["model"]["vocab"][len(SPECIAL_TOKENS) :]
    lowest = min(score for _, score in pieces)
    unused = lowest + 0.0001 * len(letters)
    scores = {piece: round(lowest if len(piece) == 1 and score <= unused else score, 6) for piece, score in pieces}
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    tokenizer = Tokenizer(models.Unigram([(token, 0.0) for token in SPECIAL_TOKENS] + ranked, unk_id=1))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def _check_room(vocabulary_size: int, letters: int, reason: str) -> None:
    least = letters + len(SPECIAL_TOKENS) + 1
    if vocabulary_size < least:
        raise UserError(
            f"tokenizer.vocabulary_size is {vocabulary_size:,}, but {reason}, and special tokens take "
            f"{len(SPECIAL_TOKENS)}; give at least {least:,}"
        )
