"""The face of PyTorch: ``torch.nn.init``, much faster, and the initialisation of whole modules.

It offers every function of ``torch.nn.init``; those that sample draw from this library.

>>> import torch
>>> import fastinit.torch as init
>>> weight = init.kaiming_uniform_(torch.empty(4096, 4096))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import torch
except ImportError as error:
    raise ImportError("fastinit.torch needs the package torch: pip install torch") from error

from fastinit.torch.init import (
    calculate_gain,
    constant_,
    dirac_,
    eye_,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    ones_,
    orthogonal_,
    sparse_,
    trunc_normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
    zeros_,
)
from fastinit.torch.modules import init_module_
from fastinit.torch.patch import patched
from fastinit.torch.record import record
from fastinit.torch.tensors import recorded_tensors

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "init_module_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "patched",
    "record",
    "recorded_tensors",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


if TYPE_CHECKING:  # in place of __getattr__, which would let type checkers pass every name
    from torch.nn.init import constant as constant
    from torch.nn.init import dirac as dirac
    from torch.nn.init import eye as eye
    from torch.nn.init import kaiming_normal as kaiming_normal
    from torch.nn.init import kaiming_uniform as kaiming_uniform
    from torch.nn.init import normal as normal
    from torch.nn.init import orthogonal as orthogonal
    from torch.nn.init import sparse as sparse
    from torch.nn.init import uniform as uniform
    from torch.nn.init import xavier_normal as xavier_normal
    from torch.nn.init import xavier_uniform as xavier_uniform
else:

    def __getattr__(name: str) -> Any:
        """Forward names that only ``torch.nn.init`` has, such as deprecated ones, so that one import can replace the other."""
        try:
            return getattr(torch.nn.init, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    """The public names, with those of ``torch.nn.init`` that are forwarded."""
    dunders = [name for name in globals() if name.startswith("__")]
    return sorted({*__all__, *torch.nn.init.__all__, *dunders})
