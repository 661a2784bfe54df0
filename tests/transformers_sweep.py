"""Every model type of the installed transformers: recorded, made as a module and as a file, and compared with plain construction.

    python tests/transformers_sweep.py --results sweep.jsonl     # all types; types that are in the results are skipped
    python tests/transformers_sweep.py --results sweep.jsonl --part 1/4
    python tests/transformers_sweep.py --results sweep.jsonl --table > docs/transformers.md

Each type runs in a process of its own, with limits of time and memory, and its result is one line of JSON.
`check_type` is one type, which a test calls for some of them.

A type whose plain construction fails is listed with the error of transformers. For the others:

- the model of the default sizes is recorded, and becomes tensors of a spec;
- at small sizes, a file, a module initialised by `init_module_` and plain construction are compared. File and module
  are equal to the bit. Values that plain construction does not draw are equal exactly. Drawn values are compared by
  mean and standard deviation, abs(z) < 6. `from_pretrained` loads the folder without missing or unexpected keys.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import resource
import signal
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import transformers
from safetensors.torch import load_file
from transformers import CONFIG_MAPPING

import fastinit as fi
from fastinit import huggingface
from fastinit.torch import init_module_, record

#: The limits of one type.
SECONDS, BYTES = 300, 12 * 2**30
#: Larger models are not constructed plainly at their default sizes.
MOST_BYTES = 4 * 2**30
#: How often a type is constructed plainly, each time with another seed.
CONSTRUCTIONS = 4
MOST_Z = 6.0
#: Recording beside construction on the meta device: more than this is named on the page.
MOST_RATIO = 6.0
#: Fewer drawn values than these tell nothing by their moments.
FEWEST_VALUES = 64
#: What configs of these types need, which have no default for it.
NEEDED: dict[str, dict[str, Any]] = {
    "autoformer": {"prediction_length": 24},
    "informer": {"prediction_length": 24},
    "time_series_transformer": {"prediction_length": 24},
    "encoder-decoder": {"encoder": {"model_type": "bert"}, "decoder": {"model_type": "bert", "is_decoder": True, "add_cross_attention": True}},
    "vision-encoder-decoder": {"encoder": {"model_type": "vit"}, "decoder": {"model_type": "bert", "is_decoder": True, "add_cross_attention": True}},
    "speech-encoder-decoder": {"encoder": {"model_type": "wav2vec2"}, "decoder": {"model_type": "bert", "is_decoder": True, "add_cross_attention": True}},
    "vision-text-dual-encoder": {"vision_config": {"model_type": "vit"}, "text_config": {"model_type": "bert"}},
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "ministral": {"head_dim": 128},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "rag": {"question_encoder": {"model_type": "dpr"}, "generator": {"model_type": "bart"}},
}  # fmt: skip
Result = dict[str, Any]


def check_type(model_type: str, folder: Path) -> Result:
    """Check one type; `outcome` is "right", or names what is wrong."""
    torch.set_num_threads(1)
    result: Result = {"type": model_type}
    for step in (_construct, _record, _compare):
        try:
            step(result, folder)
        except Exception as error:
            where = step.__name__.removeprefix("_")
            result |= {
                "outcome": "not built" if step is _construct else where,
                "error": f"{type(error).__name__}: {str(error).strip()}"[:600],
            }
            if step is not _construct:
                _construct_plainly(result, folder)
        if "outcome" in result:
            return result
    return result | {"outcome": "right"}


# Default sizes.


def _construct_plainly(result: Result, folder: Path) -> None:
    """Whether plain construction fails too: on the meta device transformers leaves out what sets weights."""
    if result.get("meta_bytes", MOST_BYTES) >= MOST_BYTES:
        return
    model_class, config = _model_class(
        result["class"], json.loads((folder / "config.json").read_text())
    )
    try:
        model_class._from_config(config)
    except Exception as error:
        text = f"{type(error).__name__}: {str(error).strip()}"[:600]
        result |= {"outcome": "not built", "error": text}


def _construct(result: Result, folder: Path) -> None:
    """Construct the type at its default sizes on the meta device, with the first of its classes that can be."""
    values = {"model_type": result["type"], **NEEDED.get(result["type"], {})}
    (folder / "config.json").write_text(json.dumps(values))
    config = huggingface._parsed(values)
    classes = huggingface.model_classes(config)
    if not classes:
        result["outcome"] = "no class"
        return
    for name in classes:
        try:
            model_class = huggingface._class_of_name(config, name, "architectures")
            times = [_seconds(partial(_on_meta, model_class, values, result)) for _ in range(2)]
        except Exception as error:
            result.setdefault("error", f"{type(error).__name__}: {str(error).strip()}"[:600])
        else:
            result |= {"class": name, "construct_s": min(times)}
            result.pop("error", None)
            return
    result["outcome"] = "not built"


def _on_meta(model_class: Any, values: dict[str, Any], result: Result) -> None:
    config = huggingface._parsed(values)
    with torch.device("meta"):
        model = model_class._from_config(config)
    result["meta_bytes"] = sum(tensor.nbytes for tensor in model.parameters())


def _record(result: Result, folder: Path) -> None:
    """Record the type at its default sizes, and make it a spec."""
    values = json.loads((folder / "config.json").read_text())
    model_class, config = _model_class(result["class"], values)

    def recorded() -> None:
        with record():
            model_class._from_config(config)

    def made() -> None:
        read = huggingface.read_config(folder, head=result["class"])
        result["tensors"] = len(read.tensors)
        result["bytes"] = sum(tensor.nbytes for tensor in read.tensors)

    result["record_s"] = min(_seconds(recorded) for _ in range(2))
    result["read_s"] = _seconds(made)


def _seconds(run: Callable[[], None]) -> float:
    """The processor's time, so that other programs do not matter."""
    start = time.process_time()
    run()
    return time.process_time() - start


# Small sizes.


def _compare(result: Result, folder: Path) -> None:
    read = huggingface.read_config(folder, head=result["class"], tiny=True)
    result["tiny_bytes"] = sum(tensor.nbytes for tensor in read.tensors)
    (folder / "config.json").unlink()
    for name, data in read.files.items():
        (folder / name).write_bytes(data)
    fi.Model(read.tensors).write(folder / "model.safetensors", seed=0)

    values = json.loads(read.files["config.json"])
    module = _initialised(result["class"], values)
    plain = [_plain(result["class"], values, seed) for seed in range(CONSTRUCTIONS)]
    problems = [
        *_differences("file", _named_in_files(module), load_file(folder / "model.safetensors")),
        *_against_plain(result, module, plain),
        *_loading(result, folder, module),
    ]
    if problems:
        result |= {"outcome": "differs", "problems": problems[:8]}


def _model_class(name: str, values: dict[str, Any]) -> tuple[Any, Any]:
    config = huggingface._parsed(values)
    return huggingface._class_of_name(config, name, "architectures[0]"), config


def _initialised(name: str, values: dict[str, Any]) -> Any:
    model_class, config = _model_class(name, values)
    return init_module_(huggingface.recorded_model(model_class, config), seed=0)


def _plain(name: str, values: dict[str, Any], seed: int) -> dict[str, np.ndarray[Any, Any]]:
    model_class, config = _model_class(name, values)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - some models draw from it
    return _arrays(model_class._from_config(config))


def _arrays(module: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Parameters and buffers, those of state dicts or not, in float64 or as integers."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        name: (tensor.detach().double() if tensor.is_floating_point() else tensor.detach()).numpy()
        for name, tensor in tensors.items()
    }


def _named_in_files(module: Any) -> dict[str, torch.Tensor]:
    return {k: v.detach() for k, v in huggingface.file_tensors(module).items()}


def _differences(what: str, expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for name in sorted({*expected} ^ {*found}):
        yield f"{what}: {name} is in {'the module' if name in expected else 'it'} alone"
    for name in sorted({*expected} & {*found}):
        a, b = expected[name], found[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            yield f"{what}: {name} is {b.dtype} {tuple(b.shape)}, the module's {a.dtype} {tuple(a.shape)}"
        elif not torch.equal(_bits(a), _bits(b)):
            yield f"{what}: {name} has other values than the module"


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _against_plain(result: Result, module: Any, plain: list[dict[str, Any]]) -> Iterator[str]:
    """Compare what plain construction draws by moments, and all else exactly."""
    ours = _arrays(module)
    for name in sorted({*ours} ^ {*plain[0]}):
        yield f"plain: {name} is in {'ours' if name in ours else 'plain construction'} alone"
    drawn: dict[str, tuple[list[Any], list[Any]]] = {}
    for name in sorted({*ours} & {*plain[0]}):
        theirs = np.stack([one[name] for one in plain])
        if ours[name].shape != theirs.shape[1:]:
            yield f"plain: {name} has shape {ours[name].shape}, plainly {theirs.shape[1:]}"
            continue
        known = np.all((theirs == theirs[0]) | np.isnan(theirs), axis=0)
        if not np.array_equal(
            ours[name][known], theirs[0][known], equal_nan=theirs.dtype.kind == "f"
        ):
            yield f"plain: {name} has {np.sum(ours[name][known] != theirs[0][known])} other known values"
        if not known.all():
            family = drawn.setdefault(re.sub(r"\d+", "#", name), ([], []))
            family[0].append(ours[name][~known].astype(np.float64))
            family[1].append(theirs[:, ~known].astype(np.float64).ravel())
    worst = 0.0
    for name, (a, b) in drawn.items():
        z = _worst_z(np.concatenate(a), np.concatenate(b))
        worst = max(worst, z)
        if not z < MOST_Z:
            yield f"plain: {name} is off by z = {z:.1f}"
    result["worst_z"] = round(worst, 2)


def _worst_z(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """How many standard errors means and standard deviations are apart."""
    if ours.size < FEWEST_VALUES:
        return 0.0
    center, scale = theirs.mean(), theirs.std()
    ours, theirs = (ours - center) / scale, (theirs - center) / scale
    weight = 1 / ours.size + 1 / theirs.size
    fourth = np.mean(theirs**4)
    z_mean = abs(ours.mean()) / math.sqrt(weight)
    z_std = abs(ours.var() - 1) / math.sqrt(max(fourth - 1, 1e-3) * weight)
    return float(max(z_mean, z_std))


def _loading(result: Result, folder: Path, module: Any) -> Iterator[str]:
    values = json.loads((folder / "config.json").read_text())
    model_class, config = _model_class(result["class"], values)
    try:
        loaded, info = model_class.from_pretrained(folder, output_loading_info=True)
    except Exception as error:
        model_class._from_config(config).save_pretrained(folder / "plain")
        try:
            model_class.from_pretrained(folder / "plain", output_loading_info=True)
        except Exception as plain_error:
            result["note"] = f"transformers cannot load what it saves: {plain_error}"[:300]
        else:
            yield f"from_pretrained: {type(error).__name__}: {error}"[:300]
        return
    for what, keys in info.items():
        if keys:
            yield f"from_pretrained: {what} {sorted(map(str, keys))[:3]}"
    yield from _differences("loaded", dict(module.state_dict()), dict(loaded.state_dict()))


# All types, each in a process of its own.


def _isolated(model_type: str) -> Result:
    """`check_type` in a process of its own, within the limits."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(SECONDS)
            resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
            with tempfile.TemporaryDirectory() as folder, os.fdopen(writing, "w") as pipe:
                pipe.write(json.dumps(check_type(model_type, Path(folder))))
        finally:
            os._exit(0)  # never into the loop of the parent
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if text:
        return dict(json.loads(text))
    ended = (
        f"took more than {SECONDS} s" if status == signal.SIGALRM else f"ended with status {status}"
    )
    return {"type": model_type, "outcome": "died", "error": ended}


def run(results: Path, types: list[str]) -> None:
    """Check the types that the results lack, and append a line for each."""
    known = {one["type"] for one in read(results)}
    for model_type in types:
        if model_type in known:
            continue
        result = _isolated(model_type)
        with results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(
            model_type,
            result["outcome"],
            result.get("error", result.get("problems", "")),
            flush=True,
        )


def read(results: Path) -> list[Result]:
    """The results so far, the last of each type."""
    lines = results.read_text().splitlines() if results.exists() else []
    return sorted(
        {one["type"]: one for one in map(json.loads, lines)}.values(), key=lambda one: one["type"]
    )


# The page of the results.

OUTCOMES = {
    "right": "recorded wholly; file, module and plain construction agree",
    "record": "not recorded wholly",
    "compare": "no small model was found, or it could not be compared",
    "differs": "a comparison failed",
    "died": "above the limit of time or memory",
    "not built": "transformers cannot build it here, even without fastinit",
    "no class": "transformers has no model class for it",
}
PAGE = """# Model types of transformers

Every model type of `transformers` was built while its construction was recorded, and compared with plain construction.
Two commands made this page, the first in about 100 minutes of one core:

    python tests/transformers_sweep.py --results sweep.jsonl
    python tests/transformers_sweep.py --results sweep.jsonl --table > docs/transformers.md

Versions: {versions}.

Each type has its default config and its class without a head, or else the first of its classes. At the default sizes
the model is recorded and described as a spec. At the sizes of `--tiny`, a file, a module that `init_module_` fills and
plain construction are compared: file and module to the bit, values that are not drawn exactly, drawn values by mean
and standard deviation (abs(z) < 6). Then `from_pretrained` loads the file, without missing or unexpected keys.

{summary}
## Exceptions

{wrong}

## Types that transformers cannot build here

{unbuilt}

## Types that agree

{right}
"""


def summary(results: list[Result]) -> str:
    """How many types have each outcome, and the times."""
    lines = ["| outcome | types |", "|---|---|"]
    for outcome, meaning in OUTCOMES.items():
        count = sum(one["outcome"] == outcome for one in results)
        lines.append(f"| {meaning} | {count} |")
    built = [one for one in results if one["outcome"] not in ("not built", "no class")]
    recorded = [one for one in built if "tensors" in one]
    lines += [
        "",
        f"Of {len(built)} types that transformers can build, {len(recorded)} are recorded wholly at their default sizes.",
    ]
    if recorded:
        ratios = [one["record_s"] / one["construct_s"] for one in recorded]
        slowest = max(recorded, key=lambda one: one["read_s"])
        lines += [
            f"From a config to a spec takes {statistics.median(one['read_s'] for one in recorded):.2f} s in the median, "
            f"at most {slowest['read_s']:.1f} s ({slowest['type']}).",
            f"Recording takes {statistics.median(ratios):.1f} times as long as construction on the meta device in the median. "
            f"It takes more than {MOST_RATIO:.0f} times as long for {_slow(recorded)}. On the meta device transformers leaves "
            "out `_init_weights`, which recording runs.",
        ]
    return "\n".join(lines) + "\n"


def _slow(recorded: list[Result]) -> str:
    """The types whose recording takes long, and how long."""
    ratios = {one["type"]: one["record_s"] / one["construct_s"] for one in recorded}
    slow = sorted((name for name in ratios if ratios[name] > MOST_RATIO), key=lambda n: -ratios[n])
    return ", ".join(f"{name} ({ratios[name]:.1f})" for name in slow) or "none"


def page(results: list[Result]) -> str:
    """docs/transformers.md."""
    wrong = ("record", "compare", "differs", "died")
    return PAGE.format(
        versions=f"transformers {transformers.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}",
        summary=summary(results),
        wrong=_table([one for one in results if one["outcome"] in wrong or "note" in one]),
        unbuilt=_table([one for one in results if one["outcome"] in ("not built", "no class")]),
        right=", ".join(f"`{one['type']}`" for one in results if one["outcome"] == "right"),
    )


def _table(results: list[Result]) -> str:
    lines = ["| type | outcome | reason |", "|---|---|---|"]
    lines += [f"| `{one['type']}` | {one['outcome']} | {_reason(one)} |" for one in results]
    return "\n".join(lines) if results else "None."


def _reason(result: Result) -> str:
    """The first sentence of what went wrong, without the names of temporary folders."""
    text = result.get("error") or result.get("note") or "; ".join(result.get("problems", []))
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/\w+", "FOLDER", " ".join(text.split()))
    return text.partition(". ")[0].replace("|", "\\|")[:200]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("types", nargs="*", help="types of models; all by default")
    parser.add_argument("--results", type=Path, default=Path("sweep.jsonl"))
    parser.add_argument("--part", default="1/1", help="which part of the types, as in 1/4")
    parser.add_argument(
        "--table", action="store_true", help="print the page of the results, and check nothing"
    )
    given = parser.parse_args()
    if given.table:
        print(page(read(given.results)), end="")
        return
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    part, parts = map(int, given.part.split("/"))
    run(given.results, given.types or sorted(CONFIG_MAPPING)[part - 1 :: parts])
    print(summary(read(given.results)), end="")


if __name__ == "__main__":
    main()
