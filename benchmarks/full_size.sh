#!/bin/sh
# The recipes of models that write, at real size on one GPU. Needs their data (the recipes say where) and bf16.
# Neither time nor memory was measured at these sizes. A forward pass that does not fit in memory is halved; what
# was stopped goes on when its line is run again.
set -e

# Translation: a Transformer of 6 layers x 256 on each side to one of half the width, its decoder of two layers.
distill run multi30k name=multi30k-full device=cuda precision=bf16 seeds=[0,1,2,3,4] arms=[hard,soft,sequence,sequence+soft] teacher.architecture.layers=6 teacher.architecture.intermediate_size=1024 teacher.train.steps=20000 teacher.train.batch_size=128 teacher.train.tokens=16384 teacher.train.evaluations=10 student.architecture.layers=6 train.steps=10000 train.batch_size=128 train.tokens=16384 train.evaluations=10

# Language modelling: SmolLM2 (134.5M parameters) to a decoder of 6 layers x 512.
distill run wikitext2 name=wikitext2-full device=cuda precision=bf16 seeds=[0,1,2,3,4] arms=[hard,soft,sequence,gkd] teacher.train.steps=1000 teacher.train.batch_size=16 data.max_length=512 student.architecture.layers=6 student.architecture.hidden_size=512 student.architecture.heads=8 student.architecture.intermediate_size=2048 train.steps=10000 train.batch_size=32 train.tokens=16384 train.learning_rates=[5e-4,1e-3] train.evaluations=10

# The same decoder with a tokenizer of its own, which learns from text alone.
distill run wikitext2 name=wikitext2-own-tokenizer device=cuda precision=bf16 seeds=[0,1,2,3,4] arms=[hard,sequence] tokenizer=trained tokenizer.model=bpe tokenizer.vocabulary_size=16000 teacher.train.steps=1000 teacher.train.batch_size=16 data.max_length=512 student.architecture.layers=6 student.architecture.hidden_size=512 student.architecture.heads=8 student.architecture.intermediate_size=2048 train.steps=10000 train.batch_size=32 train.tokens=16384 train.learning_rates=[5e-4,1e-3] train.evaluations=10
