"""What the faces of the frameworks cost and gain: small calls, and the construction of models under `patched`.

    pip install -e ".[bench,torch,jax,keras]" transformers
    python benchmarks/frameworks.py              # five minutes on a quiet machine; writes docs/benchmarks/frameworks.md

Each construction has a process of its own, because it is fresh memory that models are made in; plain and
patched take turns, and a ratio is the median of the turns, with their quartiles in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report import DOCS, spread, table

MODELS = ("BERT-base", "ViT-base", "BERT-base, truncated")
WAYS = ("plain", "patched", "init_module_", "zeros")
ROUNDS = 15
CALLS = 500


def build(model: str) -> Any:
    """A model of `transformers` with random weights; truncated as the published BERT's are."""
    import transformers
    from torch import nn

    if model == "ViT-base":
        return transformers.ViTModel(transformers.ViTConfig())
    built = transformers.BertModel(transformers.BertConfig())
    if model == "BERT-base, truncated":
        for module in built.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
    return built


def construct(model: str, way: str) -> dict[str, float]:
    """Seconds of a construction in this process, and how many of them its random functions took."""
    import torch

    import fastinit.torch as face
    from fastinit.torch import init, patch

    with torch.device("meta"):
        empty = build(model)
    in_random = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal in_random
            start = time.perf_counter()
            result = function(*args, **kwargs)
            in_random += time.perf_counter() - start
            return result

        return call

    if way == "plain":
        watched = {original: timed(original) for original in init.ORIGINAL.values()}
        patch._swap(patch._tables_with(watched, sys.modules), watched)
    start = time.perf_counter()
    if way == "plain":
        build(model)
    elif way == "patched":
        with face.patched():
            build(model)
    elif way == "init_module_":
        face.init_module_(empty, seed=0)
    else:  # what the memory alone costs
        _ = [torch.empty(p.shape).zero_() for p in empty.parameters()]
    return {"seconds": time.perf_counter() - start, "random": in_random}


def constructions(rounds: int) -> list[tuple[str, ...]]:
    rows = []
    for model in MODELS:
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for way in WAYS * rounds:
            command = [sys.executable, "-W", "ignore", __file__, "--construct", model, way]
            runs[way].append(
                json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))
            )
        seconds = {way: [run["seconds"] for run in runs[way]] for way in WAYS}
        share = statistics.median(run["random"] / run["seconds"] for run in runs["plain"])
        ratios = [p / q for p, q in zip(seconds["plain"], seconds["patched"], strict=True)]
        medians = [f"{statistics.median(seconds[way]):.2f}" for way in WAYS]
        rows.append((model, *medians, f"{share:.0%}", spread(ratios)))
    return rows


def per_call(calls: dict[str, Callable[[], Any]]) -> dict[str, str]:
    """Microseconds of each call: the median of rounds in which they take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            times[name].append((time.perf_counter() - start) / CALLS * 1e6)
    return {name: f"{statistics.median(values):.1f}" for name, values in times.items()}


def small_calls() -> list[tuple[str, ...]]:
    """A 16 x 16 float32 tensor: through a face, through the core, and as the framework makes it."""
    os.environ["KERAS_BACKEND"] = "torch"
    import jax
    import keras
    import torch

    import fastinit as fi
    import fastinit.jax as jax_face
    import fastinit.keras as keras_face
    import fastinit.torch as torch_face

    shape = (16, 16)
    tensor, key = torch.empty(shape), jax.random.key(0)
    array = tensor.numpy()
    jax_he, jax_own = jax_face.he_normal(), jax.nn.initializers.he_normal()
    keras_he, keras_own = keras_face.HeNormal(seed=0), keras.initializers.HeNormal(seed=0)
    he = fi.VarianceScaling(2.0, "fan_in", "uniform", in_axis=1, out_axis=0)
    times = per_call(
        {
            "normal": lambda: fi.Normal(0, 0.02).fill(array, seed=0),
            "torch normal": lambda: torch_face.normal_(tensor, 0.0, 0.02),
            "torch normal, seed": lambda: torch_face.normal_(tensor, 0.0, 0.02, seed=0),
            "torch normal, own": lambda: torch.nn.init.normal_(tensor, 0.0, 0.02),
            "he": lambda: he.fill(array, seed=0),
            "torch he": lambda: torch_face.kaiming_uniform_(tensor),
            "torch he, own": lambda: torch.nn.init.kaiming_uniform_(tensor),
            "new": lambda: fi.he_normal(shape, seed=0),
            "jax words": lambda: jax.random.key_data(key),
            "jax put": lambda: jax.device_put(array),
            "jax": lambda: jax_he(key, shape),
            "jax own": lambda: jax_own(key, shape),
            "keras": lambda: keras_he(shape),
            "keras own": lambda: keras_own(shape),
        }
    )
    return [
        ("`fastinit.torch.normal_`", times["torch normal"], times["normal"], times["torch normal, own"]),
        ("`fastinit.torch.normal_`, `seed=`", times["torch normal, seed"], times["normal"], ""),
        ("`fastinit.torch.kaiming_uniform_`", times["torch he"], times["he"], times["torch he, own"]),
        (f"`fastinit.jax.he_normal`; of it JAX's key {times['jax words']} and `device_put` {times['jax put']}",
         times["jax"], times["new"], times["jax own"]),
        ("`fastinit.keras.HeNormal`, on PyTorch", times["keras"], times["new"], times["keras own"]),
    ]  # fmt: skip


def page(rounds: int) -> str:
    calls = table(("call", "face, us", "core, us", "framework's own, us"), small_calls())
    heads = [f"{way}, s" for way in WAYS]
    share = "random functions' share of plain"
    models = table(("model", *heads, share, "plain / patched"), constructions(rounds))
    return f"""# Frameworks

Written by `python benchmarks/frameworks.py`; do not edit. The machine and versions are those of [the report](README.md).

## Small tensors

A tensor of 16 x 16 float32, medians of {ROUNDS} rounds in which the calls take turns. The difference between face and
core is what the face costs.

{calls}

## Construction of models

A model of `transformers` from its config, in a fresh process, {rounds} turns. `zeros` is what PyTorch takes to zero as
many new tensors: the pages of the memory, which nothing makes faster. PyTorch draws most weights twice: each layer when
it is made, and the model after that. `init_module_` begins from the meta device. The time of `patched` includes the
search of all loaded modules for the functions. Where the weights are normal or uniform, the new memory is nearly half of
what remains; where they are truncated, as in the published BERT, the gain is larger.

{models}
"""


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--construct", nargs=2, metavar=("MODEL", "WAY"), help="in this process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "frameworks.md")
    arguments = parser.parse_args()
    if arguments.construct:
        print(json.dumps(construct(*arguments.construct)))
    else:
        arguments.output.write_text(page(arguments.rounds))


if __name__ == "__main__":
    main()
