"""What recording costs: construction of models of `transformers` recorded and plain, in seconds and in memory.

    pip install -e ".[bench,torch]" transformers
    python benchmarks/recording.py               # ten minutes on a quiet machine; writes docs/benchmarks/recording.md
    python benchmarks/recording.py --large       # Llama-3-8B as a whole, which takes 18 GB of memory

Constructions of BERT have a process of their own, because models are made in fresh memory, and take turns; imports are
done before the clock starts, and the threads are equal. A ratio is the median of the turns, with quartiles in brackets.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report import DOCS, spread, table

#: Types of models whose recording is timed beside construction under the meta device.
TYPES = ["bert", "gpt2", "t5", "vit", "llama", "mixtral", "mamba", "clip", "whisper", "swin", "deberta-v2", "bart", "qwen3_moe", "wav2vec2", "resnet", "detr"]  # fmt: skip
LLAMA_3_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}  # fmt: skip
GIB = 2**30


def construct_bert(way: str) -> dict[str, float]:
    """Seconds of a construction in this process, after imports."""
    import torch
    import transformers

    import fastinit.torch as fit

    config = transformers.BertConfig()
    transformers.BertModel(transformers.BertConfig(num_hidden_layers=1, hidden_size=12))  # imports
    with fit.record():
        small = torch.nn.Linear(4, 4)
    fit.init_module_(small, seed=0)
    start = time.perf_counter()
    if way == "plain":
        transformers.BertModel(config)
        return {"seconds": time.perf_counter() - start}
    with fit.record():
        model = transformers.BertModel(config)
    recorded = time.perf_counter()
    fit.init_module_(model, seed=0)
    end = time.perf_counter()
    return {"seconds": end - start, "recording": recorded - start}


def construct_llama(layers: int) -> dict[str, float]:
    """Peak memory beyond that of the imports, and the size of the model, in GiB."""
    import torch
    import transformers

    import fastinit.torch as fit

    config = transformers.LlamaConfig(**LLAMA_3_8B, num_hidden_layers=layers, dtype=torch.bfloat16)
    with torch.device("meta"):
        transformers.LlamaForCausalLM(config)  # imports
    before = peak()
    torch.set_default_dtype(torch.bfloat16)
    start = time.perf_counter()
    with fit.record():
        model = transformers.LlamaForCausalLM(config)
    recorded = time.perf_counter()
    fit.init_module_(model, seed=0)
    seconds = time.perf_counter() - recorded
    size = sum(p.nbytes for p in model.parameters()) / GIB
    assert all(p.dtype == torch.bfloat16 and not p.is_meta for p in model.parameters())
    made = {"recording": recorded - start, "filling": seconds}
    return {"size": size, "before": before, "peak": peak() - before, **made}


def peak() -> float:
    """The largest resident memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def meta_ratios(rounds: int) -> list[tuple[str, str, str, str]]:
    """For each type at its default sizes: milliseconds under the meta device and recorded, and their ratio."""
    import torch
    import transformers

    import fastinit.torch as fit

    def under_meta(build: Callable[[], Any]) -> None:
        with torch.device("meta"):
            build()

    def recorded(build: Callable[[], Any]) -> None:
        with fit.record():
            build()

    rows, medians = [], []
    for kind in TYPES:
        config = transformers.AutoConfig.for_model(kind)
        model = transformers.AutoModel

        def build(config: Any = config, model: Any = model) -> Any:
            return model.from_config(config)

        times: dict[str, list[float]] = {"meta": [], "recorded": []}
        for turn in range(rounds + 1):
            for way, run in (("meta", under_meta), ("recorded", recorded)):
                start = time.process_time()  # of one thread, so that other programs matter less
                run(build)
                if turn:  # the first one imports
                    times[way].append(time.process_time() - start)
        ratios = [r / m for m, r in zip(times["meta"], times["recorded"], strict=True)]
        medians.append(statistics.median(ratios))
        shown = [f"{1e3 * statistics.median(times[way]):.0f}" for way in times]
        rows.append((kind, *shown, spread(ratios)))
        print(*rows[-1], flush=True)
    rows.append(("median", "", "", f"{statistics.median(medians):.2f}"))
    rows.append(("largest", "", "", f"{max(medians):.2f}"))
    return rows


def in_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    made: dict[str, float] = json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))
    return made


def bert_rows(rounds: int) -> list[tuple[str, ...]]:
    runs: dict[str, list[dict[str, float]]] = {"plain": [], "recorded": []}
    for way in ("plain", "recorded") * rounds:
        runs[way].append(in_process("--bert", way))
        print(way, runs[way][-1], flush=True)
    plain, made = ([run["seconds"] for run in runs[way]] for way in runs)
    recording = statistics.median(run["recording"] for run in runs["recorded"])
    ratios = [p / r for p, r in zip(plain, made, strict=True)]
    return [
        ("plain", f"{statistics.median(plain):.2f}", ""),
        ("recorded, then `init_module_`", f"{statistics.median(made):.2f}", f"{spread(ratios)}"),
        ("of it recording", f"{recording:.2f}", ""),
    ]


def page(rounds: int, layers: int) -> str:
    bert = table(("BERT-base", "s", "plain / recorded"), bert_rows(rounds))
    llama = in_process("--llama", str(layers))
    meta = table(("type", "meta, ms", "recorded, ms", "recorded / meta"), meta_ratios(rounds))
    return f"""# Recording

Written by `python benchmarks/recording.py`; do not edit. The machine is that of [the report](README.md).

{bert}

Llama-3-8B with {layers} of 32 layers in bfloat16 has {llama["size"]:.2f} GiB. Recorded and made, it takes
{llama["peak"]:.2f} GiB at most, {llama["peak"] / llama["size"]:.3f} times its size: {llama["recording"]:.2f} s to record it, {llama["filling"]:.1f} s
to make it.

Models at the default sizes of their types, constructed under the meta device, which sets nothing, and recorded:

{meta}
"""


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bert", choices=["plain", "recorded"], help="in this process")
    parser.add_argument("--llama", type=int, metavar="LAYERS", help="in this process")
    parser.add_argument("--large", action="store_true", help="all 32 layers of Llama-3-8B")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "recording.md")
    arguments = parser.parse_args()
    if arguments.bert:
        print(json.dumps(construct_bert(arguments.bert)))
    elif arguments.llama:
        print(json.dumps(construct_llama(arguments.llama)))
    else:
        arguments.output.write_text(page(arguments.rounds, 32 if arguments.large else 2))


if __name__ == "__main__":
    main()
