"""Hugging Face configs to the tensors of their models, through transformers: the only module that knows it.

Nothing here reaches the network, and only code of the installed transformers is run.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastinit.checks import shown
from fastinit.rules import near_words
from fastinit.shrink import shrink
from fastinit.tensor import Tensor

if TYPE_CHECKING:
    import torch

#: The most bytes of a tiny model.
TINY_BYTES = 20_000_000
#: The quantisations whose layers transformers builds without another package.
QUANTIZED = ("fp8", "mxfp8", "bitnet")


@dataclass(frozen=True)
class Pretrained:
    """What a folder of `save_pretrained` holds.

    Parameters
    ----------
    tensors : list of Tensor
        The tensors under the names that `save_pretrained` writes. Each says its stream, the
        qualified name in the module, and where needed which part of that tensor it is.
    files : dict of str to bytes
        ``config.json``, and for models that generate ``generation_config.json``.
    """

    tensors: list[Tensor]
    files: dict[str, bytes]


def read_config(
    path: str | os.PathLike[str], *, head: str | None = None, tiny: bool = False
) -> Pretrained:
    """Read a Hugging Face config as the tensors that its model begins with.

    The model is built by transformers under `fastinit.torch.record`, without memory. Its dtype
    is the config's; modules that transformers keeps in float32 are float32.

    Parameters
    ----------
    path : path
        A ``config.json``, or a folder with one.
    head : str, optional
        The class of the model, such as "BertForMaskedLM", or a head of transformers' auto
        classes, such as "masked-lm" and "causal-lm"; "base" is the model without a head. By
        default the class is the first of the config's ``architectures``, and without that key
        the model without a head, as from ``AutoModel``.
    tiny : bool
        Make the sizes small, and keep the architecture: 20 MB at most.

    Warns
    -----
    UserWarning
        The config names code of its own for the model (``auto_map``), and transformers has a class
        of that name and type, which is used instead.

    Raises
    ------
    ImportError
        torch or transformers is missing, or a package that the model needs.
    ValueError, TypeError, OSError
        A file that cannot be read or is no config; a type or class that transformers does not
        have, with near names; a config whose model needs code from elsewhere (``auto_map``); a
        model that transformers cannot build, with its reason; a tensor that a spec cannot hold.
    """
    _need_transformers()
    values = _config_values(Path(path))
    with _offline():
        config = _parsed(values)
        model_class = _model_class(config, head, values)
        _warn_of_auto_map(values, model_class)
        if tiny:
            config = _tiny(model_class, config)
        return pretrained(recorded_model(model_class, config))


def pretrained(model: Any) -> Pretrained:
    """Describe a recorded model of transformers as `save_pretrained` would write it.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Constructed within `fastinit.torch.record`, and not initialised yet.

    Raises
    ------
    ValueError
        A tensor that a spec cannot hold, by name; a model that `save_pretrained` refuses.
    """
    from fastinit.torch import record, recorded_tensors

    with record(model):
        tensors = file_tensors(model)
    return Pretrained(recorded_tensors(model, tensors=tensors), _files(model))


def _need_transformers() -> None:
    try:
        import torch  # noqa: F401
        import transformers.core_model_loading  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Hugging Face configs need the packages torch and transformers, version 5 or newer (pip install torch "
            "transformers). A spec needs neither: where they are installed, fastinit spec config.json > spec.json "
            f"writes one; {error}"
        ) from error


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's client from the network."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


# Configs.


def _config_values(path: Path) -> dict[str, Any]:
    path = path / "config.json" if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise TypeError(f"{path} must hold a table of keys, got {shown(values)}")
    return values


def _parsed(values: Mapping[str, Any]) -> Any:
    """The config as transformers reads it, with the default implementations of attention and experts."""
    from transformers import CONFIG_MAPPING

    kind = values.get("model_type")
    types = list(CONFIG_MAPPING)
    if kind not in types:
        raise ValueError(
            f"model_type must be a type of transformers {_version()}, got {shown(kind)}"
            f"{near_words(kind, types) if isinstance(kind, str) else ''}{_about_auto_map(values)}"
        )
    with _named(f"the config of model_type {kind!r}"):
        config_class = CONFIG_MAPPING[kind]
        config = config_class.from_dict(config_class._decode_special_floats(dict(values)))
        config._attn_implementation = None  # "flash_attention_2" would need its package
        config._experts_implementation = None
        return config


def _about_auto_map(values: Mapping[str, Any]) -> str:
    if not values.get("auto_map"):
        return ""
    return f". Its auto_map, {shown(values['auto_map'])}, names code outside of transformers, which is never run"


def _warn_of_auto_map(values: Mapping[str, Any], model_class: Any) -> None:
    """Say that the class of transformers stands for code that the config names, whose model may be another."""
    table = values.get("auto_map")
    if isinstance(table, dict) and any(f"{key}".startswith("AutoModel") for key in table):
        warnings.warn(
            f"the code that auto_map names is never run: the model is {model_class.__name__} of transformers {_version()}",
            UserWarning,
            stacklevel=4,
        )


def _version() -> str:
    import transformers

    return str(transformers.__version__)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Let errors of transformers name what could not be made."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{what} needs another package: {_sentences(error)}") from error
    except Exception as error:
        kind = type(error).__name__
        raise ValueError(
            f"transformers cannot build {what}: {kind}: {_sentences(error)}"
        ) from error


def _sentences(error: Exception) -> str:
    """What an error says, on one line, without the stack of C++ that PyTorch appends."""
    return " ".join(str(error).partition("\nException raised from")[0].split())


# Classes.


def _model_class(config: Any, head: str | None, values: Mapping[str, Any]) -> Any:
    if head is not None:
        return _class_of_head(config, head)
    names = values.get("architectures")
    if names is None or names == []:
        return _base_class(config)
    if not isinstance(names, list) or not isinstance(names[0], str):
        raise TypeError(f"architectures must be a list of names of classes, got {shown(names)}")
    return _class_of_name(config, names[0], "architectures[0]", _about_auto_map(values))


def _class_of_head(config: Any, head: str) -> Any:
    """The class of a name such as "BertForMaskedLM" or "masked-lm"."""
    if not isinstance(head, str):
        raise TypeError(f"head must be a text, got {shown(head)}")
    heads = model_heads(config.model_type)
    if head in heads:
        return _class_of_name(config, heads[head], "head")
    known = ", ".join(["base", *(one for one in heads if one != "base")])
    return _class_of_name(config, head, "head", f". The heads of {config.model_type!r} are {known}")


def _base_class(config: Any) -> Any:
    """The class without a head, or the only one that takes such a config."""
    names = model_classes(config)
    if len(names) == 1 or "base" in model_heads(config.model_type):
        return _class_of_name(config, names[0], "model_type")
    if not names:
        raise ValueError(f"transformers has no model class of model_type {config.model_type!r}")
    raise ValueError(
        f"model_type {config.model_type!r} has no model without a head: name the class by head, one of {', '.join(names)}"
    )


def model_heads(model_type: str) -> dict[str, str]:
    """The heads that transformers' auto classes know for a type, and their classes; "base" is the model without one."""
    from transformers.models.auto import modeling_auto

    heads = {}
    for attribute, classes in vars(modeling_auto).items():
        match = re.fullmatch(r"MODEL_(?:FOR_(\w+)_)?MAPPING_NAMES", attribute)
        if match and model_type in classes:
            name = (match[1] or "base").lower().replace("_", "-")
            found = classes[model_type]
            heads[name] = found if isinstance(found, str) else found[0]
    return heads


def model_classes(config: Any) -> list[str]:
    """The model classes of a config's type: that without a head first, else all that transformers has."""
    heads = model_heads(config.model_type)
    if "base" in heads:
        return [heads["base"], *dict.fromkeys(v for v in heads.values() if v != heads["base"])]
    return list(dict.fromkeys(heads.values())) or [
        name
        for name, value in vars(_modeling(config)).items()
        if _is_model(value) and value.config_class is type(config) and value.__name__ == name
    ]


def _is_model(value: object) -> bool:
    from transformers import PreTrainedModel

    return (
        inspect.isclass(value)
        and issubclass(value, PreTrainedModel)
        and not value.__name__.endswith("PreTrainedModel")
    )


def _modeling(config: Any) -> Any:
    """The module of transformers that defines the models of a config."""
    name = type(config).__module__.replace(".configuration_", ".modeling_")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return importlib.import_module("types")  # which defines no models


def _class_of_name(config: Any, name: str, argument: str, more: str = "") -> Any:
    import transformers

    classes = model_classes(config)
    found: Any = getattr(transformers, name, None) or getattr(_modeling(config), name, None)
    if hasattr(found, "_backends"):  # what stands for a class whose packages are missing
        raise ImportError(f"{name} needs other packages: {', '.join(found._backends)}")
    if not _is_model(found):
        known = near_words(name, classes) or f"; expected one of {', '.join(classes)}"
        raise ValueError(
            f"{argument} must be a model class of transformers {_version()}, got {shown(name)}{known}{more}"
        )
    expected = found.config_class
    if name not in classes and inspect.isclass(expected) and not isinstance(config, expected):
        raise ValueError(
            f"{argument}, {name}, takes a {expected.__name__}; model_type {config.model_type!r} gives a "
            f"{type(config).__name__}: name one of {', '.join(classes)}"
        )
    return found


# Models.


def recorded_model(model_class: Any, config: Any) -> Any:
    """The model of a config, without memory, for `init_module_` or `pretrained`."""
    from fastinit.torch import record

    with record():
        model = _constructed(model_class, config)
    before = model.state_dict(keep_vars=True)
    _quantize(model)
    with record(model):
        for name, tensor in model.state_dict(keep_vars=True).items():
            if tensor is not before.get(name):
                _set_quantized(name, tensor, before.get(name))
    return model


def _constructed(model_class: Any, config: Any) -> Any:
    with _named(model_class.__name__):
        model = model_class._from_config(config)
    _keep_float32(model)
    return model


def _keep_float32(model: Any) -> None:
    """Give the modules that `from_pretrained` keeps in float32 this dtype."""
    import torch
    from transformers.core_model_loading import build_glob_alternation

    kept = list(model._get_dtype_plan(model.dtype))
    if not kept:
        return
    pattern = build_glob_alternation(kept)[0]
    wide: dict[int, torch.Tensor] = {}  # tied ones stay tied
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and pattern.search(name):
            with torch.no_grad():
                made = wide.setdefault(id(tensor), _like(tensor, tensor.detach().to(torch.float32)))
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, made)


def _like(tensor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A parameter or buffer of other values."""
    import torch

    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values


def _quantize(model: Any) -> None:
    """Replace the layers that a config with `quantization_config` quantises, as `from_pretrained` does.

    The new layers have no values yet.
    """
    own = getattr(model.config, "quantization_config", None)
    text = model.config.get_text_config(decoder=True)
    table = getattr(text, "quantization_config", None) if own is None else own
    if table is None:
        return
    from transformers.quantizers.auto import AutoHfQuantizer, AutoQuantizationConfig

    table = table if isinstance(table, dict) else table.to_dict()
    method = table.get("quant_method")
    if method not in QUANTIZED:
        raise ValueError(
            f"quantization_config: quant_method must be one of {', '.join(QUANTIZED)}, got {shown(method)}; without "
            "quantization_config the model is that of the dtype"
        )
    with _named(f"quantised layers of {type(model).__name__}"):
        model.config.quantization_config = AutoQuantizationConfig.from_dict(table)
        quantizer = AutoHfQuantizer.from_config(
            model.config.quantization_config, pre_quantized=True
        )
        quantizer.preprocess_model(model, dtype=model.dtype)
        model._weight_conversions = _conversions(model, quantizer)
    if quantizer.get_weight_conversions():
        raise ValueError(
            f"quantization_config: files of {method} with these options hold other tensors than the model"
        )


def _set_quantized(name: str, tensor: torch.Tensor, before: torch.Tensor | None) -> None:
    """Set a tensor of a quantised layer; `before` is that of the layer it replaces, if there is one of its name.

    Floats of 8 bits begin with the values of the layer that they replace, packed integers with any bits, and scales
    with 1.
    """
    import torch

    with torch.no_grad():
        if "scale" in name.rpartition(".")[2]:
            tensor.fill_(127) if tensor.dtype == torch.uint8 else tensor.fill_(
                1
            )  # the code of 2 ** 0
        elif not tensor.is_floating_point():
            limits = torch.iinfo(tensor.dtype)
            tensor.random_(limits.min, limits.max + 1)
        elif before is not None and before.shape == tensor.shape:
            tensor.copy_(before)
        else:
            raise ValueError(f"{name}: no values are known for this tensor of a quantised layer")


def _conversions(model: Any, quantizer: Any) -> list[Any]:
    """The conversions of names between files and a quantised model.

    Left out are other names that quantised files may have, and those that add the prefix of a base model.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import PrefixChange, WeightConverter

    own = [
        one
        for one in get_model_conversion_mapping(model, add_legacy=False)
        if not isinstance(one, PrefixChange)
    ]
    all_ = quantizer.update_weight_conversions(own, model)
    return [one for one in all_ if isinstance(one, WeightConverter) or one in own]


def file_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The tensors that `save_pretrained` writes, by their names there: views and copies of the model's own.

    It is called inside `fastinit.torch.record`, where the model was built.
    """
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    state = model.state_dict(keep_vars=True)
    for name in model._keys_to_ignore_on_save or ():
        state.pop(name, None)
    _leave_out_ties(model, state)
    with torch.no_grad(), _named(f"the names of {type(model).__name__} in files"):
        return dict(revert_weight_conversion(model, state))


def _leave_out_ties(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Keep one name of each tied tensor, that which `save_pretrained` keeps."""
    from transformers.modeling_utils import _get_tied_weight_keys

    names: dict[int, list[str]] = {}
    for name, tensor in state.items():
        names.setdefault(id(tensor), []).append(name)
    patterns = [re.compile(pattern) for pattern in _get_tied_weight_keys(model)]
    for shared in names.values():
        tied = [name for name in sorted(shared) if any(one.search(name) for one in patterns)]
        for name in tied[: len(shared) - 1]:
            del state[name]
        left = [name for name in shared if name in state]
        if len(left) > 1:
            raise ValueError(
                f"{type(model).__name__} shares a tensor among {', '.join(left)}, and does not declare them as tied: "
                "save_pretrained refuses to write it"
            )


def _files(model: Any) -> dict[str, bytes]:
    """The files beside the weights, as `save_pretrained` writes them: without a folder, and without its bar."""
    config = model.config
    config.dtype = str(model.dtype).removeprefix("torch.")
    config.architectures = [type(model).__name__]
    if "transformers_weights" in config.__dict__:  # the name of the file that the weights were in
        del config.transformers_weights
    files = {"config.json": config.to_json_string(use_diff=True)}
    if model.can_generate():
        files["generation_config.json"] = model.generation_config.to_json_string(use_diff=True)
    return {name: text.encode() for name, text in files.items()}


# Tiny models.


def _tiny(model_class: Any, config: Any) -> Any:
    """A config of the same architecture with small sizes."""
    kind = type(config)
    small = shrink(config.to_dict(), partial(_bytes, model_class, kind), TINY_BYTES)
    if small is None:
        raise ValueError(
            f"no small sizes were found for {model_class.__name__} with this config: write a config of small sizes by hand"
        )
    return kind.from_dict(small)


def _bytes(model_class: Any, config_class: Any, values: dict[str, Any]) -> int | None:
    """The bytes of a config's model in files, or None if it cannot be built."""
    import torch

    try:
        with torch.device("meta"):
            model = _constructed(model_class, config_class.from_dict(copy.deepcopy(values)))
            found: int = sum(tensor.nbytes for tensor in file_tensors(model).values())
        if found <= TINY_BYTES:  # some constructors fail on other devices only
            with torch.random.fork_rng(devices=()):
                model_class._from_config(config_class.from_dict(values))
    except Exception:
        return None
    return found
