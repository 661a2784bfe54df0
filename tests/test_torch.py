"""The face of PyTorch's functions: arguments, memory, seeds and errors. Values are those of the core."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy import stats
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import fastinit as fi
import fastinit.torch as face

OUT_IN = {"in_axis": 1, "out_axis": 0}
SLOPE = math.sqrt(5)
#: A call, and the core's initializer of the same law.
LAWS: list[tuple[str, dict[str, Any], fi.Initializer]] = [
    ("uniform_", {}, fi.Uniform(0, 1)),
    ("uniform_", {"a": -0.5, "b": 0.25}, fi.Uniform(-0.5, 0.25)),
    ("normal_", {}, fi.Normal(0, 1)),
    ("normal_", {"mean": 0.5, "std": 0.02}, fi.Normal(0.5, 0.02)),
    ("trunc_normal_", {}, fi.TruncatedNormal(0, 1, lower=-2, upper=2)),
    ("trunc_normal_", {"std": 0.02}, fi.TruncatedNormal(0, 0.02, lower=-100, upper=100)),
    (
        "trunc_normal_",
        {"mean": 1.0, "std": 0.5, "a": 0.75, "b": 2.0},
        fi.TruncatedNormal(1, 0.5, lower=-0.5, upper=2),
    ),
    ("xavier_uniform_", {"gain": 2.0}, fi.VarianceScaling(4.0, "fan_avg", "uniform", **OUT_IN)),
    (
        "xavier_normal_",
        {},
        fi.VarianceScaling(1.0, "fan_avg", "untruncated_normal", **OUT_IN),
    ),
    ("kaiming_uniform_", {"a": 1.0}, fi.VarianceScaling(1.0, "fan_in", "uniform", **OUT_IN)),
    (
        "kaiming_normal_",
        {"mode": "FAN_OUT", "nonlinearity": "linear"},
        fi.VarianceScaling(1.0, "fan_out", "untruncated_normal", **OUT_IN),
    ),
]
FUNCTIONS = sorted({name for name, _, _ in LAWS})
NAMES = [
    "calculate_gain", "constant_", "dirac_", "eye_", "ones_", "orthogonal_", "sparse_", "zeros_", *FUNCTIONS
]  # fmt: skip


def expected(init: fi.Initializer, shape: tuple[int, ...], dtype: Any, **seed: Any) -> Any:
    """The core's tensor; PyTorch does not know NumPy's arrays of ml_dtypes, but their bits."""
    array = init(shape, dtype=str(dtype).removeprefix("torch."), **seed)
    bits = np.ascontiguousarray(array).view(f"u{array.itemsize}")
    return torch.from_numpy(bits).view(dtype)


def same_bits(a: Any, b: Any) -> bool:
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name: str) -> None:
    """PyTorch's parameters with their defaults, and then a seed and a stream."""
    theirs = inspect.signature(getattr(nn.init, name)).parameters
    ours = inspect.signature(getattr(face, name)).parameters
    assert [(p.name, p.default) for p in ours.values()][: len(theirs)] == [
        (p.name, p.default) for p in theirs.values()
    ]
    more = list(ours.values())[len(theirs) :]
    assert [p.name for p in more] in ([], ["seed", "stream"])
    assert all(p.kind is p.KEYWORD_ONLY for p in more)


def test_all_names_of_torch_nn_init() -> None:
    current = {name for name in nn.init.__all__ if name.endswith("_") or name == "calculate_gain"}
    assert set(NAMES) == current
    for name in nn.init.__all__:
        assert callable(getattr(face, name))
    assert face._calculate_fan_in_and_fan_out is nn.init._calculate_fan_in_and_fan_out
    with pytest.raises(AttributeError, match=r"fastinit\.torch"):
        _ = face.nothing


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn"])
@pytest.mark.parametrize(("name", "arguments", "init"), LAWS)
def test_values(name: str, arguments: dict[str, Any], init: fi.Initializer, dtype: str) -> None:
    kind = getattr(torch, dtype)
    tensor = torch.empty((40, 24), dtype=kind)
    assert getattr(face, name)(tensor, **arguments, seed=3, stream="w") is tensor
    assert same_bits(tensor, expected(init, (40, 24), kind, seed=3, stream="w"))


@pytest.mark.parametrize(
    ("name", "arguments", "law"),
    [
        ("uniform_", {"a": -1.0, "b": 3.0}, stats.uniform(-1, 4)),
        ("normal_", {"mean": 1.0, "std": 3.0}, stats.norm(1, 3)),
        ("trunc_normal_", {"std": 0.5, "a": -0.2, "b": 1.0}, stats.truncnorm(-0.4, 2, 0, 0.5)),
        ("xavier_uniform_", {"gain": 2.0}, stats.uniform(-2 * math.sqrt(6 / 1200), 4 * math.sqrt(6 / 1200))),
        ("xavier_normal_", {"gain": 2.0}, stats.norm(0, 2 * math.sqrt(2 / 1200))),
        ("kaiming_uniform_", {"a": SLOPE}, stats.uniform(-0.05, 0.1)),
        ("kaiming_normal_", {"nonlinearity": "relu"}, stats.norm(0, math.sqrt(2 / 400))),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "tanh"}, stats.norm(0, 5 / 3 / math.sqrt(800))),
    ],
)  # fmt: skip
def test_laws(name: str, arguments: dict[str, Any], law: Any) -> None:
    """Those that PyTorch documents, for 200 outputs and 100 x 2 x 2 inputs; false alarm 1e-6 each."""
    tensor = getattr(face, name)(torch.empty(200, 100, 2, 2), **arguments, seed=11)
    assert stats.kstest(tensor.numpy().ravel(), law.cdf).pvalue > 1e-6


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda dtype: torch.zeros(5, 4, 3, dtype=dtype).permute(2, 0, 1),
    "sliced": lambda dtype: torch.zeros(9, 10, 8, dtype=dtype)[::3, ::2, ::2],
    "channels last": lambda dtype: (
        torch.zeros(3, 5, 4, 1, dtype=dtype).to(memory_format=torch.channels_last).squeeze(3)
    ),
    "parameter": lambda dtype: nn.Parameter(torch.zeros(3, 5, 4, dtype=dtype)),
    "view of a parameter": lambda dtype: nn.Parameter(torch.zeros(6, 5, 4, dtype=dtype))[::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_layouts(layout: str, dtype: Any) -> None:
    tensor = LAYOUTS[layout](dtype)
    base = tensor._base if tensor._base is not None else tensor
    before = base.detach().count_nonzero()
    assert face.normal_(tensor, seed=4) is tensor
    assert same_bits(tensor.detach(), expected(fi.Normal(), (3, 5, 4), dtype, seed=4))
    assert base.detach().count_nonzero() == before + 60  # nothing beside it


def test_memory_that_is_a_negative_view() -> None:
    tensor = torch.zeros(8, dtype=torch.complex64).conj().imag
    assert tensor.is_neg()
    face.normal_(tensor, seed=4)
    assert same_bits(tensor.resolve_neg(), expected(fi.Normal(), (8,), torch.float32, seed=4))


def test_storages_can_be_resized_afterwards() -> None:
    """As FSDP does; Tensor.numpy() would forbid it."""
    tensor = face.normal_(torch.empty(3, dtype=torch.bfloat16), seed=0)
    assert tensor.resize_(10).shape == (10,)
    tensor.untyped_storage().resize_(0)
    out = face.normal_(torch.empty(0).resize_(2), seed=0)
    assert torch.cat([torch.ones(3), torch.ones(2)], out=out.resize_(5)).sum() == 5


def test_seeds_follow_torch() -> None:
    torch.manual_seed(5)
    first, second = face.normal_(torch.empty(100)), face.normal_(torch.empty(100))
    assert (first != second).all()
    torch.manual_seed(5)
    assert torch.equal(face.normal_(torch.empty(100)), first)
    torch.manual_seed(5)  # one draw a call, whatever its size
    face.uniform_(torch.empty(7, 9))
    assert torch.equal(face.normal_(torch.empty(100)), second)
    torch.manual_seed(5)
    assert not torch.equal(face.normal_(torch.empty(100), stream="other"), first)


def test_generators() -> None:
    generator = torch.Generator().manual_seed(5)
    state = torch.get_rng_state()
    given = [face.trunc_normal_(torch.empty(50), generator=generator) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    for tensor in given:
        assert torch.equal(face.trunc_normal_(torch.empty(50)), tensor)
    state = torch.get_rng_state()
    face.trunc_normal_(torch.empty(50), seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_of_a_call_is_64_bits_of_the_generator() -> None:
    torch.manual_seed(9)
    face.normal_(tensor := torch.empty(10))
    torch.manual_seed(9)
    seed = torch.empty((), dtype=torch.int64).random_(-(2**63), None).item() % 2**64
    assert same_bits(tensor, expected(fi.Normal(), (10,), torch.float32, seed=seed))


def test_no_trace_for_gradients_but_a_new_version() -> None:
    weight = nn.Parameter(torch.ones(5))
    output = (weight * weight).sum()
    version = weight._version
    face.uniform_(weight, seed=0)
    assert weight.grad_fn is None
    assert weight.requires_grad
    assert weight._version == version + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.backward()


@pytest.mark.parametrize("name", [*FUNCTIONS, "orthogonal_", "sparse_"])
@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_nothing_happens_to_tensors_without_elements(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    arguments = (0.5,) if name == "sparse_" else ()
    for tensor in (torch.empty(shape), torch.empty(5, 4, device="meta")):
        state = torch.get_rng_state()
        with warnings.catch_warnings(record=True) as ours:
            warnings.simplefilter("always")
            assert getattr(face, name)(tensor, *arguments) is tensor
        with warnings.catch_warnings(record=True) as theirs:
            warnings.simplefilter("always")
            getattr(nn.init, name)(tensor, *arguments)
        assert [str(w.message) for w in ours] == [str(w.message) for w in theirs]
        if name != "sparse_":  # PyTorch's own permutes all the same
            assert torch.equal(torch.get_rng_state(), state)


#: Calls that PyTorch refuses: ours must raise what it raises.
REFUSED: dict[str, Callable[[Any], Any]] = {
    "ends": lambda init: init.uniform_(torch.ones(3), 1.0, 0.0),
    "infinite end": lambda init: init.uniform_(torch.ones(3), 0.0, math.inf),
    "negative std": lambda init: init.normal_(torch.ones(3), 0.0, -1.0),
    "text": lambda init: init.normal_(torch.ones(3), "0"),
    "beyond float32": lambda init: init.uniform_(torch.ones(3), 0.0, 1e39),
    "vector as end": lambda init: init.uniform_(torch.ones(3), 0.0, torch.tensor([0.5])),
    "tensor as slope": lambda init: init.kaiming_normal_(torch.ones(3, 3), torch.tensor(0.5)),
    "sparse, negative std": lambda init: init.sparse_(torch.ones(3, 3), 0.5, std=-1.0),
    "no width": lambda init: init.trunc_normal_(torch.ones(3), std=0.0),
    "bounds": lambda init: init.trunc_normal_(torch.ones(3), a=1.0, b=-1.0),
    "negative gain": lambda init: init.xavier_normal_(torch.ones(3, 3), gain=-1.0),
    "negative gain, uniform": lambda init: init.xavier_uniform_(torch.ones(3, 3), gain=-1.0),
    "one dimension": lambda init: init.xavier_uniform_(torch.ones(3)),
    "no dimension": lambda init: init.kaiming_normal_(torch.ones(())),
    "mode": lambda init: init.kaiming_normal_(torch.ones(3, 3), mode="fan_avg"),
    "nonlinearity": lambda init: init.kaiming_uniform_(torch.ones(3, 3), nonlinearity="swish"),
    "slope": lambda init: init.kaiming_uniform_(torch.ones(3, 3), a=True),
    "list as slope": lambda init: init.kaiming_uniform_(torch.ones(3, 3), a=[1]),
    "generator": lambda init: init.normal_(torch.ones(3), generator=3),
    "integers": lambda init: init.normal_(torch.ones(3, dtype=torch.int32)),
    "orthogonal vector": lambda init: init.orthogonal_(torch.ones(3)),
    "sparse vector": lambda init: init.sparse_(torch.ones(3), 0.5),
    "uninitialised": lambda init: init.normal_(nn.LazyLinear(3).weight),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:mean:UserWarning")
def test_refused_as_torch_does(case: str) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever it is
        REFUSED[case](nn.init)
    with pytest.raises(type(theirs.value)) as ours:
        REFUSED[case](face)
    if case != "generator":  # found in another function there
        assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("normal_", (math.nan, 1.0)),
        ("trunc_normal_", (0.0, 1.0, 1.0, 1.0)),
        ("xavier_normal_", (0.0,)),
        ("normal_", (torch.tensor(3.0), 0.0)),
        ("uniform_", (2.0, 2.0)),
        ("sparse_", (0.0, 0.0)),
    ],
)
def test_constants_that_torch_makes(name: str, arguments: tuple[Any, ...]) -> None:
    shape = (4, 4)
    theirs = getattr(nn.init, name)(torch.empty(shape), *arguments)
    ours = getattr(face, name)(torch.empty(shape), *arguments)
    assert torch.equal(ours, theirs) or (ours.isnan().all() and theirs.isnan().all())


def test_what_float16_does_not_hold_is_torchs() -> None:
    """Infinities."""
    torch.manual_seed(0)
    theirs = nn.init.normal_(torch.empty(99, dtype=torch.float16), std=1e5)
    torch.manual_seed(0)
    ours = face.normal_(torch.empty(99, dtype=torch.float16), std=1e5)
    assert torch.equal(ours, theirs)
    assert ours.isinf().any()


def test_arguments_may_be_tensors() -> None:
    std = torch.tensor(0.5)
    first = face.normal_(torch.empty(9), std=std, seed=1).clone()
    std.fill_(2.0)
    assert torch.equal(face.normal_(torch.empty(9), std=std, seed=1), 4 * first)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: [1.0], TypeError, "must be a torch.Tensor, got list"),
        (lambda: torch.ones(1).expand(4), RuntimeError, "share memory"),
        (lambda: torch.ones(4).as_strided((3, 2), (1, 1)), RuntimeError, "share memory"),
        (lambda: torch.ones(4).to_sparse(), TypeError, "sparse_coo"),
        (lambda: torch.ones(4, 4).to_mkldnn(), TypeError, "mkldnn"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), TypeError, "nested"),
        (lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8), TypeError, "quantised"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_memory_that_cannot_be_filled(make: Callable[[], Any], error: Any, match: str) -> None:
    tensor = make()
    with pytest.raises(error, match=match):
        face.normal_(tensor)
    if error is RuntimeError:
        assert (tensor == 1).all()


def test_freed_and_inference_memory() -> None:
    tensor = torch.ones(4)
    tensor.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="memory"):
        face.normal_(tensor, seed=0)
    with torch.inference_mode():
        tensor = face.normal_(torch.empty(4), seed=0)
    assert same_bits(tensor, expected(fi.Normal(), (4,), torch.float32, seed=0))
    with pytest.raises(RuntimeError, match="inference mode"):
        face.normal_(tensor, seed=1)


def test_seed_errors() -> None:
    tensor = torch.ones(4)
    with pytest.raises(ValueError, match="seed must be an int in"):
        face.normal_(tensor, seed=-1)
    with pytest.raises(ValueError, match="seed and generator must not both"):
        face.normal_(tensor, seed=1, generator=torch.Generator())
    with pytest.raises(ValueError, match="stddev must be finite and not negative"):
        face.normal_(tensor, std=-1.0, seed=1)
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        face.xavier_normal_(tensor, seed=1)
    with pytest.raises(
        TypeError, match=r"to be filled from a seed, got a Tensor of torch\.complex64"
    ):
        face.normal_(torch.ones(4, dtype=torch.complex64), seed=1)
    assert (tensor == 1).all()


def test_values_of_torch_where_it_fills() -> None:
    """Complex numbers are not sampled here: PyTorch's values, from PyTorch's generator."""
    torch.manual_seed(2)
    theirs = nn.init.normal_(torch.empty(5, dtype=torch.complex64))
    torch.manual_seed(2)
    assert torch.equal(face.normal_(torch.empty(5, dtype=torch.complex64)), theirs)


def test_trunc_normal_warns_far_from_the_mean() -> None:
    with pytest.warns(UserWarning, match="more than 2 std outside"):
        tensor = face.trunc_normal_(torch.empty(1000), mean=9.0, a=-2.0, b=2.0, seed=0)
    law = stats.truncnorm(-11, -7, 9, 1)  # false alarm 1e-6
    assert stats.kstest(tensor.numpy(), law.cdf).pvalue > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(20, 12), (12, 20), (6, 3, 5)])
def test_orthogonal(dtype: Any, shape: tuple[int, ...]) -> None:
    tensor = face.orthogonal_(torch.empty(shape, dtype=dtype), gain=2.0, seed=1, stream="q")
    q = tensor.reshape(shape[0], -1).double()
    q = q.T if q.shape[0] < q.shape[1] else q
    error = (q.T @ q - 4 * torch.eye(q.shape[1])).abs().max()
    assert error < {torch.float32: 1e-5, torch.float64: 1e-13, torch.bfloat16: 0.06}[dtype]
    again = face.orthogonal_(torch.empty(shape, dtype=dtype), gain=2.0, seed=1, stream="q")
    assert torch.equal(again, tensor)
    other = face.orthogonal_(torch.empty(shape, dtype=dtype), gain=2.0, seed=2, stream="q")
    assert not torch.equal(other, tensor)


def test_orthogonal_is_torchs_factor_of_our_normals() -> None:
    normals = expected(fi.Normal(), (5, 3), torch.float64, seed=1)
    q, r = torch.linalg.qr(normals)
    tensor = face.orthogonal_(torch.empty(5, 3, dtype=torch.float64), seed=1)
    torch.testing.assert_close(tensor, q * r.diag().sign())


def test_sparse() -> None:
    tensor = face.sparse_(torch.empty(40, 30), 0.33, std=0.5, seed=1)
    assert ((tensor == 0).sum(0) == 14).all()  # ceil(0.33 * 40)
    normals = expected(fi.Normal(0, 0.5), (40, 30), torch.float32, seed=1)
    assert torch.equal(tensor, torch.where(tensor == 0, 0, normals))
    assert torch.equal(face.sparse_(torch.empty(40, 30), 0.33, std=0.5, seed=1), tensor)
    torch.manual_seed(0)
    first = face.sparse_(torch.empty(40, 30), 0.33)
    torch.manual_seed(0)
    assert torch.equal(face.sparse_(torch.empty(40, 30), 0.33), first)


#: Callers that follow a function of a tensor of 3 x 2, and give what they make of it.
TRACERS: dict[str, Callable[[Any], Any]] = {
    "torch.fx": lambda f: torch.fx.symbolic_trace(f).code,
    "make_fx": lambda f: make_fx(f)(torch.empty(3, 2)).code,
    "torch.jit.trace": lambda f: torch.jit.trace(f, torch.empty(3, 2), check_trace=False).code,
    "torch.func": lambda f: torch.vmap(f, randomness="different")(torch.empty(3, 2)),
    "forward-mode": lambda f: _dual(f),
}


def _dual(f: Any) -> Any:
    with forward_ad.dual_level():
        return f(forward_ad.make_dual(torch.ones(3, 2), torch.ones(3, 2)).clone())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, about its own imports
@pytest.mark.parametrize("tracer", TRACERS)
def test_traced_calls_are_torchs_own(tracer: str) -> None:
    """Its graphs, and values from its generator; a seed is an error, because the graph would miss it."""

    def follow(init: Any) -> Any:
        torch.manual_seed(3)
        return TRACERS[tracer](lambda tensor: init.normal_(tensor, std=0.5) + 1)

    theirs, ours = follow(nn.init), follow(face)
    with face.patched():
        replaced = follow(nn.init)
    if isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs)
        assert torch.equal(replaced, theirs)
    else:
        assert ours == replaced == theirs
    error: Any = TypeError if tracer == "torch.fx" else RuntimeError
    match = "got Proxy" if tracer == "torch.fx" else tracer.replace(".", r"\.")
    with pytest.raises(error, match=match):
        TRACERS[tracer](lambda tensor: face.normal_(tensor, seed=1))


@pytest.mark.filterwarnings("ignore")
def test_compiled_code_fills_as_others_do() -> None:
    compiled = torch.compile(lambda t: 2 * face.normal_(t, seed=1), backend="eager")
    assert same_bits(
        compiled(torch.empty(6)), 2 * expected(fi.Normal(), (6,), torch.float32, seed=1)
    )


def test_fake_tensors_are_left_to_torch() -> None:
    with FakeTensorMode() as mode:
        layer = nn.Linear(3, 4)
        assert face.kaiming_uniform_(layer.weight) is layer.weight
    with pytest.raises(TypeError, match="FakeTensor"):
        face.normal_(mode.from_tensor(torch.empty(3)), seed=1)


@pytest.mark.parametrize(
    "code",
    [
        "import torch; torch.nn.init.normal_ = lambda tensor: None; import fastinit.torch",
        """
import importlib, fastinit.torch
with fastinit.torch.patched():
    importlib.reload(fastinit.torch.init)""",
    ],
)
def test_import_while_torchs_functions_are_replaced(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: fastinit.torch must not be imported while torch.nn.init is replaced"
    )


def test_default_devices_do_not_matter() -> None:
    tensor = torch.empty(6)
    torch.manual_seed(1)
    first = face.normal_(tensor).clone()
    torch.manual_seed(1)
    with torch.device("meta"):
        assert torch.equal(face.normal_(tensor), first)


def test_subclasses() -> None:
    class Plain(torch.Tensor):
        pass

    seen = []

    class Watching(torch.Tensor):
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    plain = face.normal_(torch.empty(6).as_subclass(Plain), seed=1)
    assert type(plain) is Plain
    assert same_bits(
        plain.as_subclass(torch.Tensor), expected(fi.Normal(), (6,), torch.float32, seed=1)
    )
    face.normal_(torch.empty(6).as_subclass(Watching))
    assert torch.Tensor.normal_ in seen or nn.init.normal_ in seen


def test_uniform_is_half_open_in_every_dtype() -> None:
    """bfloat16 and the 8-bit floats round many values of [0, 4) to 4; the largest below are these."""
    below = {torch.float32: 4 - 2**-22, torch.bfloat16: 4 - 2**-6, torch.float16: 4 - 2**-9, torch.float8_e5m2: 3.5}  # fmt: skip
    for dtype, largest in below.items():
        x = face.uniform_(torch.empty(2**20, dtype=dtype), 0, 4).double()
        assert x.max() <= largest
        assert x.min() >= 0


@pytest.mark.parametrize(
    "fill",
    [
        lambda t: face.uniform_(t, 1.001, 1.0078125),  # the next value after 1
        lambda t: face.uniform_(t, 0.5001, 0.501),
        lambda t: face.trunc_normal_(t, 0.0, 1.0, 0.5001, 0.501),
        lambda t: face.trunc_normal_(t, a=1.0001, b=1.0002),
    ],
)
def test_no_value_between_the_bounds_is_an_error(fill: Any) -> None:
    """PyTorch's own functions give values outside."""
    with pytest.raises(ValueError, match="the dtype has no value between the bounds"):
        fill(torch.empty(9, dtype=torch.bfloat16))
