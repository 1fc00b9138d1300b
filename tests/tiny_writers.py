"""Models that write, tiny and with random weights: of transformers, and this repository's own."""

from typing import Any

import torch
import transformers

from distill.models.recurrent import GATES
from distill.models.recurrent_decoder import RecurrentDecoderConfig, RecurrentForCausalLM
from distill.models.recurrent_encoder_decoder import RecurrentForSeq2SeqLM, RecurrentSeq2SeqConfig
from distill.models.transformer import (
    DecoderConfig,
    DecoderForCausalLM,
    TransformerForSeq2SeqLM,
    TransformerSeq2SeqConfig,
)

DECODER = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ENCODER_DECODER = {
    "vocab_size": 60,
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": None,
}
T5 = {"num_layers": 2, "num_heads": 2, "d_kv": 8, "d_ff": 32, "decoder_start_token_id": 0}
CAUSAL: dict[str, dict[str, Any]] = {
    "GPT2": DECODER,
    "Llama": {**DECODER, "num_key_value_heads": 1, "head_dim": 8},
    "Mistral": {**DECODER, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 4},
    "Bloom": DECODER,
}
SEQ2SEQ: dict[str, dict[str, Any]] = {
    "Marian": ENCODER_DECODER,
    "Bart": ENCODER_DECODER,
    "T5": {**ENCODER_DECODER, **T5},
}
RECURRENT = {"vocab_size": 60, "embedding_size": 8, "hidden_size": 12, "num_hidden_layers": 2, "eos_token_id": 2}
STARTS = {"decoder_start_token_id": 0, "num_decoder_layers": 2}
WRITES = {**RECURRENT, **STARTS}
OWN_CAUSAL: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "decoder": (DecoderConfig, DecoderForCausalLM, DECODER),
    "rotary decoder": (DecoderConfig, DecoderForCausalLM, {**DECODER, "positions": "rotary", "norm": "rms"}),
    **{cell: (RecurrentDecoderConfig, RecurrentForCausalLM, {**RECURRENT, "cell": cell}) for cell in GATES},
}
OWN_SEQ2SEQ: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "encoder-decoder": (TransformerSeq2SeqConfig, TransformerForSeq2SeqLM, {**DECODER, **STARTS}),
    **{
        f"{cell} encoder-decoder": (
            RecurrentSeq2SeqConfig,
            RecurrentForSeq2SeqLM,
            {**RECURRENT, **STARTS, "cell": cell},
        )
        for cell in GATES
    },
    "encoder-decoder without attention": (
        RecurrentSeq2SeqConfig,
        RecurrentForSeq2SeqLM,
        {**WRITES, "cell": "gru", "attention": False},
    ),
}
OWN = {**OWN_CAUSAL, **OWN_SEQ2SEQ}
HEADS = {"GPT2": "GPT2LMHeadModel", "Marian": "MarianMTModel", "Bart": "BartForConditionalGeneration"}


def tiny_writer(family: str) -> Any:
    """Its weights are larger than initial ones, which give logits so small that any graph would agree."""
    torch.manual_seed(0)
    if family in OWN:
        config_class, model_class, settings = OWN[family]
        model = model_class(config_class(**settings)).eval()
    else:
        settings = {**CAUSAL, **SEQ2SEQ}[family]
        kind = "ForCausalLM" if family in CAUSAL else "ForConditionalGeneration"
        config = getattr(transformers, f"{family}Config")(**settings)
        model = getattr(transformers, HEADS.get(family, f"{family}{kind}"))(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name and "embed_positions" not in name:
            parameter.data *= 4
    return model
