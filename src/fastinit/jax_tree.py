"""The arrays of a tree of shapes, each from the stream of its path: for Flax, Haiku and all other pytrees."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, Sharding
from jax.tree_util import DictKey, keystr, tree_flatten_with_path

from fastinit.checks import listed, shortened, shown
from fastinit.dtypes import constant_value, is_fillable, stored_dtype
from fastinit.fill import Array
from fastinit.initializers import Distribution, Initializer, VarianceScaling, ones, zeros
from fastinit.jax_arrays import fitted_sharding, key_words, make_array, named_sharding, read_key
from fastinit.rules import check_fans, check_patterns
from fastinit.streams import Seed, Stream, seed_value
from fastinit.tensor import Tensor

#: An initializer of fastinit, one of `fastinit.jax` (a function), or None.
Rule = Initializer | Callable[..., Any] | None
Rules = Mapping[str, Rule]

#: What to do about a leaf that has no fans.
FANS_ADVICE = "put another rule for it first, such as fi.zeros for a bias or fi.ones for a scale"


@dataclass(frozen=True, eq=False)
class Leaf:
    """A leaf of a tree: the texts of its keys, what it is, and Flax's innermost box around it with the keys of that."""

    keys: tuple[str, ...]
    value: Any
    box: Any = None
    box_keys: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return "/".join(self.keys)

    @property
    def is_array(self) -> bool:
        """Whether it is an array or the shape of one; functions and Python's numbers are neither."""
        return hasattr(self.value, "shape") and hasattr(self.value, "dtype")

    @property
    def has_values(self) -> bool:
        return isinstance(self.value, (jax.Array, np.ndarray, np.generic))

    @property
    def is_key(self) -> bool:
        try:
            return bool(jax.dtypes.issubdtype(self.value.dtype, jax.dtypes.prng_key))
        except TypeError:  # of a dtype that JAX does not know, PyTorch's for one
            return False


@dataclass(frozen=True, eq=False)
class Fill:
    """An array to be made."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    distribution: Distribution
    sharding: Any = None


@dataclass(frozen=True)
class PathReader:
    """The seed and the stream of a leaf; a value, so that JAX compiles equal callbacks once."""

    path: str
    seed: int | None  # None for that of the key

    def __call__(self, words: Array) -> tuple[Seed, Stream]:
        return read_key(words)[0] if self.seed is None else self.seed, self.path


@dataclass(frozen=True)
class Repeated(Initializer):
    """A number in a dtype that the kernel does not fill."""

    value: float

    def fill(self, out: Array, **ignored: Any) -> Array:
        out[...] = self.value
        return out


def leaf_paths(tree: Any) -> dict[str, Any]:
    """The paths by which `init_tree` names the leaves of a tree.

    Parameters
    ----------
    tree : pytree
        As for `init_tree`.

    Returns
    -------
    dict of str to leaf
        In the order of ``jax.tree.leaves``. A path joins the keys of dicts, the indices of sequences
        and the names of attributes by "/", as ``jax.tree_util.keystr(simple=True, separator="/")`` does;
        the boxes of Flax (``nnx.Variable``, ``nn.Partitioned``) add nothing to it. Leaves
        that have no shape and no dtype, such as functions, are left out.

    Raises
    ------
    TypeError
        A tree that is a leaf itself; keys of dicts that are neither texts nor integers.
    ValueError
        Two leaves of one path, a path that is empty, an ``nnx.Variable`` that is in the tree twice.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> shape = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    >>> list(leaf_paths({"params": {"layers": [{"kernel": shape}, {"kernel": shape}]}}))
    ['params/layers/0/kernel', 'params/layers/1/kernel']
    """
    return {leaf.path: leaf.value for leaf in _find_leaves(tree) if leaf.is_array}


def init_tree(
    tree: Any,
    *,
    seed: Any,
    rules: Rules,
    out_shardings: Any = None,
    strict: bool = True,
) -> Any:
    """Make the arrays of a tree of shapes, each from the stream of its path.

    Parameters
    ----------
    tree : pytree
        Its leaves are ``jax.ShapeDtypeStruct``, as ``jax.eval_shape`` and ``nnx.eval_shape``
        make them, or arrays. Leaves that have no shape and no dtype stay as they are.
    seed : int, numpy.random.SeedSequence, numpy.random.Generator or key
        An int is in [0, 2**64). A key of ``jax.random.key`` or ``jax.random.PRNGKey`` is the
        seed that its words spell, as for the initializers of `fastinit.jax`, and may be traced.
    rules : mapping from str to initializer or None
        What leaves become. The texts are patterns (``fnmatch``) of the paths that `leaf_paths`
        lists; the first that matches counts, and each leaf needs one. An initializer is
        one of fastinit, or one that a function of `fastinit.jax` returns, whose dtype does not
        count. None leaves an array as it is.
    out_shardings : optional
        Where arrays go: a ``NamedSharding``, or a ``PartitionSpec`` of the mesh in context; or a
        tree of these, in which one on a branch is for all leaves below; or a function of the
        path and the leaf that returns one. None in these places is the default: the
        sharding of the leaf, or that of Flax's metadata where a mesh is known; without both, arrays
        lie where JAX makes them.
    strict : bool
        Refuse patterns of initializers that match no leaf. False accepts them, for rules that
        several models share.

    Returns
    -------
    pytree
        Of the structure of `tree`, with a `jax.Array` for each leaf that has an initializer. Each
        device makes its own shard, and the values are the same for every sharding.

    Raises
    ------
    TypeError
        A tree that is a leaf itself, keys of dicts that are neither texts nor integers, a seed
        that is not given, rules or shardings of other types.
    ValueError
        A leaf that no rule covers; a pattern that matches no leaf, with the names near it; None for
        a leaf without values; an initializer that a leaf cannot have, such as one that scales by
        fans for a vector, or for more than two axes without naming them; a dtype that JAX would
        change; an abstract array of keys; two leaves of one path; a sharding that does not
        fit. Nothing is made then.

    Notes
    -----
    An array is ``initializer(shape, seed=seed, stream=path, dtype=dtype)``, and equal to the
    tensor ``fi.Tensor(path, shape, initializer, dtype)`` of a model in a file. Paths begin at `tree`:
    ``variables["params"]`` gives other values than ``variables``, of which it is a part.

    A `VarianceScaling` counts fans along the last two axes of a matrix. The inputs of an array of
    more axes cannot be told from its shape: name them with ``with_axes``, or use a function of
    `fastinit.jax` with an `in_axis` and `out_axis` that are not the default. Fans are JAX's.

    Integers take constants and `RandomIntegers`, booleans and 8-bit floats other than e4m3fn
    and e5m2 constants alone. Under
    ``jax.jit`` and the like arrays come from callbacks, and have the same values.

    Examples
    --------
    >>> import fastinit as fi, jax, jax.numpy as jnp
    >>> shapes = {"dense": {"kernel": jax.ShapeDtypeStruct((4, 3), jnp.float32),
    ...                     "bias": jax.ShapeDtypeStruct((3,), jnp.float32)}}
    >>> rules = {"*/kernel": fi.lecun_normal, "*/bias": fi.zeros}
    >>> params = init_tree(shapes, seed=0, rules=rules)
    >>> kernel = fi.lecun_normal((4, 3), seed=0, stream="dense/kernel")
    >>> bool((params["dense"]["kernel"] == kernel).all())
    True
    """
    words, number = _seed_words(seed)
    every = _find_leaves(tree)
    leaves = [leaf for leaf in every if leaf.is_array]
    _check_rules(rules, leaves, strict)
    sharding_of = _sharding_finder(out_shardings, every)
    fills = {
        leaf.path: _planned(leaf, rule, sharding_of, isinstance(words, jax.core.Tracer))
        for leaf, rule in zip(leaves, _matched(leaves, rules), strict=True)
        if rule is not None
    }
    made = {path: _make(fill, words, number) for path, fill in fills.items()}
    values = [made.get(leaf.path, leaf.value) if leaf.is_array else leaf.value for leaf in every]
    return jax.tree.unflatten(jax.tree.structure(tree), values)


def _seed_words(seed: Any) -> tuple[Any, int | None]:
    """The words of a key, traced if anything is, and the seed unless it is that of the key."""
    if seed is None:
        raise TypeError("seed must be given, got None")
    if isinstance(seed, (jax.Array, np.ndarray)) and (
        seed.ndim or jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key)
    ):
        return key_words(seed, "seed"), None
    return key_words(jax.random.key(0)), seed_value(seed)


# Paths


def _find_leaves(tree: Any) -> list[Leaf]:
    """The leaves of a tree, in JAX's order, with paths that name one array each."""
    leaves = list(_walk(tree, is_end=lambda node: False))
    if any(not leaf.keys for leaf in leaves):
        raise TypeError(
            "tree must be a pytree that names its leaves, such as a dict of shapes, got a "
            f"{type(tree).__name__}"
        )
    paths = [leaf.path for leaf in leaves if leaf.is_array]
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise ValueError(
                f"tree has two leaves of the path {shortened(path)}: rename one, so that each has "
                "a stream of its own"
            )
        if not path:
            raise ValueError("tree has a leaf whose path is empty: give it a name")
        seen.add(path)
    _check_variables(leaves)
    return leaves


def _walk(
    node: Any, is_end: Callable[[Any], bool], keys: tuple[str, ...] = (), box: Any = None
) -> Iterator[Leaf]:
    """The leaves below a node, and the nodes that are ends; boxes of Flax add no keys."""
    boxes, box_keys = _box_types(), keys

    def is_leaf(one: Any) -> bool:
        return isinstance(one, boxes) or is_end(one)

    for entries, one in tree_flatten_with_path(node, is_leaf=is_leaf)[0]:
        path = (*keys, *map(_text, entries))
        if not isinstance(one, boxes):
            yield Leaf(path, one, box, box_keys)
            continue
        children = tree_flatten_with_path(one, is_leaf=lambda child, one=one: child is not one)[0]
        for own, child in children:
            below = path if len(children) == 1 else (*path, *map(_text, own))
            yield from _walk(child, is_end, below, one)


def _box_types() -> tuple[type, ...]:
    """Flax's classes that hold an array with its metadata; those of modules that nobody imported have no objects."""
    names = (("flax.nnx", "Variable"), ("flax.core.meta", "AxisMetadata"))
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(one for one in found if one is not None)


def _text(entry: Any) -> str:
    """What one key of JAX's key paths adds to a path."""
    if not isinstance(entry, DictKey):
        return str(keystr((entry,), simple=True))
    key = entry.key
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return str(int(key))
    raise TypeError(
        f"tree must have texts or integers as keys of its dicts, got {shown(key)}; "
        "flax.traverse_util.unflatten_dict nests keys that are tuples"
    )


def _check_variables(leaves: Sequence[Leaf]) -> None:
    """Refuse a variable of NNX at two places, which would become two that differ."""
    variable = getattr(sys.modules.get("flax.nnx"), "Variable", ())
    seen: dict[int, tuple[str, ...]] = {}
    for leaf in leaves:
        if isinstance(leaf.box, variable):
            first = seen.setdefault(id(leaf.box), leaf.box_keys)
            if first != leaf.box_keys:
                raise ValueError(
                    f"tree has one nnx.Variable as {shortened('/'.join(first))} and "
                    f"{shortened('/'.join(leaf.box_keys))}: pass the state of nnx.split, which has it once"
                )


# Rules


def _check_rules(rules: Rules, leaves: Sequence[Leaf], strict: bool) -> None:
    if not isinstance(rules, Mapping):
        raise TypeError(
            f"rules must be a mapping from patterns to initializers, got {shown(rules)}"
        )
    for pattern, rule in rules.items():
        if not isinstance(pattern, str):
            raise TypeError(f"rules must be of patterns of paths, got {shown(pattern)}")
        if rule is not None and _initializer(rule) is None:
            raise TypeError(
                "rules must give None or initializers of fastinit or fastinit.jax, "
                f"got {shown(rule)} for {shown(pattern)}{_advice(rule)}"
            )
    if strict:
        patterns = [pattern for pattern, rule in rules.items() if rule is not None]
        check_patterns("rules", patterns, [leaf.path for leaf in leaves], what="leaf")


def _initializer(rule: Rule) -> Callable[[], Initializer] | None:
    """What gives a rule's initializer; None for what is none."""
    if isinstance(rule, Initializer):
        return lambda: rule
    if rule is jax.nn.initializers.zeros or rule is jax.nn.initializers.ones:
        return lambda: zeros if rule is jax.nn.initializers.zeros else ones
    found: Callable[[], Initializer] | None = getattr(rule, "fastinit_distribution", None)
    return found


def _advice(rule: Any) -> str:
    if not str(getattr(rule, "__module__", "")).endswith("nn.initializers"):
        return ""
    return (
        "; JAX's own draw from keys, not from streams: take those of fastinit.jax, or fi.Constant"
    )


def _matched(leaves: Sequence[Leaf], rules: Rules) -> list[Rule]:
    """The rule of each leaf."""
    matched, uncovered = [], []
    for leaf in leaves:
        pattern = next((one for one in rules if fnmatchcase(leaf.path, one)), None)
        if leaf.is_key and (pattern is None or rules[pattern] is not None or not leaf.has_values):
            raise ValueError(
                f"{shortened(leaf.path)} is an array of keys of jax.random, which no rule makes: leave it "
                "out of the tree (nnx.split), or pass a key that has a rule of None"
            )
        if pattern is None:
            uncovered.append(leaf.path)
        else:
            matched.append(rules[pattern])
            if rules[pattern] is None and not leaf.has_values:
                raise ValueError(
                    f"rules must not leave {shortened(leaf.path)} as it is, because it has no "
                    f"values: got None for {shown(pattern)} and a {type(leaf.value).__name__}"
                )
    if uncovered:
        raise ValueError(
            f"rules must cover each leaf, got none for {listed(uncovered)}: add patterns, such as "
            '{"*bias": fi.zeros}, or {"*": None} to keep arrays'
        )
    return matched


def _planned(leaf: Leaf, rule: Rule, sharding_of: Callable[[Leaf], Any], traced: bool) -> Fill:
    """What makes the array of a leaf; errors name the leaf."""
    shape, find = tuple(leaf.value.shape), _initializer(rule)
    assert find is not None
    try:
        initializer = find()
        is_own = isinstance(rule, Initializer)
        _check_axes(leaf.path, initializer, shape, is_own)
        # Functions of JAX count fans in their own way, which files do not know.
        plain = initializer if is_own else initializer.resolve(shape)
        dtype = np.dtype(leaf.value.dtype)
        tensor = Tensor(leaf.path, shape, plain, dtype.name)
        if is_fillable(dtype.name):
            tensor.prepare()
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(f"JAX makes {dtype.name} only where jax_enable_x64 is set")
        sharding = _fitted(leaf, sharding_of(leaf), traced)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{shortened(leaf.path)}: {error}") from error
    return Fill(leaf.path, shape, dtype, tensor.resolve(), sharding)


def _check_axes(path: str, initializer: Initializer, shape: tuple[int, ...], is_own: bool) -> None:
    """Refuse to count fans along axes that nobody named, but for those of matrices."""
    if not isinstance(initializer, VarianceScaling):
        return
    axes = (initializer.in_axis, initializer.out_axis, initializer.batch_axis)
    is_default = axes == ((None, None, ()) if is_own else ((-2,), (-1,), ()))
    if is_own or is_default:
        check_fans(path, initializer, shape, FANS_ADVICE)
    if is_default and len(shape) > 2:
        raise ValueError(
            f"an initializer that scales by fans must name the axes of shape {shape}: "
            'fi.he_normal.with_axes("in_out") for a convolution (kernel x in x out), '
            ".with_axes(in_axis=0, out_axis=(1, 2)) for an attention of in x heads x dim, "
            ".with_axes(in_axis=1, out_axis=2, batch_axis=0) for a stack of layers"
        )


# Shardings


def _sharding_finder(out_shardings: Any, leaves: Sequence[Leaf]) -> Callable[[Leaf], Any]:
    """What gives the sharding of a leaf that `out_shardings` asks for."""
    is_leaf = jax.tree.structure(out_shardings) == jax.tree.structure(0)
    if callable(out_shardings) and is_leaf:
        return lambda leaf: out_shardings(leaf.path, leaf.value)
    given = {leaf.keys: leaf.value for leaf in _walk(out_shardings, lambda node: node is None)}
    branches = {leaf.keys[:n] for leaf in leaves for n in range(len(leaf.keys) + 1)}
    for keys, sharding in given.items():
        if keys not in branches and sharding is not None:
            name = shortened("/".join(keys))
            raise ValueError(f"out_shardings has a sharding for {name}, which tree does not have")

    def find(leaf: Leaf) -> Any:
        for n in range(len(leaf.keys) + 1):
            if leaf.keys[:n] in given:
                return given[leaf.keys[:n]]
        raise ValueError("out_shardings must have a sharding or None for each leaf, got none")

    return find


def _fitted(leaf: Leaf, asked: Any, traced: bool) -> Any:
    """The sharding of a leaf, with its mesh, or None for where JAX makes arrays."""
    sharding = _own_sharding(leaf) if asked is None else asked
    name = "its sharding" if asked is None else "out_shardings"
    on_device = isinstance(sharding, Sharding) and not isinstance(sharding, NamedSharding)
    if sharding is not None and (traced or not on_device):
        sharding = named_sharding(name, sharding, traced)
    if sharding is not None:
        shape = tuple(leaf.value.shape)
        sharding = fitted_sharding(name, sharding, shape)
        sharding.shard_shape(shape)  # JAX's error for a shape that it does not divide
    return sharding


def _own_sharding(leaf: Leaf) -> Any:
    """The sharding that a leaf has, or that Flax's metadata gives it."""
    value = leaf.value
    if isinstance(value, jax.core.Tracer):
        return jax.typeof(value).sharding
    sharding = getattr(value, "sharding", None)
    if sharding is not None and getattr(value, "committed", True):
        return sharding
    spec, mesh = _metadata(leaf.box)
    if spec is None or (mesh is None and jax.sharding.get_abstract_mesh().empty):
        return None
    return NamedSharding(mesh, spec) if isinstance(mesh, jax.sharding.Mesh) else spec


def _metadata(box: Any) -> tuple[Any, Any]:
    """The sharding of Flax's metadata and its mesh, each or both None. Names of logical axes become those of the mesh."""
    nnx, linen = sys.modules.get("flax.nnx"), sys.modules.get("flax.linen")
    if nnx is not None and isinstance(box, nnx.Variable):
        metadata = box.get_metadata()
        given = metadata.get("out_sharding")
        if given is None or isinstance(given, Sharding):
            return given, None
        return nnx.get_partition_spec(box).get_value(), metadata.get("mesh")
    if not hasattr(box, "get_partition_spec"):
        return None, None
    spec = box.get_partition_spec()
    if linen is not None and isinstance(box, linen.LogicallyPartitioned):
        spec = linen.logical_to_mesh_axes(spec, box.rules)
    return spec, getattr(box, "mesh", None)


# Values


def _make(fill: Fill, words: Any, seed: int | None) -> Any:
    """The array of a leaf."""
    what: Initializer = fill.distribution
    value = constant_value(fill.distribution)
    if value is not None and not is_fillable(fill.dtype.name):
        is_integer = stored_dtype(fill.dtype.name).is_integer
        what = Repeated(int(value) if is_integer else value)
    read = PathReader(fill.path, seed)
    return make_array(what, fill.shape, fill.dtype, words, fill.sharding, read)
