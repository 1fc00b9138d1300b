"""Tiny models of transformers that write, with random weights, as teachers."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config
from transformers import T5ForConditionalGeneration as T5

from distill.text import Example, train_tokenizer


def teacher_in(folder: Path, name: str, texts: list[str]) -> Path:
    """A tiny model of transformers with random weights, and a byte-level tokenizer of its own."""
    tokenizer = train_tokenizer([Example(text) for text in texts], 300, "bpe")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="[SEP]", pad_token="[PAD]")
    torch.manual_seed(0)
    sizes: Any = {"vocab_size": len(wrapped), "eos_token_id": wrapped.eos_token_id, "pad_token_id": 0}
    model: Any
    if name == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(**sizes, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    elif name == "llama":
        config: Any = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(**sizes, **config, max_position_embeddings=32))
    else:
        config = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        model = T5(T5Config(**sizes, **config, decoder_start_token_id=0))
    model.save_pretrained(folder / name)
    wrapped.save_pretrained(folder / name)
    return folder / name


def texts_in(folder: Path) -> list[str]:
    return [text for line in (folder / "train.jsonl").read_text().splitlines() for text in json.loads(line).values()]
