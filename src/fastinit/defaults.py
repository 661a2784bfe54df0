"""The initializers that names and shapes suggest, where a file tells no more: defaults by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate

from fastinit.checks import counted, without_middle
from fastinit.dtypes import DTYPES
from fastinit.files import Stored


@dataclass(frozen=True, slots=True)
class Default:
    """A row of the table.

    Parameters
    ----------
    names : str
        Patterns (`fnmatch`) of the last parts of names, in small letters; "" for all names.
    init : str or None
        The initializer as specs write it; None where names and shapes cannot tell it.
    axes : range
        How many axes the tensor has.
    dtypes : {"any", "float", "fillable"} or str
        Which dtypes the row is for: all; floats, those for constants included; those that
        take any distribution; or one, by its name.
    known : bool
        Whether the name tells the initializer. Else `Model.load` warns.
    """

    names: str
    init: str | None
    axes: range = range(65)
    dtypes: str = "any"
    known: bool = True


_VECTORS, _MATRICES = range(2), range(2, 65)

#: The first row that fits counts; docs/models.md shows it. Tensors that no row fits have no default either.
TABLE = (
    # Computed from other numbers, or constants that configs set: no default is right.
    Default("a_log dt_bias dt_proj.bias time_decay time_first time_mix_* time_maa_* time_faaaa", None),
    Default("*inv_freq *freqs_cis *freqs freqs_cos freqs_sin cos_cached sin_cached pos_encoder.pe", None),
    Default("weight_g weight_u _u _v parametrizations.*.original0", None),
    Default("logit_scale logit_bias layer_scale* lambda? lambda_* gamma_? ls?.gamma", None),
    Default("*_min *_max min_val max_val", None),  # ranges that quantisation observes
    Default("mask *_mask mel_filters pixel_mean pixel_std image_mean image_std", None),
    Default("alpha", None, _MATRICES),  # of activations such as Snake
    Default("attn.bias attention.bias", None, range(3, 65)),
    Default("masked_bias", None),
    # Zeros.
    Default("running_mean moving_mean *norm*.mean bn*.mean", "zeros"),
    Default("num_batches_tracked token_type_ids", "zeros"),
    Default("*bias bias_ih bias_hh bias_ih_l* bias_hh_l* *beta *.b *norm*.offset", "zeros"),
    Default("lora_b lora_b.* lora_embedding_a lora_embedding_a.*", "zeros"),
    Default("lora_up.weight lora.up.weight *_lora.up.weight lora_linear_layer.up.weight", "zeros"),
    Default("*zero_point", "zeros"),
    # Ones.
    Default("running_var moving_variance *norm*.var bn*.var", "ones"),
    Default(
        "*weight_scale *weight_scale_inv *weight_scale_2 weight_global_scale *input_scale input_global_scale "
        "output_scale activation_scale q_scale k_scale v_scale kv_scale scale_weight scale_input scales",
        "ones",
        dtypes="float",
    ),
    # Of blocks of a quantised weight, whatever its name is: a scale is never drawn, and never negative.
    Default("*scale *_scale_? *scales *scale_inv", "ones", _MATRICES, "float"),
    Default("", "ones", dtypes="float8_e8m0fnu"),  # which holds powers of two, for scales alone
    Default("*norm.weight *norm?.weight *norm*.scale *norm*.gamma bn*.gamma", "ones", dtypes="fillable"),
    Default("weight *_weight *norm mixer.d mamba.d", "ones", _VECTORS, "fillable"),
    # The rest of Transformers.
    Default("masked_spec_embed", "uniform:low=0,high=1", dtypes="fillable"),
    Default("*embed *embedding *embeddings *_token sinks", "normal:stddev=0.02", _VECTORS, "fillable"),
    Default("*weight* *kernel *embed *embeds *embedding *embeddings *_token *_tokens *_proj *table w wte wpe", "normal:stddev=0.02", _MATRICES, "fillable"),
    Default("", "normal:stddev=0.02", _MATRICES, "fillable", known=False),
    Default("", "ones", _VECTORS, "fillable", known=False),
)  # fmt: skip

#: Characters of a name's end that are looked at: patterns need no more, and take no longer for more.
_TAIL = 100
#: Groups of names that an error or a line lists.
_MOST_GROUPS = 5

_PATTERNS = [
    re.compile("|".join(f"(?:{translate(f'*.{one}')})" for one in row.names.split() or ["*"]))
    for row in TABLE
]


def default_for(stored: Stored) -> Default | None:
    """The row of the table for a stored tensor."""
    tail = "." + stored.name[-_TAIL:].lower().replace("/", ".").removesuffix(":0")  # of TensorFlow
    dtype = DTYPES.get(stored.dtype)
    if dtype is None:
        return None
    kinds = {"any", dtype.name}
    if dtype.fillable:
        kinds.add("fillable")
    if "float" in dtype.name:
        kinds.add("float")
    for row, pattern in zip(TABLE, _PATTERNS, strict=True):
        if row.dtypes in kinds and len(stored.shape) in row.axes and pattern.match(tail):
            return row
    return None


def group(name: str) -> str:
    """The pattern of all names that end like one: ``*.running_mean`` of ``bn.running_mean``."""
    last = max(name.rfind("."), name.rfind("/"))
    return f"*{name[last:]}" if last > 0 else name


def groups(names: Iterable[str]) -> str:
    """Names by their ends, with how many there are of each, as a text of bounded length."""
    counts: dict[str, int] = {}
    for name in names:
        one = group(name)
        counts[one] = counts.get(one, 0) + 1
    texts = [
        f"{without_middle(one, 50)!r} ({n:,})" for one, n in list(counts.items())[:_MOST_GROUPS]
    ]
    more = len(counts) - len(texts)
    return ", ".join(texts) + (f" and {more:,} more" if more > 0 else "")


def no_default(stored: Sequence[Stored]) -> str:
    """The sentence about tensors whose initializer names cannot tell."""
    what = counted(len(stored), "tensor")
    verb, it = ("has", "it") if len(stored) == 1 else ("have", "them")
    dtypes = ", ".join(list(dict.fromkeys(one.dtype for one in stored))[:_MOST_GROUPS])
    return (
        f"{what} {verb} no default by name: {groups(one.name for one in stored)} of {dtypes}; "
        f"give {it} an initializer by a rule such as '*.NAME=zeros', or leave {it} out by '*.NAME=skip'"
    )


def not_known(defaults: Mapping[str, Default]) -> str | None:
    """The sentence about tensors of names that say nothing, if there are any."""
    names = [name for name, row in defaults.items() if not row.known]
    if not names:
        return None
    verb = "has a name that tells" if len(names) == 1 else "have names that tell"
    taken = " and ".join(dict.fromkeys(str(defaults[name].init) for name in names))
    return (
        f"{counted(len(names), 'tensor')} {verb} no initializer, and the number of axes decided "
        f"({taken}): {groups(names)}; rules give others"
    )


def summary(defaults: Mapping[str, Default]) -> list[str]:
    """A line for each initializer that names gave, with the names."""
    lines = []
    for init in dict.fromkeys(row.init for row in TABLE):
        names = [name for name, row in defaults.items() if row.init == init and row.known]
        if names:
            lines.append(
                f"default by name: {init} for {counted(len(names), 'tensor')}: {groups(names)}"
            )
    return lines
