"""Tiny language models as GGUF files, laid out as llama.cpp's converter lays them out."""

import json
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from distill.text import Example, train_tokenizer

END = "<|endoftext|>"
MODELS: dict[str, Any] = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""transformers' names of weights to llama.cpp's."""


def vocabulary_of(texts: list[str]) -> tuple[list[str], list[str]]:
    """(tokens, the end of a text first, and merges) of a byte-level BPE."""
    model = json.loads(train_tokenizer([Example(text) for text in texts], 300, "bpe").to_str())["model"]
    own = [token for token in model["vocab"] if not token.startswith("[")]
    return [END, *own], [" ".join(pair) for pair in model["merges"]]


def tiny_model(architecture: str, tokens: int) -> Any:
    """Random weights, two heads of queries to each one of keys and values."""
    config, model = MODELS[architecture]
    torch.manual_seed(0)
    return model(
        config(
            vocab_size=tokens,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=48,
            tie_word_embeddings=False,
            initializer_range=0.2,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()


def write_gguf(path: Path, model: Any, tokens: list[str], merges: list[str], kind: str = "F32") -> Path:
    """The model as a file; matrices as ``kind``, which is F32 or a quantized one."""
    config = model.config
    writer = gguf.GGUFWriter(path, config.model_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    writer.add_token_types([gguf.TokenType.CONTROL if t == END else gguf.TokenType.NORMAL for t in tokens])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        part = name.split(".")[-2]
        if config.model_type == "llama" and part in heads:
            weight = halves_interleaved(weight, heads[part])
        array, quantized = weight.numpy(), gguf.GGMLQuantizationType[kind if weight.ndim == 2 else "F32"]
        writer.add_tensor(name_in_file(name), gguf.quantize(array, quantized), raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def name_in_file(name: str) -> str:
    """llama.cpp's name of a weight of transformers."""
    whole, _, suffix = name.rpartition(".")
    if not whole.startswith("model.layers."):
        return f"{TENSORS[whole]}.{suffix}"
    _, _, layer, part = whole.split(".", 3)
    return f"blk.{layer}.{TENSORS[part]}.{suffix}"


def halves_interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries and keys as llama.cpp keeps them: the two halves of a head that turn together side by side."""
    rows = weight.reshape(heads, 2, len(weight) // heads // 2, *weight.shape[1:])
    return rows.transpose(1, 2).reshape(weight.shape)


def tokenizer_of(tokens: list[str], merges: list[str]) -> Tokenizer:
    """The same vocabulary, built by hand, as GPT-2 reads: no blank before the first word, nothing around a text."""
    vocabulary = {token: i for i, token in enumerate(tokens)}
    found = Tokenizer(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    found.add_special_tokens([END])
    return found
