"""The weights of a built Keras model, each from the stream of its path."""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np

from fastinit._kernel import DTYPE_SIZES
from fastinit.checks import shortened, shown
from fastinit.fill import Array, expected_dtypes
from fastinit.initializers import Constant, Initializer, Normal, VarianceScaling, prepare
from fastinit.rules import check_matches
from fastinit.streams import Seed, seed_value

#: Keras's initializers whose values depend on arguments, shape and dtype alone; Keras makes them.
DETERMINISTIC = ("Zeros", "Ones", "Constant", "Identity", "STFT")

Rules = Mapping[str | type, Any]
#: Axes of inputs and of outputs.
Axes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Orthogonal:
    """An orthogonal matrix as Keras makes it, of normal values of this library."""

    gain: float

    def make(self, shape: tuple[int, ...], dtype: str, seed: int, stream: str) -> Array:
        """Decompose by NumPy in float64, so that all backends get the same values."""
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = Normal()(
            (max(rows, columns), min(rows, columns)),
            seed=seed,
            stream=stream,
            dtype="float64" if dtype == "float64" else "float32",
        )
        q, r = np.linalg.qr(normal.astype(np.float64))
        q *= np.sign(np.diag(r))
        matrix: Array = (self.gain * (q if rows >= columns else q.T)).reshape(shape)
        return matrix.astype(keras.ops.convert_to_numpy(keras.ops.zeros((), dtype)).dtype)


#: What a weight gets: a distribution, an orthogonal matrix, or values that Keras made.
Fill = Initializer | Orthogonal | Any


@dataclass(frozen=True)
class Weight:
    """A weight of a model: where it was found first, and the layers around it from its owner outwards."""

    path: str
    variable: Any
    layers: tuple[Any, ...]
    names: tuple[str, ...]  # of the weight within each of these layers

    @property
    def owner(self) -> Any:
        return self.layers[0]


def variable_paths(model: Any) -> dict[str, Any]:
    """The paths by which `init_model_` names the weights of a model.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        It must be built. Seed generators, metrics and the optimizer have no weights.

    Returns
    -------
    dict of str to keras.Variable
        In the order of the layers. A path has the names of the layers within `model` and of the
        variable, such as ``"encoder/attention/query/kernel"``; that of `model` itself is left
        out. A weight that several layers share is that of the first.

    Raises
    ------
    TypeError
        What is no layer.
    ValueError
        A model, or a layer in it, that is not built; two weights of one path.

    Notes
    -----
    Keras's own paths have numbers that count the layers of the process (``dense_7``), and need not
    be unique. Here such numbers count within a layer: of siblings that Keras named after
    their class the first is ``dense``, and the others are ``dense.1``, ``dense.2``, ... in the order
    of Keras's numbers. Names that you give stay, but for a number that follows
    the class in the same way; of siblings of one name the others get ``.1`` and so on too. In
    ``forward_`` and ``backward_`` names of `Bidirectional` the number of the class goes likewise.

    Examples
    --------
    >>> import keras
    >>> layers = [keras.layers.Dense(3), keras.layers.Dense(2, name="head")]
    >>> list(variable_paths(keras.Sequential([keras.Input((4,)), *layers])))
    ['dense/kernel', 'dense/bias', 'head/kernel', 'head/bias']
    """
    _check_built(model)
    return {weight.path: weight.variable for weight in _find_weights(model)[0]}


def init_model_(model: Any, *, seed: Seed, rules: Rules | None = None, strict: bool = True) -> Any:
    """Initialise the weights of a built model, each from the stream of its path.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        It must be built: call it on data, build it, or give it a `keras.Input`.
    seed : int, numpy.random.SeedSequence or numpy.random.Generator
        An int is in [0, 2**64).
    rules : mapping from str or type to initializer or None, optional
        What weights get. A text is a pattern (``fnmatch``) of the paths that `variable_paths`
        lists; a type of layers stands for the trainable weights that such layers own, but
        those with "bias" in their name. The first that matches counts, None leaves the weight as
        it is. An initializer is one of this library or of Keras, whose seed does not count. Fans
        are counted as Keras counts them for the layer; axes that an initializer names hold.
    strict : bool
        Whether patterns that match nothing are an error, but for those that leave weights as they
        are. False allows rules that several models share.

    Returns
    -------
    keras.Model or keras.layers.Layer
        `model` itself.

    Raises
    ------
    TypeError
        A model that is no layer, a seed that is not given, rules of other types, a rule for a weight
        of a dtype that this library does not fill.
    ValueError
        A layer that is not built; a pattern that matches nothing; a type of layers that are
        in the model and own no weights; an initializer that a weight cannot have, one that scales
        by fans what has fewer than two axes among them; a weight without a rule whose own
        initializer is not known. Nothing is written then.

    Notes
    -----
    A weight is ``initializer(shape, seed=seed, stream=path, dtype=dtype)``, equal on all backends, and
    with ``keras.distribution`` on JAX each device makes its own shard.

    Weights without a rule get what their layer initialises them with (``kernel_initializer``
    and so on): the layer is made again from its config, without memory for its weights, to learn
    what that is. Known are Keras's initializers and those of `fastinit.keras`, and the biases of
    LSTMs. Rules are needed for weights of layers without a config, of layers that use functions
    or initializers of their own, for those of LoRA, and for quantised layers.

    Orthogonal matrices are decomposed by NumPy, from the normal values of the stream: their last bits
    can depend on the machine. Weights of layers with a method ``adapt``, such as `Normalization`,
    come from data and are left as they are unless a rule names them; so are seed generators, metrics
    and the optimizer.

    Examples
    --------
    >>> import fastinit as fi, keras
    >>> layers = [keras.layers.Embedding(1000, 64), keras.layers.Dense(64, name="up")]
    >>> model = keras.Sequential([keras.Input((8,)), *layers])
    >>> rules = {keras.layers.Embedding: fi.Normal(0, 0.02), "up/kernel": fi.he_normal}
    >>> model = init_model_(model, seed=0, rules=rules)
    """
    if seed is None:
        raise TypeError("seed must be given, got None")
    value = seed_value(seed)
    _check_built(model)
    weights, tied = _find_weights(model)
    rules = _checked_rules(rules or {})
    if strict:
        check_matches(rules, [weight.path for weight in weights], tied)
    _check_types(rules, model, weights)
    known: dict[int, Any] = {}
    plan: list[tuple[Weight, Fill]] = []
    for weight in weights:
        key = next((key for key in rules if _matches(key, weight)), None)
        if key is not None and rules[key] is not None:
            plan.append((weight, _ruled(weight, rules[key])))
        elif key is None and not hasattr(weight.owner, "adapt"):
            plan.append((weight, _own(weight, known)))
    for weight, fill in plan:
        weight.variable.assign(_make(weight, fill, value))
    return model


# Paths


def _check_built(model: Any) -> None:
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model must be a keras.Model or a layer, got {type(model).__name__}")
    for names, layers in _walk(model):
        if not layers[0].built:
            name = shortened("/".join(names) or model.name)
            raise ValueError(
                f"model must be built, and {name} is not: call the model on data, or build that layer"
            )


def _find_weights(model: Any) -> tuple[list[Weight], dict[str, str]]:
    """The weights of a model, and further paths of shared ones with those that count."""
    found: dict[int, Weight] = {}
    paths: dict[str, int] = {}
    tied: dict[str, str] = {}
    for above, layers in _walk(model):
        own = _own_weights(layers[0])
        for name, variable in zip(_names(own), own, strict=True):
            parts = (*above, name)
            within = tuple("/".join(parts[k:]) for k in range(len(above), -1, -1))
            first = found.setdefault(id(variable), Weight(within[-1], variable, layers, within))
            if first.path != within[-1]:
                tied[within[-1]] = first.path
            elif paths.setdefault(first.path, id(variable)) != id(variable):
                raise ValueError(
                    f"two weights have the path {shortened(first.path)}: rename a layer"
                )
    return list(found.values()), tied


def _walk(
    layer: Any, names: tuple[str, ...] = (), above: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """The names that lead to a layer, with it and those above; then all below it. Shared ones come again."""
    layers = (layer, *above)
    yield names, layers
    below = _sublayers(layer)
    for name, sublayer in zip(_names(below), below, strict=True):
        if not any(sublayer is one for one in layers):
            yield from _walk(sublayer, (*names, name), layers)


def _sublayers(layer: Any) -> list[Any]:
    layers: list[Any] = layer._flatten_layers(include_self=False, recursive=False)
    return layers


def _own_weights(layer: Any) -> list[Any]:
    """The weights that a layer owns and its sublayers do not."""
    below = {id(variable) for one in _sublayers(layer) for variable in one.weights}
    return [variable for variable in layer.weights if id(variable) not in below]


def _names(siblings: Sequence[Any]) -> list[str]:
    """Names of layers or variables that differ among these siblings and depend on nothing else."""
    families = defaultdict(list)
    for position, one in enumerate(siblings):
        base, number = _family(one)
        families[base].append((number, position))
    names = [""] * len(siblings)
    for base, members in families.items():
        for rank, (_, position) in enumerate(sorted(members)):
            names[position] = f"{base}.{rank}" if rank else base
    return names


def _family(one: Any) -> tuple[str, int]:
    """A name without the number that Keras gave it, and that number."""
    name: str = one.name
    base, number = name, 0
    if match := re.fullmatch(r"(.*)_([1-9]\d*)", name, re.DOTALL):
        base, number = match[1], int(match[2])
    if isinstance(one, keras.Variable):
        # Keras names those after their class, which differs between backends.
        automatic = re.fullmatch(r"(\w+_)?variable", base)
        return ("variable", number) if automatic else (name, 0)
    given = re.sub("^(forward|backward)_", "", base)
    return (base, number) if given.replace("_", "") == type(one).__name__.lower() else (name, 0)


# Rules


def _checked_rules(rules: Rules) -> Rules:
    for key, rule in rules.items():
        if not isinstance(key, (str, type)):
            raise TypeError(f"rules must be of patterns or types of layers, got {shown(key)}")
        if rule is not None and not isinstance(rule, (Initializer, keras.initializers.Initializer)):
            raise TypeError(
                "rules must give initializers of fastinit or Keras, or None, "
                f"got {shown(rule)} for {shown(key)}"
            )
    return rules


def _check_types(rules: Rules, model: Any, weights: Sequence[Weight]) -> None:
    """Refuse types of layers whose weights all belong to their sublayers: their rules would do nothing."""
    layers = [around[0] for _, around in _walk(model) if around[0].weights]
    for key, rule in rules.items():
        if not isinstance(key, type) or rule is None:
            continue
        if any(isinstance(weight.owner, key) for weight in weights):
            continue
        layer: Any = next((one for one in layers if isinstance(one, key)), None)
        if layer is not None:
            held = {id(variable) for variable in layer.weights}
            owners = {type(w.owner).__name__ for w in weights if id(w.variable) in held}
            raise ValueError(
                f"rules: {key.__name__} owns no weights: those of {shortened(layer.name)} belong to "
                f"{', '.join(sorted(owners))}; name these types, or use patterns of paths"
            )


def _matches(key: str | type, weight: Weight) -> bool:
    if isinstance(key, str):
        return fnmatchcase(weight.path, key)
    # A frozen layer keeps its trainable weights in the list of these.
    made_trainable = any(v is weight.variable for v in weight.owner._trainable_variables)
    return isinstance(weight.owner, key) and made_trainable and "bias" not in weight.variable.name


def _ruled(weight: Weight, rule: Any) -> Fill:
    """What a rule gives a weight."""
    variable = weight.variable
    scales = isinstance(rule, (VarianceScaling, keras.initializers.VarianceScaling))
    if scales and variable.ndim < 2:
        raise ValueError(
            f"rules must not scale by fans what has fewer than 2 axes, got {shown(rule)} "
            f"for {shortened(weight.path)} of shape {tuple(variable.shape)}"
        )
    if variable.dtype not in DTYPE_SIZES:
        raise TypeError(
            f"{shortened(weight.path)} must be of {expected_dtypes()} to have a rule, "
            f"got {variable.dtype}"
        )
    fill = _known(weight, rule, _einsum_axes(weight) if scales else None)
    if fill is None:
        raise ValueError(
            "rules must give initializers that fastinit or Keras have, "
            f"got {shown(rule)} for {shortened(weight.path)}"
        )
    return fill


def _einsum_axes(weight: Weight) -> Axes | None:
    """The axes of inputs and of outputs that Keras counts in the kernel of an `EinsumDense`."""
    layer = weight.owner
    if not isinstance(layer, keras.layers.EinsumDense) or weight.variable.name != "kernel":
        return None
    config = {"kernel_initializer": keras.initializers.GlorotUniform()}
    initializer = _made_again(layer, config)[weight.names[0]].variable._initializer
    return tuple(initializer.input_axes), tuple(initializer.output_axes)


# What layers say


def _own(weight: Weight, known: dict[int, Any]) -> Fill:
    """What its layer initialises a weight with; `known` keeps what layers gave before, or their error."""
    layer = weight.owner
    if getattr(layer, "quantization_mode", None) not in (None, "float8"):
        raise _needs_rule(weight, "its layer is quantised")
    if getattr(layer, "lora_enabled", False) and "lora_" in weight.variable.name:
        raise _needs_rule(weight, "configs do not keep the initializers of LoRA")
    initializer = _recorded(weight, known)
    if weight.variable.name == "bias" and getattr(layer, "unit_forget_bias", False):
        # Of an LSTM: a function of the layer, which draws nothing if bias_initializer does not.
        if type(layer.bias_initializer).__name__ in ("Zeros", "Ones", "Constant"):
            return initializer(weight.variable.shape, dtype=weight.variable.dtype)
        raise _needs_rule(weight, f"it is made of {shown(layer.bias_initializer)} and ones")
    fill = _known(weight, initializer, None)
    if fill is None:
        raise _needs_rule(weight, f"its layer's initializer is {shown(initializer)}")
    return fill


def _needs_rule(weight: Weight, reason: str) -> ValueError:
    return ValueError(
        f"{shortened(weight.path)} needs a rule, because its own initializer is not known: {reason}"
    )


def _recorded(weight: Weight, known: dict[int, Any]) -> Any:
    """The initializer of a weight, from its owner or, where that has no config, from a layer around it."""
    for layer, name in zip(weight.layers, weight.names, strict=True):
        if id(layer) not in known:
            try:
                known[id(layer)] = _made_again(layer, {})
            except Exception as error:  # of the code of any layer
                known[id(layer)] = error
        made = known[id(layer)]
        again = None if isinstance(made, Exception) else made.get(name)
        if (
            again is not None
            and type(again.owner) is type(weight.owner)
            and again.variable.shape == weight.variable.shape
        ):
            return again.variable._initializer
    cause = known[id(weight.owner)]
    if isinstance(cause, Exception):
        words = " ".join(str(cause).split())
        reason = f"its layer cannot be made from its config: {shown(words)}"
        raise _needs_rule(weight, reason) from cause
    raise _needs_rule(weight, "a layer made from the config of its layer has no such weight")


def _made_again(layer: Any, changes: dict[str, Any]) -> dict[str, Weight]:
    """The weights of a layer that is made again without memory, by their names within it."""
    config = layer.get_config()
    for key in config:
        # Configs of initializers can lack arguments (Identity), or need classes to be registered.
        if key.endswith("initializer") and callable(getattr(layer, key, None)):
            config[key] = getattr(layer, key)
    with _recording():
        again = type(layer).from_config(config | changes)
        again.build_from_config(layer.get_build_config())
    return {weight.path: weight for weight in _find_weights(again)[0]}


@contextmanager
def _recording() -> Iterator[None]:
    """Variables that are made here keep their initializers and get no memory; Keras and Python forget them."""
    from keras.src.backend.common import global_state

    waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    numbers = global_state.get_global_attribute(
        "object_name_uids", defaultdict(int), set_to_default=True
    )
    before, names, state = len(waiting), dict(numbers), random.getstate()
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        del waiting[before:]
        numbers.clear()
        numbers.update(names)
        random.setstate(state)


def _known(weight: Weight, initializer: Any, axes: Axes | None) -> Fill | None:
    """What an initializer gives a weight, or None where it is none that fastinit or Keras have."""
    shape, dtype = tuple(weight.variable.shape), weight.variable.dtype
    try:
        if not isinstance(initializer, Initializer):
            initializer = _from_keras(initializer, shape, dtype, axes)
        elif isinstance(initializer, VarianceScaling) and initializer.in_axis is None and axes:
            initializer = initializer.with_axes(in_axis=axes[0], out_axis=axes[1])
        if isinstance(initializer, Initializer):
            prepare(initializer, shape, dtype)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{shortened(weight.path)}: {error}") from error
    return initializer


def _from_keras(
    initializer: Any, shape: tuple[int, ...], dtype: str, axes: Axes | None
) -> Fill | None:
    """What an initializer of Keras or of `fastinit.keras` gives a weight."""
    from fastinit import keras as integration

    name = type(initializer).__name__
    ours: Any = getattr(integration, name, None)
    if type(initializer) not in (ours, getattr(keras.initializers, name, None)):
        return None
    if name in integration.__all__:
        config = {**initializer.get_config(), "seed": 0}
        if axes and (config["input_axes"] is None or config["output_axes"] is None):
            config["input_axes"], config["output_axes"] = axes
        distribution: Initializer = ours.from_config(config)._distribution(shape)
        return distribution
    if name == "Orthogonal":
        if len(shape) < 2:
            raise ValueError(f"orthogonal matrices need at least 2 axes, got shape {shape}")
        return Orthogonal(float(initializer.gain))
    if name in ("Zeros", "Ones") and dtype in DTYPE_SIZES:
        return Constant(float(name == "Ones"))
    return initializer(shape, dtype=dtype) if name in DETERMINISTIC else None


# Values


def _make(weight: Weight, fill: Fill, seed: int) -> Any:
    """The tensor of the backend for a weight."""
    from fastinit import keras as integration

    shape, dtype = tuple(weight.variable.shape), weight.variable.dtype
    if isinstance(fill, Orthogonal):
        return integration.to_backend(fill.make(shape, dtype, seed, weight.path))
    if not isinstance(fill, Initializer):
        return fill
    if keras.config.backend() == "jax":
        return _jax_array(weight, fill, seed)
    return integration.to_backend(fill(shape, seed=seed, stream=weight.path, dtype=dtype))


def _jax_array(weight: Weight, fill: Initializer, seed: int) -> Any:
    """An array on the devices of the weight's value; each device makes its shard."""
    import jax

    from fastinit.jax_arrays import make_array

    old = weight.variable.value
    named = isinstance(old.sharding, jax.sharding.NamedSharding)
    made = make_array(
        fill,
        tuple(old.shape),
        old.dtype,
        np.zeros(2, np.uint32),  # what a key would be: seed and stream are known
        old.sharding if named else None,
        lambda _: (seed, weight.path),
    )
    return made if made.devices() == old.devices() else jax.device_put(made, old.sharding)
