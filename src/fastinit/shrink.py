"""Hugging Face configs to configs of the same architecture with small sizes, by the names of their fields."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

Config = dict[str, Any]
#: Bytes of a config's model, or None if no model can be built from it.
Measure = Callable[[Config], "int | None"]

#: The keys that lead to a field.
Path = tuple[Any, ...]

#: By how much widths are divided, in the order in which that is tried.
FACTORS = (16, 8, 32, 4, 64, 2, 1)
#: The parts of a config that are reduced, and fewer where all together cannot be built.
PARTS = ("layers", "widths", "experts", "vocabulary")
#: The same, with fewer heads in place of narrower heads.
FEWER_HEADS = ("layers", "widths", "heads", "experts", "vocabulary")
#: How many configs are tried at most, and for how long.
TRIES, SECONDS = 300, 60.0
#: How many layers a small model has at most, where fewer would lack one of the kinds of layers.
MOST_LAYERS = 12
FEW_EXPERTS = 8
VOCABULARY = 1024
#: Keys of generic tables, whose numbers are no sizes.
OPAQUE = re.compile(
    r"^(id2label|label2id|quantization_config|task_specific_params|.*vocabulary_map|.*_token_map)$"
)

LAYERS = re.compile(
    r"^(n_?layers?|n_blocks|depths?|layers|(.*_)?num_(\w+_)?(layers|blocks|groups_layers)|(.*_)?(encoder|decoder)_layers"
    r"|(.*_)?depths?|(.*_)?n_layers?|(.*_)?layers_per_\w+|\w*num_hidden_layers|num_\w*_hidden_layers|blocks)$"
)
INDICES = re.compile(r"(indices|indexes|_idx|_ids|layers|_index|_at)$")
PERIOD = re.compile(
    r"(_period|_interval|_every\w*|_every_n_layers|_step|_pattern|_freq|_frequency)$"
)
WIDTH = re.compile(
    r"hidden|embed|model|dim|width|channel|intermediate|ffn|d_ff|inner|n_embd|d_kv|rank|bottleneck|units|feature"
    r"|proj|output_size|input_size|filters?|mlp|head_size|adapter|lru|section|d_head|_size$|^d_"
)
NO_WIDTH = re.compile(
    r"layer(?!_?(dim|width|channels))|heads|^num_(?!channels$|filters)|_num_|^n_(?!embd|inner)|image|^input_size$|patch|vocab|kernel|stride|window|position"
    r"|drop|prob|eps|std|scale|ratio|multiple|token|type|groups?|^max_|^min_|label|index|expand|factor|rate"
    r"|levels|chunk|crop|context|tile|block_size|frame|batch|grid|shape|sample|length|codebook_size|cache"
    r"|bias|version|_act|downsampl|upsampl|pool|theta|temperature|resolution|hop|fft|mel|span|group_size"
    r"|merge|pixel|range|padding|base|memory|fpn_num|dilat|cardinality|^num_channels$|^in_channels$|in_chans"
)
HEADS = re.compile(r"(^|_)heads?$")
HEAD_WIDTH = re.compile(r"head_dim|d_kv|head_size|d_head|section")
EXPERTS = re.compile(
    r"^(\w*_)?(num|n)_(\w+_)?experts$|^(\w*_)?(moe_)?num_experts$|^n_routed_experts$|^num_local_experts$"
)
CHOSEN_EXPERTS = re.compile(
    r"experts_per_tok|moe_top_?k|experts_per_token|^top_k_experts|num_selected_experts|^moe_k$"
)
VOCAB = re.compile(
    r"vocab_size|vocabulary_size|n_vocab|^codebook_size$|num_embeddings$|bigram_vocab|num_buckets$"
)
TOKENS = re.compile(r"token_ids?$|token_index$|_token$|^(pad|bos|eos|sep|cls|mask|blank)_(id|idx)$")
POSITIONS = re.compile(
    r"^(\w*_)?(max_position_embeddings|max_source_positions|max_target_positions|n_positions|n_ctx|max_seq_len|max_2d_position_embeddings)$"
)


def shrink(config: Config, measure: Measure, limit: int) -> Config | None:
    """A config of the same architecture whose model takes at most `limit` bytes.

    Parameters
    ----------
    config : dict
        All fields of the config, those of its sub-configs too.
    measure : callable
        The bytes that the model of a config takes, or None if none can be built.
    limit : int
        The most bytes.

    Returns
    -------
    dict or None
        None where no config was found in the tries and time allowed.
    """
    search = _Search(measure, limit)
    for candidate in _candidates(config):
        if search.take(candidate) or search.spent:
            break
    if search.best is None:
        search.take(config)
    _reduce_one_by_one(search)
    return search.best if search.done else None


class _Search:
    """The smallest config so far, and what may still be tried."""

    def __init__(self, measure: Measure, limit: int) -> None:
        self._measure, self._limit = measure, limit
        self._tries, self._end = TRIES, time.monotonic() + SECONDS
        self.best: Config | None = None
        self.bytes: int | None = None

    @property
    def done(self) -> bool:
        return self.bytes is not None and self.bytes <= self._limit

    @property
    def spent(self) -> bool:
        return self._tries <= 0 or time.monotonic() > self._end

    def take(self, config: Config) -> bool:
        """Try a config; True when it is small enough."""
        self._tries -= 1
        found = self._measure(copy.deepcopy(config))
        if found is not None and (self.bytes is None or found < self.bytes):
            self.best, self.bytes = config, found
        return self.done


def _candidates(config: Config) -> Iterator[Config]:
    for factor in FACTORS:
        yield _smaller(config, factor, PARTS)
    for factor in FACTORS:
        yield _smaller(config, factor, FEWER_HEADS)
    for left_out in PARTS:
        for factor in FACTORS:
            yield _smaller(config, factor, tuple(part for part in PARTS if part != left_out))


def _reduce_one_by_one(search: _Search) -> None:
    """Divide the numbers of the best config, the largest first, as long as that makes it smaller.

    Equal numbers are divided together first, because many must stay equal.
    """
    progress = True
    while progress and not search.done and search.best is not None:
        progress = False
        for paths in _equal_numbers(search.best):
            progress |= _reduce(search, paths)


def _reduce(search: _Search, paths: list[Path]) -> bool:
    """Divide one number that several fields have; True if that made the model smaller."""
    for divisor in (8, 2):
        if search.done or search.spent or search.best is None:
            return False
        candidate, before = copy.deepcopy(search.best), search.bytes
        for path in paths:
            _set(candidate, path, divisor)
        search.take(candidate)
        if search.bytes != before:
            return True
    return False


def _equal_numbers(config: Config) -> list[list[Path]]:
    """The fields of each number, and each field by itself; the largest numbers first."""
    fields: dict[int, list[Path]] = {}
    for path, value in _numbers(config):
        fields.setdefault(value, []).append(path)
    groups = [fields[value] for value in sorted(fields, reverse=True)]
    return groups + [[path] for group in groups if len(group) > 1 for path in group]


def _numbers(table: Any, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """The numbers that may be divided, and the keys that lead to them."""
    items = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in items:
        if isinstance(table, dict) and (
            not isinstance(key, str) or OPAQUE.match(key) or TOKENS.search(key)
        ):
            continue
        if isinstance(value, (dict, list)):
            yield from _numbers(value, (*path, key))
        elif isinstance(value, int) and not isinstance(value, bool) and value > 7:
            yield (*path, key), value


def _set(table: Any, path: Path, divisor: int) -> None:
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = max(1, table[path[-1]] // divisor)


def _smaller(config: Config, factor: int, parts: tuple[str, ...]) -> Config:
    """The config with widths divided by `factor`, and few layers, experts and tokens."""
    if not all(isinstance(key, str) for key in config):  # numbers, such as those of layers
        return {
            key: _smaller(value, factor, parts) if isinstance(value, dict) else value
            for key, value in config.items()
        }
    result = {key: _smaller_value(key, value, factor, parts) for key, value in config.items()}
    if "layers" in parts:
        _few_layers(result)
    if "vocabulary" in parts:
        _fit_tokens(result)
    return result


def _smaller_value(key: str, value: Any, factor: int, parts: tuple[str, ...]) -> Any:
    if OPAQUE.match(key):
        return value
    if isinstance(value, dict):
        return _smaller(value, factor, parts)
    if HEAD_WIDTH.search(key) and "heads" in parts:
        return value
    if key.endswith("section") and isinstance(value, list) and "widths" in parts:
        return _smaller_sections(value, factor)
    if isinstance(value, list):
        return [_smaller_value(key, item, factor, parts) for item in value]
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if VOCAB.search(key) or POSITIONS.match(key):
        return min(value, VOCABULARY) if "vocabulary" in parts else value
    if EXPERTS.match(key):
        return min(value, FEW_EXPERTS) if "experts" in parts else value
    if CHOSEN_EXPERTS.search(key):
        return min(value, 2) if "experts" in parts else value
    if key in ("n_group", "topk_group"):
        return min(value, 2 if key == "n_group" else 1) if "experts" in parts else value
    if HEADS.search(key) and "heads" in parts:
        return max(1, value // factor)
    if WIDTH.search(key) and not NO_WIDTH.search(key) and "widths" in parts:
        return value // factor if value >= factor else value
    return value


def _smaller_sections(sections: list[Any], factor: int) -> list[Any]:
    """Sections of a width, which together stay that width."""
    if not all(isinstance(size, int) for size in sections):
        return sections
    smaller = [size // factor for size in sections]
    return [*smaller[:-1], sum(sections) // factor - sum(smaller[:-1])]


def _few_layers(table: Config) -> None:
    """Keep as many layers as show all kinds of layers, in the tables of one config."""
    for key, value in list(table.items()):
        if not LAYERS.match(key) or isinstance(value, bool):
            continue
        if isinstance(value, list) and all(isinstance(n, int) for n in value):
            if (
                len(value) > 1
                and sorted(value) == value
                and len(set(value)) == len(value)
                and "depth" not in key
            ):
                continue  # indices of layers
            table[key] = [min(n, 2) for n in value]
        elif isinstance(value, int) and value > 2:
            _keep_layers(table, key, value)


def _keep_layers(table: Config, key: str, old: int) -> None:
    new = min(old, _layers_needed(table, old))
    table[key] = new
    for name, value in list(table.items()):
        if isinstance(value, list) and len(value) == old and name != key:
            table[name] = value[:new]
        elif isinstance(value, list) and _are_indices(name, value, old):
            table[name] = _fewer_indices(value, old, new)
        elif _is_by_layer(name, value):
            table[name] = {layer: one for layer, one in value.items() if int(layer) < new}
        elif name in ("first_k_dense_replace", "num_dense_layers") and isinstance(value, int):
            table[name] = min(value, 1)
    if isinstance(table.get("out_indices"), list):
        for name in ("out_features", "stage_names"):
            table.pop(name, None)


def _layers_needed(table: Config, old: int) -> int:
    needed = 2
    for name, value in table.items():
        if isinstance(value, list) and len(value) == old:
            kinds = [repr(item) for item in value]
            needed = max(needed, *(kinds.index(kind) + 1 for kind in set(kinds)))
        elif isinstance(value, list) and _are_indices(name, value, old):
            needed = max(needed, len(value) + 1)
        elif _is_by_layer(name, value):
            needed = max(needed, 1 + min(map(int, value)))
        elif (
            PERIOD.search(name)
            and isinstance(value, int)
            and not isinstance(value, bool)
            and 0 < value <= old
        ):
            needed = max(needed, value)
    return min(needed, MOST_LAYERS)


def _is_by_layer(name: str, value: Any) -> bool:
    """Whether a table has the numbers of layers as its keys."""
    return (
        "layer" in name
        and isinstance(value, dict)
        and bool(value)
        and all(str(key).isdecimal() for key in value)
    )


def _are_indices(name: str, value: list[Any], old: int) -> bool:
    return bool(
        INDICES.search(name)
        and value
        and all(isinstance(item, int) and -old <= item <= old for item in value)
    )


def _fewer_indices(value: list[int], old: int, new: int) -> list[int]:
    """As many indices of fewer layers, in the same order, the last one last."""
    top = new if max(value) == old else new - 1
    ranks = {item: rank for rank, item in enumerate(sorted(set(value), reverse=True))}
    return [item if -new <= item < 0 else max(0, top - ranks[item]) for item in value]


def _fit_tokens(new: Config) -> None:
    """Give tokens beyond the vocabulary ids within it, different ones."""
    tables = [
        new,
        *(value for key, value in new.items() if isinstance(value, dict) and not OPAQUE.match(key)),
    ]
    sizes = [
        v for table in tables for k, v in table.items() if k == "vocab_size" and isinstance(v, int)
    ]
    rows = min(sizes, default=0)
    if not rows:
        return
    beyond = sorted({i for k, v in new.items() if TOKENS.search(k) for i in _ids(v) if i >= rows})
    ids = {token: max(0, rows - 1 - rank) for rank, token in enumerate(beyond)}
    for key, value in new.items():
        if TOKENS.search(key):
            new[key] = (
                [ids.get(i, i) for i in value] if isinstance(value, list) else ids.get(value, value)
            )


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [i for i in values if isinstance(i, int) and not isinstance(i, bool)]
