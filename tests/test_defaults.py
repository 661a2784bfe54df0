"""Defaults by name: what headers tell, against what PyTorch's modules hold, and the table in the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import fastinit as fi
from fastinit.defaults import TABLE, default_for
from fastinit.files import Stored
from fastinit.initializers import Normal
from test_cli import run
from test_files import write_header

DOCS = Path(__file__).parent.parent / "docs/models.md"
SIZES = {"F64": 8, "F32": 4, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E8M0": 1, "C64": 8, "I8": 1, "F16": 2}  # fmt: skip


def write(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> Path:
    """A .safetensors file of zeros, of these dtypes and shapes."""
    header: dict[str, Any] = {}
    end = 0
    for name, (code, shape) in tensors.items():
        size = SIZES[code]
        for n in shape:
            size *= n
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return write_header(path, header, bytes(end))


@pytest.mark.parametrize(
    ("name", "code", "shape", "init"),
    [
        ("lstm.bias_ih_l0", "F32", [12], fi.zeros),
        ("lstm.bias_hh_l0_reverse", "F32", [12], fi.zeros),
        ("cell.bias_hh", "F32", [12], fi.zeros),
        ("attn.in_proj_bias", "BF16", [12], fi.zeros),
        ("mlp.experts.gate_up_proj_bias", "BF16", [4, 12], fi.zeros),
        ("mlp.gate.e_score_correction_bias", "F32", [12], fi.zeros),
        ("a.bias", "I32", [12], fi.zeros),
        ("bias", "F32", [12], fi.zeros),
        ("bn.running_mean", "F32", [12], fi.zeros),
        ("bn.running_var", "F32", [12], fi.ones),
        ("bn.num_batches_tracked", "I64", [], fi.zeros),
        ("bn/moving_mean", "F32", [12], fi.zeros),
        ("bn/moving_variance", "F32", [12], fi.ones),
        ("batch_stats/BatchNorm_0/mean", "F32", [12], fi.zeros),
        ("batch_stats/BatchNorm_0/var", "F32", [12], fi.ones),
        ("bn1.mean", "F32", [12], fi.zeros),
        ("bn1.var", "F32", [12], fi.ones),
        ("batch_normalization/moving_mean:0", "F32", [12], fi.zeros),
        ("batch_normalization/gamma:0", "F32", [12], fi.ones),
        ("dense/bias:0", "F32", [12], fi.zeros),
        ("embeddings.LayerNorm.gamma", "F32", [12], fi.ones),
        ("embeddings.LayerNorm.beta", "F32", [12], fi.zeros),
        ("params/LayerNorm_0/scale", "F32", [12], fi.ones),
        ("model.norm.weight", "BF16", [12], fi.ones),
        ("q_proj.weight", "BF16", [12, 12], Normal(0, 0.02)),
        ("q_proj.weight", "F8_E4M3", [12, 12], Normal(0, 0.02)),
        ("q_proj.weight_scale", "F32", [12, 1], fi.ones),
        ("q_proj.weight_scale", "F8_E8M0", [12, 4], fi.ones),
        ("q_proj.weight_scale_inv", "F32", [2, 2], fi.ones),
        ("q_proj.input_scale", "F32", [], fi.ones),
        ("experts.w13_weight_scale", "F32", [8], fi.ones),
        ("experts.w13_weight_scale", "F32", [8, 2], fi.ones),
        ("experts.gate_up_proj_scale", "F32", [8, 1, 24], fi.ones),
        ("experts.down_proj_scale_inv", "F32", [8, 2, 2], fi.ones),
        ("layers.0.attn.wq_a.scale", "F32", [2, 2], fi.ones),
        ("q_proj.wscales", "BF16", [2, 12], fi.ones),
        ("q_proj.weight_scale_2", "F32", [8, 1], fi.ones),
        ("q_proj.scale", "F8_E8M0", [12, 4], fi.ones),
        ("self_attn.k_scale", "F32", [1], fi.ones),
        ("q_proj.weight_zero_point", "I8", [12, 1], fi.zeros),
        ("q_proj.lora_A.weight", "F32", [4, 12], Normal(0, 0.02)),
        ("q_proj.lora_B.weight", "F32", [12, 4], fi.zeros),
        ("lora_unet_down_blocks_0.lora_up.weight", "F16", [12, 4], fi.zeros),
        ("processor.to_q_lora.up.weight", "F32", [12, 4], fi.zeros),
        ("processor.to_q_lora.down.weight", "F32", [4, 12], Normal(0, 0.02)),
        ("self_attn.sinks", "BF16", [8], Normal(0, 0.02)),
        ("vision_model.embeddings.class_embedding", "F32", [12], Normal(0, 0.02)),
        ("mixer.D", "F32", [12], fi.ones),
        ("q_proj.norm.scale", "F32", [4, 12], fi.ones),
        ("conv_norm1.weight", "F32", [12, 3, 3], fi.ones),
        ("wav2vec2.masked_spec_embed", "F32", [12], fi.Uniform(0, 1)),
        ("embeddings.token_type_ids", "I64", [1, 12], fi.zeros),
    ],
)  # fmt: skip
def test_names_that_tell(
    tmp_path: Path, name: str, code: str, shape: list[int], init: fi.Initializer
) -> None:
    path = write(tmp_path / "m.safetensors", {name: (code, shape)})
    (tensor,) = fi.Model.load(path)
    assert (tensor.init, tensor.shape) == (init, tuple(shape))
    path = write(path, {name: (code, shape), "other.weight": ("F32", [3, 3])})
    model = fi.Model.load(path, rules=["[!o]*=skip"])
    assert list(model.defaults) == ["other.weight"]


@pytest.mark.parametrize(
    ("name", "code", "shape"),
    [
        ("backbone.layers.0.mixer.A_log", "F32", [12, 4]),
        ("linear_attn.dt_bias", "F32", [12]),
        ("mixer.dt_proj.bias", "F32", [12]),
        ("rotary_emb.inv_freq", "F32", [12]),
        ("freqs_cis", "C64", [12]),
        ("conv.weight_g", "F32", [12, 1, 1]),
        ("conv.parametrizations.weight.original0", "F32", [12, 1, 1]),
        ("conv.weight_u", "F32", [12]),
        ("logit_scale", "F32", []),
        ("blocks.0.ls1.gamma", "F32", [12]),
        ("self_attn.lambda_q1", "F32", [12]),
        ("ffw_layer_1.input_min", "F32", []),
        ("h.0.attn.bias", "F32", [1, 1, 4, 4]),
        ("h.0.attn.bias", "BOOL", [1, 1, 4, 4]),
        ("h.0.attn.masked_bias", "F32", []),
        ("embeddings.position_ids", "I64", [1, 12]),
        ("q_proj.qweight", "I32", [12, 4]),
        ("q_proj.qzeros", "I32", [12]),
        ("experts.gate_up_proj_scales", "U8", [12, 4]),
        ("q_proj.scales", "U8", [12, 4]),
        ("q_proj.weight", "I8", [12, 4]),
        ("norm.weight", "I8", [12]),
        ("mask", "BOOL", [12, 4]),
        ("blocks.1.attn_mask", "F32", [4, 12, 12]),
        ("pixel_mean", "F32", [3, 1, 1]),
        ("activations.0.act.alpha", "F32", [1, 12, 1]),
    ],
)
def test_what_no_name_tells_is_an_error(
    tmp_path: Path, name: str, code: str, shape: list[int]
) -> None:
    path = write(tmp_path / "m.safetensors", {name: (code, shape), "a.kernel": ("F32", [2, 2])})
    pattern = "*." + name.rpartition(".")[2] if "." in name else name
    message = (
        rf"m\.safetensors: 1 tensor has no default by name: '{re.escape(pattern)}' \(1\) of \w+; give it an "
        r"initializer by a rule such as '\*\.NAME=zeros', or leave it out by '\*\.NAME=skip'$"
    )
    with pytest.raises(ValueError, match=message):
        fi.Model.load(path)
    assert [t.name for t in fi.Model.load(path, rules=[f"{pattern}=skip"])] == ["a.kernel"]
    ruled = fi.Model.load(path, rules=[f"{pattern}=zeros"])
    assert ruled[name].init == fi.zeros


def test_errors_name_groups(tmp_path: Path) -> None:
    names = [f"layers.{i}.{leaf}" for i in range(1500) for leaf in ("qweight", "qzeros")]
    path = write(tmp_path / "m.safetensors", {name: ("I32", [1]) for name in names})
    message = r"3,000 tensors have no default by name: '\*\.qweight' \(1,500\), '\*\.qzeros' \(1,500\) of int32; give them"
    with pytest.raises(ValueError, match=message):
        fi.Model.load(path)
    many = {f"x.{'n' * 300}{i}": ("I32", [1]) for i in range(100)}
    with pytest.raises(ValueError, match="and 95 more of int32") as raised:
        fi.Model.load(write(tmp_path / "m.safetensors", many))
    assert len(str(raised.value)) < len(str(tmp_path)) + 700


def test_errors_name_few_dtypes(tmp_path: Path) -> None:
    """Of as many as a header may make up."""
    header = {
        f"x/{'n' * 300}{i}": {"dtype": f"F{i:031}", "shape": [0], "data_offsets": [0, 0]}
        for i in range(1000)
    }
    path = write_header(tmp_path / "m.safetensors", header)
    message = r"1,000 tensors have no default by name: '\*/nnn.* and 995 more of F0{31}, F0{30}1, .*; give them"
    with pytest.raises(ValueError, match=message) as raised:
        fi.Model.load(path)
    assert len(str(raised.value)) < len(str(path)) + 700


def test_unknown_names_warn(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", {"a.foo": ("F32", [3]), "b.foo": ("BF16", [])})
    message = r"m\.safetensors: 2 tensors have names that tell no initializer, and the number of axes decided \(ones\): '\*\.foo' \(2\); rules"
    with pytest.warns(UserWarning, match=message):
        model = fi.Model.load(path)
    assert [t.init for t in model] == [fi.ones, fi.ones]
    assert [row.known for row in model.defaults.values()] == [False, False]
    fi.Model.load(path, rules=["*.foo=ones"])  # without a warning
    # Adam's squares, of which half would be negative.
    path = write(tmp_path / "s.safetensors", {"exp_avg_sq": ("F32", [3, 4])})
    with pytest.warns(UserWarning, match=r"decided \(normal:stddev=0\.02\): 'exp_avg_sq' \(1\)"):
        model = fi.Model.load(path)
    assert [row.known for row in model.defaults.values()] == [False]


def test_modules_of_torch(tmp_path: Path) -> None:
    """What PyTorch's own modules begin with, where it is a constant; biases of recurrent layers are 0 here."""
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    module = torch.nn.ModuleDict(
        {
            "lstm": torch.nn.LSTM(4, 3, num_layers=2, bidirectional=True, proj_size=2),
            "gru": torch.nn.GRUCell(4, 3),
            "bn": torch.nn.BatchNorm2d(5),
            "ln": torch.nn.LayerNorm(6),
            "attn": torch.nn.MultiheadAttention(4, 2, kdim=3, vdim=3),
        }
    )
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    safetensors.save_file(state, tmp_path / "m.safetensors")
    model = fi.Model.load(tmp_path / "m.safetensors")
    assert len(model) == len(state) == len(model.defaults)
    for name, value in state.items():
        made = torch.from_numpy(model.make(name, seed=0))
        assert made.dtype == value.dtype
        if name.startswith(("bn.", "ln.")) or "attn.in_proj_bias" in name:
            assert torch.equal(made, value)
        elif "bias" in name:
            assert (made == 0).all()
        else:
            assert model[name].init == Normal(0, 0.02)
    model.write(tmp_path / "o.safetensors", seed=0)
    module.load_state_dict(safetensors.load_file(tmp_path / "o.safetensors"))
    assert module["bn"].num_batches_tracked.dtype == torch.int64


def test_rules_keep_the_dtype(tmp_path: Path) -> None:
    """A counter stays an integer under `=zeros`, `--dtype` and the dtype of a spec."""
    tensors = {"bn.num_batches_tracked": ("I64", []), "bn.weight": ("F32", [3])}
    path = write(tmp_path / "m.safetensors", tensors)
    model = fi.Model.load(path, rules=["*=zeros"])
    assert [(t.dtype, t.init) for t in model] == [("int64", fi.zeros), ("float32", fi.zeros)]
    assert dict(model.defaults) == {}
    done = run("spec", path, "--dtype", "bfloat16")
    assert [t["dtype"] for t in json.loads(done.stdout)["tensors"]] == ["int64", "bfloat16"]
    rules = [{"match": "*", "init": "zeros"}]
    spec = {"tensors_from": path.name, "dtype": "bfloat16", "rules": rules}
    (tmp_path / "s.json").write_text(json.dumps(spec))
    assert [t.dtype for t in fi.Model.load(tmp_path / "s.json")] == ["int64", "bfloat16"]
    with pytest.raises(ValueError, match=r"'bn\.num_batches_tracked': int64 takes only constants"):
        fi.Model.load(path, rules=["*=normal"])


def test_the_command_line_prints_them(tmp_path: Path) -> None:
    tensors = {
        "l.0.bias": ("F32", [3]),
        "l.1.bias": ("F32", [3]),
        "bn.num_batches_tracked": ("I64", []),
        "bn.running_var": ("F32", [3]),
        "l.0.weight": ("F32", [3, 3]),
        "l.1.weight": ("F32", [3, 3]),
        "l.odd": ("F32", [3]),
    }
    path = write(tmp_path / "m.safetensors", tensors)
    lines = [
        "default by name: zeros for 3 tensors: '*.bias' (2), '*.num_batches_tracked' (1)",
        "default by name: ones for 1 tensor: '*.running_var' (1)",
        "default by name: normal:stddev=0.02 for 2 tensors: '*.weight' (2)",
    ]
    warning = (
        "fastinit: warning: m.safetensors: 1 tensor has a name that tells no initializer, and the number "
        "of axes decided (ones): '*.odd' (1); rules give others"
    )
    spec = run("spec", path.name, cwd=tmp_path)
    totals = "7 tensors, 31 parameters, 128 B"
    assert (spec.returncode, spec.stderr.splitlines()) == (0, [warning, *lines, totals])
    assert len(json.loads(spec.stdout)["tensors"]) == 7
    done = run("model", path.name, "--seed", 1, "-o", "o.safetensors", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()) == (0, [warning])
    assert done.stdout.splitlines()[:3] == lines
    checked = run("check", "o.safetensors", cwd=tmp_path)
    assert checked.stdout.splitlines()[-1].startswith("7 tensors, 0 flagged")
    ruled = run("spec", path.name, "--rule", "*=zeros", cwd=tmp_path)
    assert ruled.stderr == f"{totals}\n"


def test_a_config_that_is_none_of_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    message = r"config\.json: expected model_type, .* got the keys \['_class_name'\]"
    with pytest.raises(ValueError, match=f"{message}$"):
        fi.Model.load(tmp_path)  # nothing else is there
    write(tmp_path / "model.safetensors", {"a.weight": ("F32", [2, 2])})
    taken = r": names, shapes and dtypes were taken from the \.safetensors next to it$"
    with pytest.warns(UserWarning, match=f"{message}{taken}"):
        model = fi.Model.load(tmp_path)
    assert [(t.name, t.init, t.axes) for t in model] == [("a.weight", Normal(0, 0.02), "out_in")]
    for text in ("{", "[]", '{"n_embd": -1}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.warns(UserWarning, match="were taken from"):
            assert [t.name for t in fi.Model.load(tmp_path)] == ["a.weight"]
    with pytest.raises(ValueError, match=r"config\.json: expected model_type"):
        fi.Model.load(tmp_path / "config.json")  # asked for by its name
    done = run("spec", tmp_path)
    assert done.returncode == 0
    assert "were taken from the .safetensors next to it" in done.stderr.splitlines()[0]


def test_the_docs_have_the_table() -> None:
    section = DOCS.read_text().split("### Defaults by name")[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith(("| `", "| all"))]  # fmt: skip
    axes = {"any": range(65), "0 or 1": range(2), "2 or more": range(2, 65), "3 or more": range(3, 65)}  # fmt: skip
    dtypes = {"any": "any", "float": "float", "fillable": "fillable", "`float8_e8m0fnu`": "float8_e8m0fnu"}  # fmt: skip
    inits = {
        "none: an error": (None, True),
        "`ones`, with a warning": ("ones", False),
        "`normal:stddev=0.02`, with a warning": ("normal:stddev=0.02", False),
    }
    told = [
        (
            " ".join(re.findall("`([^`]*)`", names)),
            inits[init] if init in inits else (init.strip("`"), True),
            axes[count],
            dtypes[kind],
        )
        for names, count, kind, init in rows
    ]
    assert told == [(row.names, (row.init, row.known), row.axes, row.dtypes) for row in TABLE]


def test_long_names_take_no_time() -> None:
    """Only the end is looked at, whatever a header says."""
    stored = Stored("norm." * 10**6 + "weight", "float32", (3,), Path("x"), 0, 12)
    row = default_for(stored)
    assert row is not None
    assert row.init == "ones"
