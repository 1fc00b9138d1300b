"""What a recipe asks that its task cannot give is refused, with the mend, before anything is read."""

import re
from typing import Any

import pytest

from distill.config import Config, build_config
from distill.config.compose import recipe_names, run_with_hydra
from distill.errors import UserError
from distill.stages.checks import check_choices, check_task
from distill.stages.teaching import check_processes

PAIRS = {"train": {"path": "x"}, "pair": "b"}
OF_ITS_OWN = {"name": "transformer"}
OTHER_TOKENS: dict[str, Any] = {"tokenizer": {"name": "trained", "model": "bpe"}, "student": OF_ITS_OWN}
MSE = {"terms": [{"name": "mse"}]}
LABELS = {"terms": [{"name": "hard"}]}
HIDDEN = {"terms": [{"name": "hard"}, {"name": "hidden"}]}
LAYERS: dict[str, Any] = {"student": {"name": "layers"}}
THESEUS = {"terms": [{"name": "hard"}, {"name": "kl"}], "replacing": [[0, 0.3], [0.7, 1]]}
INSIDE = {"terms": [{"name": "kl"}, {"name": "hidden"}]}
ASSISTED: dict[str, Any] = {"arms": ["linear", "soft", "soft+assistant"], "assistant": OF_ITS_OWN}
TWO: dict[str, Any] = {"teachers": [{"name": "pretrained", "source": {"path": "another"}}]}
STREAM: dict[str, Any] = {"data": {"train": {"path": "x.csv"}, "stream": {"path": "shards"}}}
FOLDS: dict[str, Any] = {"teacher": {"name": "pretrained", "source": {"path": "folder"}, "folds": 3}}
SHARDED: dict[str, Any] = {
    "teacher": {"name": "pretrained", "source": {"path": "folder"}, "fine_tune": "never", "sharded": True}
}
NARROWED = {"name": "layers", "feed_forward_share": 0.5}


def _recipe(task: str, /, **changes: Any) -> Config:
    return build_config(
        {
            "name": "small",
            "recipe": "small",
            "data": {"train": {"path": "x.csv"}},
            "teacher": {"name": "pretrained", "source": {"path": "folder"}},
            "student": {"name": "recurrent"},
            "task": {"name": task},
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("classification", {}, r"task\.name is 'classification'; did you mean 'text-classification'\?"),
        ("text-classification", {"arms": ["hard", "soft"]}, "arms lacks 'linear'"),
        (
            "text-classification",
            {"export": {"shortlist": 50}},
            r"export\.shortlist is 50, but in text-classification no text is written from another one",
        ),
        *(
            (
                task,
                {"export": {"variants": ["fp32", "int8_static"]}, "arms": ["hard", "soft"]},
                rf"export\.variants has 'int8_static', .* a model of {task} writes, .* take int8",
            )
            for task in ("text-to-text", "language-modelling")
        ),
        (
            "token-classification",
            {"cascade": {"max_drop": 0.5}},
            r"cascade\.max_drop is 0\.5, but token-classification does not give a text one label .* leave cascade out",
        ),
        ("multi-label-classification", {"cascade": {}}, "multi-label-classification does not give a text one label"),
        ("language-modelling", {"cascade": {}, "arms": ["hard", "soft"]}, "does not give a text one label"),
        (
            "text-classification",
            {
                "cascade": {},
                "teacher": {"name": "probabilities", "source": {"path": "x"}},
                "tokenizer": {"name": "trained"},
            },
            "the teacher is a file of probabilities, which cannot be asked about other texts; leave cascade out",
        ),
        (
            "text-classification",
            {"cascade": {}, "ensemble": TWO},
            r"the teacher is a mixture \(ensemble\.teachers\), which is not exported as one model",
        ),
        (
            "text-to-text",
            {
                "task": {"name": "text-to-text", "metric": "perplexity"},
                "export": {"shortlist": 50},
                "arms": ["hard", "soft"],
            },
            r"export\.shortlist is 50, but task\.metric is 'perplexity'",
        ),
        (
            "token-classification",
            {"student": {"name": "static"}},
            "student=static averages a text into one vector, but token-classification asks about each word; choose "
            "student=layers or student=lstm",
        ),
        (
            "question-answering",
            {"student": {"name": "static"}, "arms": ["hard", "soft"]},
            "question-answering asks about each word",
        ),
        (
            "language-modelling",
            {"student": {"name": "static"}, "arms": ["hard", "soft"]},
            "language-modelling writes a text; choose student=transformer or student=lstm",
        ),
        (
            "text-classification",
            {
                "student": {"name": "static"},
                "teacher": {"name": "probabilities", "source": {"path": "x"}},
                "tokenizer": {"name": "trained"},
            },
            r"student\.start is 'layers', .* a file of probabilities; set student\.start=random",
        ),
        (
            "sentence-embedding",
            {
                "student": {"name": "layers", "feed_forward_share": 0.5},
                "arms": ["linear", "soft"],
                "objective": MSE,
            },
            r"student\.feed_forward_share is below 1, .* in sentence-embedding no text is labelled; set it to 1",
        ),
        (
            "sentence-embedding",
            {"student": {"name": "layers", "width_share": 0.5}, "arms": ["linear", "soft"], "objective": MSE},
            r"student\.width_share is below 1, .* in sentence-embedding no text is labelled; set it to 1",
        ),
        (
            "language-modelling",
            {"student": {"name": "transformer", "architecture": {"embedding_size": 8}}, "arms": ["hard", "soft"]},
            r"student\.architecture\.embedding_size is 8, .* not factorised here; set it to 0",
        ),
        (
            "language-modelling",
            {"student": {"name": "transformer", "embeddings": "teacher"}, "arms": ["hard", "soft"]},
            r"student\.embeddings=teacher starts an encoder .* in language-modelling it writes; set .*=random",
        ),
        ("question-answering", {}, "arms has 'linear', but a linear model finds no spans"),
        ("language-modelling", {}, "arms has 'linear', but a linear model writes no text"),
        (
            "regression",
            {"arms": ["linear", "hard", "pseudo+transfer"], "objective": MSE},
            "the teacher's answers in regression are no labels",
        ),
        ("sentence-embedding", {"objective": MSE}, r"no text is labelled: set arms=\[linear,soft\]"),
        (
            "text-classification",
            {"objective": {"terms": [{"name": "hard"}, {"name": "cosine"}]}},
            r"objective\.terms\[1\] is 'cosine', which compares vectors, not the answers of text-classification",
        ),
        ("regression", {}, r"objective\.terms\[1\] is 'kl', .* no distribution; choose objective=mse"),
        (
            "sentence-embedding",
            {"arms": ["linear", "soft"]},
            r"the answers of sentence-embedding are no distribution; choose objective=cosine",
        ),
        (
            "sentence-embedding",
            {"arms": ["linear", "soft"], "objective": {"terms": [{"name": "hard"}]}},
            "objective.terms has only 'hard', but no text of sentence-embedding is labelled",
        ),
        (
            "token-classification",
            {"data": {"train": {"path": "x"}, "out_of_scope": {"path": "y"}}},
            "data.out_of_scope is set, but token-classification gives a text no probability of one label",
        ),
        (
            "multi-label-classification",
            {"data": {"train": {"path": "x"}, "out_of_scope": {"path": "y"}}},
            "data.out_of_scope is set, but multi-label-classification",
        ),
        (
            "text-classification",
            {"data": {"train": {"path": "x"}, "recombined": 9}},
            r"data\.recombined is 9, but there are no pairs to make in text-classification without data\.pair",
        ),
        (
            "question-answering",
            {"data": {**PAIRS, "recombined": 9}, "arms": ["hard"]},
            "no pairs to make in question-answering",
        ),
        (
            "sentence-embedding",
            {"data": {**PAIRS, "recombined": 9}, "arms": ["linear", "soft"], "objective": MSE},
            "no pairs to make in sentence-embedding",
        ),
        (
            "text-classification",
            {"data": {"train": {"path": "x"}, "label": None, "transfer_choice": "close"}},
            r"data\.transfer_choice is 'close', but no training text has a label",
        ),
        *(
            (
                "text-classification",
                {"data": {"train": {"path": "x"}, "transfer_choice": choice, "transfer_limit": limit}},
                rf"data\.transfer_choice is '{choice}', .* data\.transfer_limit texts, but that is {said}; give",
            )
            for choice in ("close", "unsure")
            for limit, said in ((None, "null"), (0, "0"))
        ),
        (
            "multi-label-classification",
            {"teacher": {"name": "probabilities", "source": {"path": "x"}}},
            "distributions over labels, which multi-label-classification does not have",
        ),
        (
            "text-classification",
            {"arms": ["linear", "hard", "gkd"]},
            "arms has 'gkd', whose students learn on what they write: that needs task=language_modelling",
        ),
        (
            "text-classification",
            {"arms": ["linear", "hard", "sequence"]},
            "arms has 'sequence', whose students learn on what the teacher writes: that needs task=text_to_text or",
        ),
        (
            "language-modelling",
            {"arms": ["hard", "gkd"], "objective": {"terms": [{"name": "hard"}]}},
            r"arms has 'gkd', but no term of objective\.terms with a weight above 0 .* \{name: kl\}, or leave it out",
        ),
        *(
            (
                "text-classification",
                {**LAYERS, "arms": ["linear", "hard", arm], "objective": objective},
                re.escape(f"arms has '{arm}', but no term of objective.terms with a weight above 0"),
            )
            for arm, objective in (
                ("soft", LABELS),
                ("soft", {"terms": [{"name": "hard"}, {"name": "kl", "weight": 0}]}),
                ("soft", {"terms": [{"name": "hard"}, {"name": "kl", "schedule": [[0, 0], [1, 0]]}]}),
                ("soft", {"terms": [{"name": "hard"}, {"name": "hidden", "weight": 0}]}),
                ("soft+transfer", LABELS),
                ("soft+transfer", {**LABELS, "replacing": [[0, 1]]}),
                ("pseudo+transfer", LABELS),
                ("pseudo+transfer", HIDDEN),
            )
        ),
        (
            "regression",
            {"arms": ["linear", "soft", "soft+transfer"], "objective": LABELS},
            r"arms has 'soft' and 'soft\+transfer', .* such as \{name: mse\}, or leave them out",
        ),
        (
            "language-modelling",
            {"arms": ["hard"], "data": {"train": {"path": "x"}, "label": None}},
            "data.label is null, but in language-modelling a text is its own label",
        ),
        *(
            (task, {**changes, "data": {**PAIRS, "label": None}}, f"in {task} the teacher's answers cannot stand in")
            for task, changes in (
                ("question-answering", {"arms": ["soft"]}),
                ("sentence-embedding", {"arms": ["linear", "soft"], "objective": MSE}),
                ("text-to-text", {"arms": ["soft"]}),
                ("text-to-text", {"arms": ["sequence"]}),
            )
        ),
        (
            "text-classification",
            {
                "student": {"name": "layers", "start": "checkpoint"},
                "arms": ["linear", "soft", "pretrained"],
                "data": {"train": {"path": "x"}, "label": None},
            },
            "data.label is null, so there are no labels for the arm pretrained",
        ),
        ("language-modelling", {"arms": ["hard"], "data": PAIRS}, "but language-modelling reads single texts"),
        (
            "language-modelling",
            {"arms": ["hard"], "tokenizer": {"name": "trained"}},
            r"tokenizer\.model is 'wordpiece', which does not give every text back as it was",
        ),
        (
            "language-modelling",
            {"arms": ["hard", "soft"], "tokenizer": {"name": "trained", "model": "bpe"}, "student": OF_ITS_OWN},
            r"arms has 'soft', .* another tokenizer \(tokenizer=trained\) .* choose .*arms=\[hard,sequence\]",
        ),
        (
            "text-to-text",
            {"arms": ["hard", "sequence", "sequence+soft"], **OTHER_TOKENS},
            r"arms has 'sequence\+soft', but the student reads with another tokenizer",
        ),
        (
            "language-modelling",
            {"arms": ["hard", "gkd"], **OTHER_TOKENS},
            "arms has 'gkd', but the student reads with another tokenizer",
        ),
        (
            "language-modelling",
            {"arms": ["hard"], "task": {"name": "language-modelling", "metric": "perplexity"}, **OTHER_TOKENS},
            r"perplexity', .* set task\.metric=bits_per_byte",
        ),
        (
            "text-to-text",
            {"arms": ["hard", "soft+transfer"]},
            "in text-to-text a text without a target cannot be learnt on",
        ),
        (
            "text-to-text",
            {"arms": ["hard"], "data": {"train": {"path": "x"}, "stride": 9, "max_length": 30}},
            r"data\.stride is 9, but text-to-text cuts long sources",
        ),
        (
            "language-modelling",
            {"arms": ["hard", "soft"], "student": {**OF_ITS_OWN, "vocabulary": {"trim": True, "min_count": 2}}},
            r"student\.vocabulary\.min_count is 2, .* set it to 1, or leave out soft",
        ),
        (
            "multi-label-classification",
            {"objective": {"terms": [{"name": "reverse_kl"}]}},
            r"objective\.terms\[0\] is 'reverse_kl', .* choose objective=kl",
        ),
        (
            "language-modelling",
            {"arms": ["hard", "soft"], "objective": INSIDE},
            r"objective\.terms has 'hidden', .* not done in language-modelling; choose objective=kl, reverse_kl or jsd",
        ),
        (
            "text-classification",
            {"objective": INSIDE, "teacher": {"name": "probabilities", "source": {"path": "x"}}},
            "'hidden', .* the teacher is no Transformer",
        ),
        (
            "text-classification",
            {"objective": INSIDE, "student": {"name": "recurrent"}},
            "the student is no Transformer; .* student=layers or transformer",
        ),
        (
            "text-classification",
            {"objective": INSIDE, "student": OF_ITS_OWN, "tokenizer": {"name": "trained"}},
            r"at the same tokens, .* \(tokenizer=trained\); choose tokenizer=teacher",
        ),
        (
            "text-classification",
            {"objective": THESEUS, "student": OF_ITS_OWN},
            r"objective\.replacing is \[\[0\.0, 0\.3\], .* but only layers of the teacher, not narrowed, fit",
        ),
        (
            "text-classification",
            {"objective": INSIDE, "student": OF_ITS_OWN, "data": PAIRS},
            r"set student\.architecture\.pairs=together",
        ),
        (
            "text-to-text",
            {"arms": ["hard", "soft"], **FOLDS},
            r"teacher\.folds is 3, but soft labels of text-to-text are of the likeliest tokens alone",
        ),
        (
            "sentence-embedding",
            {"arms": ["linear", "soft"], "objective": MSE, **FOLDS},
            r"teacher\.folds is 3, but in sentence-embedding the teacher is taken as it is",
        ),
        (
            "text-classification",
            {"data": {"train": {"path": "x"}, "label": None}, "arms": ["linear", "soft"], **FOLDS},
            r"teacher\.folds is 3, but data\.label is null",
        ),
        (
            "text-classification",
            {"teacher": {**FOLDS["teacher"], "fine_tune": "never"}},
            r"teacher\.folds is 3, but the teacher is taken as it is .* set teacher\.fine_tune=always",
        ),
        (
            "text-classification",
            {"arms": ["linear", "hard"], **FOLDS},
            r"teacher\.folds is 3, but arms has none that learns from soft labels; leave it out, or add 'soft'",
        ),
        *(
            (task, {"arms": arms, "ensemble": TWO, "objective": MSE}, rf"ensemble\.teachers has 1 beside .* {why}")
            for task, arms, why in (
                ("language-modelling", ["hard", "soft"], "each has tokens of its own; leave ensemble out"),
                ("text-to-text", ["hard", "soft"], "each has tokens of its own; leave ensemble out"),
                ("sentence-embedding", ["linear", "soft"], "each has a space of its own"),
                (
                    "text-classification",
                    ["linear", "hard"],
                    "arms has none that learns from soft labels; .* add 'soft'",
                ),
            )
        ),
        (
            "regression",
            {"arms": ["linear", "soft"], "ensemble": {**TWO, "by_confidence": True}, "objective": MSE},
            r"the numbers of regression have no confidence; set ensemble\.by_confidence=false",
        ),
        ("text-classification", {"ensemble": TWO, **FOLDS}, "cross-fitting trains one teacher .*; leave folds out"),
        (
            "text-classification",
            {"ensemble": {"by_confidence": True}},
            r"by_confidence is true, but ensemble\.teachers is empty",
        ),
        (
            "text-classification",
            {"arms": ["linear", "soft", "soft+assistant"]},
            r"arms has 'soft\+assistant', but there is no assistant to teach it; set one",
        ),
        (
            "text-classification",
            {"assistant": OF_ITS_OWN},
            r"assistant is set, but no arm of \['linear', .* add 'soft\+assistant' or 'soft\+transfer\+assistant'",
        ),
        (
            "text-classification",
            {**ASSISTED, "objective": INSIDE, "student": OF_ITS_OWN},
            r"arms has 'soft\+assistant', but .* look inside of the teacher, .* choose objective=kl or mse",
        ),
        (
            "text-classification",
            {"objective": {"terms": [{"name": "kl"}], "states_gb": 5}},
            r"objective\.states_gb is 5, but no term looks inside.* so there is nothing to keep; set it to 0",
        ),
        (
            "text-classification",
            {"objective": {**THESEUS, **INSIDE, "states_gb": 0.5}},
            r"objective\.states_gb is 0\.5, but objective\.replacing runs the teacher itself",
        ),
        (
            "text-classification",
            {
                "objective": {**INSIDE, "states_gb": 1},
                "student": OF_ITS_OWN,
                "data": {"train": {"path": "x"}, "stream": {"path": "y"}},
            },
            r"objective\.states_gb is 1, but the teacher's states on streamed texts",
        ),
        (
            "text-classification",
            {**ASSISTED, "objective": THESEUS, "student": {"name": "layers"}},
            r"objective\.replacing look inside of the teacher",
        ),
        (
            "token-classification",
            {**ASSISTED, "assistant": [OF_ITS_OWN, {"name": "static"}]},
            r"assistant\[1\], as a student: student=static averages a text into one vector",
        ),
        (
            "language-modelling",
            {
                "arms": ["hard", "soft", "soft+assistant"],
                "assistant": {**OF_ITS_OWN, "vocabulary": {"trim": True}},
            },
            r"assistant\[0\]\.vocabulary\.trim is true, .* set it to false",
        ),
        (
            "language-modelling",
            {
                "arms": ["hard", "soft", "soft+assistant"],
                "assistant": {**OF_ITS_OWN, "architecture": {"embedding_size": 8}},
            },
            r"assistant\[0\], as a student: student\.architecture\.embedding_size is 8",
        ),
        (
            "text-to-text",
            {"arms": ["hard", "soft+transfer+assistant"], "assistant": OF_ITS_OWN},
            "in text-to-text a text without a target cannot be learnt on",
        ),
        (
            "language-modelling",
            {"arms": ["hard", "soft+assistant"], "assistant": OF_ITS_OWN, **OTHER_TOKENS},
            r"arms has 'soft\+assistant', but the student reads with another tokenizer",
        ),
        (
            "sentence-embedding",
            {"arms": ["linear", "soft", "soft+assistant"], "assistant": OF_ITS_OWN, "objective": MSE},
            r"no text is labelled: set arms=\[linear,soft\]",
        ),
        (
            "token-classification",
            STREAM,
            r"data\.stream is shards, but .* not those of token-classification; give data\.transfer",
        ),
        ("text-classification", {"data": {**STREAM["data"], "pair": "b"}}, "data.stream is .* not those of pairs"),
        ("sentence-embedding", {**STREAM, "arms": ["linear", "soft"], "objective": MSE}, "of sentence-embedding"),
        (
            "language-modelling",
            {**STREAM, "arms": ["hard", "soft"]},
            "data.stream is .* not those of language-modelling",
        ),
        (
            "text-classification",
            {**STREAM, "arms": ["linear", "soft"]},
            r"no arm of \['linear', 'soft'\] learns on it; add 'soft\+transfer', or leave it out",
        ),
        (
            "text-classification",
            {**STREAM, **ASSISTED, "arms": ["linear", "soft+transfer", "soft+transfer+assistant"]},
            r"no assistant is asked about a stream, as 'soft\+transfer\+assistant' needs; leave that arm out",
        ),
        (
            "text-classification",
            {**STREAM, "teacher": {"name": "probabilities", "source": {"path": "x"}}, "tokenizer": {"name": "trained"}},
            "no file of probabilities is looked up for a stream; give a model as teacher",
        ),
        (
            "text-classification",
            {**STREAM, **FOLDS},
            r"one teacher alone is asked about a stream; leave teacher\.folds out",
        ),
        ("text-classification", {**STREAM, "ensemble": TWO}, r"leave ensemble\.teachers out"),
        *(
            (task, {**SHARDED, **changes}, rf"sharded is true, so no process has the whole teacher, but {message}")
            for task, changes, message in (
                ("text-classification", {"objective": INSIDE, "student": OF_ITS_OWN}, ".*; choose objective=kl"),
                ("text-classification", {"objective": THESEUS, "student": {"name": "layers"}}, ".*; choose objective"),
                ("language-modelling", {"arms": ["hard", "gkd"]}, "arms has 'gkd', for .*; leave that arm out"),
                ("text-to-text", {"arms": ["hard", "sequence"]}, "arms has 'sequence', .*; leave that arm out"),
                ("text-to-text", {"arms": ["hard", "soft"]}, r"the metric .*; set task\.metric=perplexity"),
                ("text-classification", {"student": NARROWED}, r"which .*; set student\.feed_forward_share and"),
                ("text-classification", {**ASSISTED, "assistant": NARROWED}, "which of its parts matter"),
                ("text-classification", {"student": {"name": "static"}}, r".*; set student\.start=random"),
                ("text-classification", {"arms": ["linear", "soft", "static"]}, ".*, and leave the arm 'static' out"),
                (
                    "text-classification",
                    {"arms": ["linear", "soft+transfer"], "augment": {"steps": [{"name": "masked_lm"}]}},
                    r"augment\.steps has 'masked_lm', .*; choose augment=words",
                ),
            )
        ),
        *(
            (
                "text-classification",
                {"teacher": {**SHARDED["teacher"], "fine_tune": how}},
                rf"teacher\.fine_tune is {how}, .* is not trained here; fine-tune it .* set teacher\.fine_tune=never",
            )
            for how in ("auto", "always")
        ),
        (
            "text-classification",
            {"ensemble": {"teachers": [{**TWO["teachers"][0], "sharded": True}]}},
            r"ensemble\.teachers\[0\]\.sharded is true, but ensemble\.teachers\[0\]\.fine_tune is auto",
        ),
    ],
)
def test_what_a_task_does_not_have_is_refused(task: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_task(_recipe(task, **changes))


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("text-classification", {"data": {**PAIRS, "recombined": 9, "out_of_scope": {"path": "y"}}}),
        ("multi-label-classification", {"data": {**PAIRS, "recombined": 9}}),
        ("regression", {"data": {**PAIRS, "recombined": 9}, "objective": MSE}),
        ("text-classification", {"arms": ["linear", "hard"], "objective": LABELS}),
        ("text-classification", {**LAYERS, "arms": ["linear", "soft"], "objective": {**LABELS, "replacing": [[0, 1]]}}),
        ("text-classification", {**LAYERS, "arms": ["linear", "hard", "soft+transfer"], "objective": HIDDEN}),
        ("token-classification", {"teacher": {"name": "probabilities", "source": {"path": "x"}}}),
        ("question-answering", {"arms": ["hard", "pseudo+transfer"]}),
        ("sentence-embedding", {"arms": ["linear", "soft"], "objective": MSE}),
        ("language-modelling", {"arms": ["hard", "soft", "soft+transfer", "gkd"]}),
        ("text-to-text", {"arms": ["hard", "soft", "sequence", "sequence+soft"]}),
        ("language-modelling", {"arms": ["hard", "soft", "sequence", "sequence+soft"]}),
        ("language-modelling", {"arms": ["hard", "sequence"], **OTHER_TOKENS}),
        ("text-to-text", {"arms": ["hard", "sequence"], **OTHER_TOKENS}),
        ("text-classification", {"objective": {"terms": [{"name": "jsd"}]}}),
        ("text-classification", {"objective": INSIDE, "data": PAIRS, "student": {"name": "layers"}}),
        ("token-classification", {"objective": INSIDE, "student": OF_ITS_OWN}),
        ("token-classification", {"objective": {**INSIDE, "states_gb": 20}, "student": OF_ITS_OWN}),
        ("token-classification", {"objective": THESEUS, "student": {"name": "layers"}}),
        ("question-answering", {"arms": ["hard", "soft"], **FOLDS}),
        ("regression", {"arms": ["linear", "soft+transfer"], "objective": MSE, **FOLDS}),
        ("question-answering", {"arms": ["hard", "soft"], "ensemble": {**TWO, "by_confidence": True}}),
        ("regression", {"arms": ["linear", "soft"], "ensemble": {**TWO, "weights": [2, 1]}, "objective": MSE}),
        ("text-classification", ASSISTED),
        ("text-classification", {**ASSISTED, "assistant": [{"name": "layers"}, {"name": "static"}]}),
        ("question-answering", {"arms": ["hard", "soft+assistant"], "assistant": OF_ITS_OWN}),
        ("language-modelling", {"arms": ["hard", "soft", "soft+assistant"], "assistant": OF_ITS_OWN}),
        ("text-to-text", {"arms": ["hard", "soft+assistant"], "assistant": OF_ITS_OWN}),
        ("text-classification", {**STREAM, "objective": INSIDE, "student": OF_ITS_OWN}),
        ("multi-label-classification", {**STREAM, "augment": {"steps": [{"name": "splice"}]}}),
        ("regression", {**STREAM, "arms": ["linear", "hard", "soft+transfer"], "objective": MSE}),
        ("text-classification", {**STREAM, **ASSISTED, "arms": ["linear", "soft+transfer", "soft+assistant"]}),
        ("text-classification", {**SHARDED, **STREAM, "student": {"name": "layers"}}),
        ("text-classification", {**SHARDED, **ASSISTED, "augment": {"steps": []}}),
        ("text-classification", {**SHARDED, "student": {"name": "static", "start": "random"}}),
        ("sentence-embedding", {**SHARDED, "arms": ["linear", "soft"], "objective": MSE}),
        ("language-modelling", {**SHARDED, "arms": ["hard", "soft", "soft+transfer"]}),
        (
            "text-to-text",
            {**SHARDED, "arms": ["hard", "soft"], "task": {"name": "text-to-text", "metric": "perplexity"}},
        ),
        ("text-classification", {**SHARDED, "ensemble": {"teachers": [*TWO["teachers"], SHARDED["teacher"]]}}),
    ],
)
def test_what_a_task_has_is_taken(task: str, changes: dict[str, Any]) -> None:
    check_task(_recipe(task, **changes))


@pytest.mark.parametrize("recipe", [SHARDED, {"ensemble": {"teachers": [SHARDED["teacher"]]}}])
def test_a_teacher_is_spread_over_several_processes_alone(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = re.escape("teacher" if recipe is SHARDED else "ensemble.teachers[0]")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=rf"{where}\.sharded is true, but this run has one process, .*; start"):
        check_processes(_recipe("text-classification", **recipe))
    check_processes(_recipe("text-classification"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_processes(_recipe("text-classification", **recipe))


def test_a_student_that_starts_from_the_checkpoint_needs_a_teacher_that_has_one() -> None:
    start = {"name": "layers", "count": -1, "start": "checkpoint"}
    check_choices(_recipe("text-classification", student=start))
    nothing = {"teacher": OF_ITS_OWN, "tokenizer": {"name": "trained"}}
    with pytest.raises(
        UserError, match=r"student\.start is 'checkpoint', .* choose student=transformer with the teach"
    ):
        check_choices(_recipe("text-classification", student=start, **nothing))


def test_word_embeddings_are_taken_from_no_file_of_probabilities() -> None:
    file = {"teacher": {"name": "probabilities", "source": {"path": "x"}}, "tokenizer": {"name": "trained"}}
    for student in ("recurrent", "transformer"):
        check_choices(_recipe("text-classification", student={"name": student}, **file))
        with pytest.raises(UserError, match=r"file of probabilities; set student\.embeddings=random"):
            check_choices(_recipe("text-classification", student={"name": student, "embeddings": "teacher"}, **file))


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_asks_for_what_its_task_has(recipe: str) -> None:
    needed = ["teacher.source.path=m", "data.train.path=x.csv"] if recipe == "compress" else []
    run_with_hydra(recipe, needed, [], check_task)
