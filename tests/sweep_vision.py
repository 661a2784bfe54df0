"""Record one model of each family of timm and torchvision, and compare it with plain construction.

    pip install timm torchvision
    python tests/sweep_vision.py --results vision.jsonl    # a quarter of an hour; families in the results are skipped
    python tests/sweep_vision.py --results vision.jsonl --table > docs/vision.md
    python tests/sweep_vision.py timm resnet vgg           # some families of one package
    python tests/sweep_vision.py --all                     # record every model, but make none

A family is a module of the package. Its smallest model (of those whose names tell small sizes) is constructed twice
from different seeds of PyTorch: tensors that are equal then are known values, and the recorded model must have them to
the bit. Of others, means and variances of the whole and of thirds along the first axis must agree with abs(z) < 6, the
extremes with the plain ones. What `recorded_tensors` can hold must be made to the bit by `Model.make`.

It needs no network: weights are not loaded. Where torchvision's C++ extension does not fit the installed PyTorch, the
operators that its import looks for are declared, without code; no constructor calls them.
"""

from __future__ import annotations

import argparse
import collections
import gc
import inspect
import json
import math
import platform
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import fastinit as fi
import fastinit.torch as fit

Z = 6.0
SEED = 0
#: Names of small sizes, from the smallest.
SMALL = ["test", "zepto", "atto", "femto", "pico", "nano", "xxs", "xx_small", "xs", "x_small", "mini", "tiny", "050", "small", "b0", "s0", "t0", "18", "base"]  # fmt: skip
CANDIDATES = 4
#: Declarations of operators, which end with their objects.
LIBRARIES: list[torch.library.Library] = []


@dataclass
class Result:
    """What came of one model."""

    package: str
    family: str
    model: str
    parameters: int = 0
    tensors: int = 0
    plain_seconds: float = 0.0
    recorded_seconds: float = 0.0
    #: Why plain construction fails.
    not_built: str = ""
    problem: str = ""
    spec_problem: str = ""


def import_vision() -> None:
    """Import torchvision, whose extension may be built for another PyTorch."""
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        LIBRARIES.append(library)
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        import torchvision  # noqa: F401


def timm_models() -> dict[str, list[str]]:
    import timm

    return {family: timm.list_models(module=family) for family in timm.list_modules()}


def timm_builder(name: str) -> Callable[[], nn.Module]:
    import timm

    return lambda: timm.create_model(name, pretrained=False)


def torchvision_models() -> dict[str, list[str]]:
    from torchvision import models

    families = collections.defaultdict(list)
    for name in models.list_models():
        module = models.get_model_builder(name).__module__
        families[module.removeprefix("torchvision.models.")].append(name)
    return dict(families)


def torchvision_builder(name: str) -> Callable[[], nn.Module]:
    from torchvision import models

    builder = models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    named = inspect.signature(builder).parameters
    if "weights_backbone" in named:
        options["weights_backbone"] = None
    return lambda: builder(**options)


PACKAGES = {
    "timm": (timm_models, timm_builder),
    "torchvision": (torchvision_models, torchvision_builder),
}


def smallest(names: list[str], builder: Callable[[str], Callable[[], nn.Module]]) -> str:
    """The model with the fewest parameters, among those whose names tell small sizes."""

    def rank(name: str) -> int:
        return next(
            (i for i, size in enumerate(SMALL) if re.search(rf"(?<!\d){size}", name)), len(SMALL)
        )

    counts = {}
    for name in sorted(names, key=lambda name: (rank(name), len(name)))[:CANDIDATES]:
        try:
            with torch.device("meta"):
                module = builder(name)()
        except Exception:  # a model that cannot be built on the meta device
            counts[name] = math.inf
        else:
            counts[name] = float(sum(p.numel() for p in module.parameters()))
    return min(counts, key=lambda name: counts[name])


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def recorded(build: Callable[[], nn.Module]) -> nn.Module:
    with fit.record():
        return build()


def differences(build: Callable[[], nn.Module], result: Result) -> Iterator[str]:
    """How the recorded model differs from the plain one."""
    start = time.perf_counter()
    torch.manual_seed(0)
    try:
        plain = tensors_of(build())
    except Exception as error:
        result.not_built = first_line(error)
        return
    result.plain_seconds = time.perf_counter() - start
    result.tensors = len(plain)
    result.parameters = sum(tensor.numel() for tensor in plain.values())
    torch.manual_seed(1)
    again = tensors_of(build())
    start = time.perf_counter()
    made = tensors_of(fit.init_module_(recorded(build), seed=SEED))
    result.recorded_seconds = time.perf_counter() - start
    if list(made) != list(plain):
        yield f"other names: {sorted(set(made) ^ set(plain))[:5]}"
        return
    for name, expected in plain.items():
        yield from compared(name, made[name], expected, torch.equal(expected, again[name]))
    yield from file_differences(build, made, result)


def compared(name: str, made: Tensor, plain: Tensor, is_known: bool) -> Iterator[str]:
    """How one tensor differs from that of plain construction."""
    if (made.shape, made.dtype) != (plain.shape, plain.dtype):
        yield f"{name}: {made.dtype} {list(made.shape)}, not {plain.dtype} {list(plain.shape)}"
    elif is_known:
        if not torch.equal(made, plain):
            yield f"{name}: other constants"
    else:
        thirds = zip(made.detach().tensor_split(3), plain.detach().tensor_split(3), strict=True)
        for a, b in [(made.detach(), plain.detach()), *thirds]:
            if a.numel() >= 32:
                yield from moments_differ(name, a.double(), b.double())


def moments_differ(name: str, made: Tensor, plain: Tensor) -> Iterator[str]:
    """Two samples of a distribution: z-scores of the difference of means, and of variances on a logarithmic scale."""
    n = made.numel()
    (v, mean), (w, other) = torch.var_mean(made), torch.var_mean(plain)
    if min(v, w) == 0:
        if v != w or mean != other:
            yield f"{name}: the standard deviation is {v.sqrt():.4g}, not {w.sqrt():.4g}"
        return
    z = float((mean - other) / ((v + w) / n).sqrt())
    kurtosis = max(float((x - x.mean()).pow(4).mean() / x.var() ** 2) for x in (made, plain))
    z_variance = float((v / w).log() / math.sqrt(2 * max(kurtosis - 1, 0.1) / n))
    if abs(z) >= Z:
        yield f"{name}: the mean is {mean:.4g}, not {other:.4g} (z = {z:.1f})"
    if abs(z_variance) >= Z:
        yield f"{name}: the standard deviation is {v.sqrt():.4g}, not {w.sqrt():.4g} (z = {z_variance:.1f})"
    reach = 4 * float(w.sqrt())
    if made.max() > plain.max() + reach or made.min() < plain.min() - reach:
        yield f"{name}: values in [{made.min():.4g}, {made.max():.4g}], not [{plain.min():.4g}, {plain.max():.4g}]"


def file_differences(
    build: Callable[[], nn.Module], made: dict[str, Tensor], result: Result
) -> Iterator[str]:
    """How a spec of the model differs from the module, or why there is none."""
    try:
        model = fi.Model(fit.recorded_tensors(recorded(build)))
    except ValueError as error:
        result.spec_problem = first_line(error)
        return
    for tensor in model:
        values = torch.from_numpy(model.make(tensor.name, seed=SEED))
        if not torch.equal(values, made[tensor.name].detach()):
            yield f"{tensor.name}: the file has other bits than the module"


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def tried(package: str, family: str, name: str, only_record: bool) -> Result:
    """Try one model; what goes wrong is kept as text."""
    result = Result(package, family, name)
    build = PACKAGES[package][1](name)
    try:
        if only_record:
            start = time.perf_counter()
            tensors = tensors_of(recorded(build))
            result.recorded_seconds = time.perf_counter() - start
            result.tensors, result.parameters = (
                len(tensors),
                sum(t.numel() for t in tensors.values()),
            )
        else:
            problems = list(differences(build, result))
            result.problem = "; ".join(problems[:3])
            if len(problems) > 3:
                result.problem += f"; and {len(problems) - 3} more"
    except Exception as error:
        result.problem = first_line(error)
        traceback.print_exc(file=sys.stderr)
    return result


def page(results: list[Result]) -> str:
    """docs/vision.md."""
    versions = [f"{p} {sys.modules[p].__version__}" for p in PACKAGES]
    versions += [f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    lines = [
        "# Models of timm and torchvision",
        "",
        "Two commands made this page, the first in a quarter of an hour:",
        "",
        "    python tests/sweep_vision.py --results vision.jsonl",
        "    python tests/sweep_vision.py --results vision.jsonl --table > docs/vision.md",
        "",
        f"Versions: {', '.join(versions)}.",
        "A family is a module of the package, and one small model stands for it. The recorded model is compared with plain",
        "construction: known values to the bit, drawn values by mean, variance (abs(z) < 6) and extremes. What a spec can hold",
        "is compared with a file, to the bit.",
        "",
        "| package | families | not built | recorded, agree | agree in files, too |",
        "|---|---|---|---|---|",
    ]
    for package in PACKAGES:
        mine = [one for one in results if one.package == package]
        built = [one for one in mine if not one.not_built]
        agreed = [one for one in built if not one.problem]
        held = [one for one in agreed if not one.spec_problem]
        counts = [len(mine), len(mine) - len(built), len(agreed), len(held)]
        lines.append(f"| {package} | {' | '.join(map(str, counts))} |")
    lines += [
        "",
        f"The {len(results)} models have {sum(one.parameters for one in results) / 1e9:.2f} billion elements in "
        f"{sum(one.tensors for one in results):,} tensors.",
        "",
        "## Exceptions",
        "",
        *_table(results),
    ]
    return "\n".join(lines) + "\n"


def _table(results: list[Result]) -> list[str]:
    lines = ["| package | family | model | outcome | reason |", "|---|---|---|---|---|"]
    for one in results:
        outcomes = {
            "cannot be built": one.not_built,
            "differs": one.problem,
            "has no spec": one.spec_problem,
        }
        for outcome, reason in outcomes.items():
            if reason:
                words = reason.replace("|", "\\|")[:200]
                lines.append(
                    f"| {one.package} | {one.family} | {one.model} | {outcome} | {words} |"
                )
    return lines if len(lines) > 2 else ["There are none."]


def read(path: Path) -> list[Result]:
    """The results so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def run(options: argparse.Namespace) -> None:
    """Try models, and append what comes of each."""
    known = {(one.package, one.family, one.model) for one in read(options.results)}
    families_known = {(package, family) for package, family, _ in known}
    for package in [options.package] if options.package else PACKAGES:
        families, builder = PACKAGES[package]
        for family, names in families().items():
            if options.families and family not in options.families:
                continue
            if not options.all and (package, family) in families_known:
                continue
            for name in names if options.all else [smallest(names, builder)]:
                if (package, family, name) in known:
                    continue
                result = tried(package, family, name, options.all)
                with options.results.open("a") as out:
                    out.write(json.dumps(asdict(result)) + "\n")
                print(
                    f"{package} {family} {name}: {result.parameters / 1e6:.1f} M in {result.tensors} tensors, plain "
                    f"{result.plain_seconds:.2f} s, recorded {result.recorded_seconds:.2f} s "
                    f"{result.not_built or result.problem or 'agrees'} {result.spec_problem}",
                    flush=True,
                )
                gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("package", nargs="?", choices=list(PACKAGES))
    parser.add_argument("families", nargs="*")
    parser.add_argument("--results", type=Path, default=Path("vision.jsonl"))
    parser.add_argument("--all", action="store_true", help="record every model, but make none")
    parser.add_argument(
        "--table", action="store_true", help="print the page of the results, and try nothing"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import_vision()
    if options.table:
        import timm  # noqa: F401  for its version

        print(page(read(options.results)), end="")
    else:
        run(options)


if __name__ == "__main__":
    main()
