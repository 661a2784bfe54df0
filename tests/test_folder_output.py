"""Folders that `from_pretrained` loads: weights, their index, and the files of the model beside them."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import pytest

import fastinit as fi
from fastinit import model as model_module
from fastinit import write as write_module
from fastinit.cli import main

TENSORS = [
    fi.Tensor("up", (30, 40), fi.he_normal),
    fi.Tensor("down", (40, 30), fi.he_normal, "bfloat16"),
    fi.Tensor("bias", (40,), fi.zeros),
]
MODEL = fi.Model(TENSORS)
CONFIG = b'{"model_type": "mine"}'
#: With four tensors of 4800, 2400 and 160 bytes, in this order.
SHARDED = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"


def with_files(config: bytes = CONFIG) -> fi.Model:
    model = fi.Model(TENSORS)
    model._files = {"config.json": config, "generation_config.json": b"{}"}
    return model


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("given", ["out/", "out/./", "there", "there/", "link", "link/"])
@pytest.mark.parametrize("format", [None, "safetensors"])
def test_a_folder_gets_weights_under_the_name_of_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, format: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("link").symlink_to("there")
    assert MODEL.write(given, seed=3, format=format)
    assert names(Path(given)) == ["model.safetensors"]
    MODEL.write("m.safetensors", seed=3)
    assert Path(given, "model.safetensors").read_bytes() == Path("m.safetensors").read_bytes()
    assert MODEL.differences(given, seed=3) == []


def test_the_files_of_a_model_are_beside_its_weights(tmp_path: Path) -> None:
    folder = f"{tmp_path}/out/"
    model = with_files()
    assert model.with_tensors(TENSORS[:2]).files == model.files
    model.write(folder, seed=3)
    expected = ["config.json", "generation_config.json", "model.safetensors"]
    assert names(tmp_path / "out") == expected
    assert (tmp_path / "out/config.json").read_bytes() == CONFIG
    assert all(
        MODEL.differences(path, seed=3) == [] for path in (folder, f"{folder}/{expected[2]}")
    )
    # Not beside a single file, nor in folders of other formats.
    model.write(tmp_path / "m.safetensors", seed=3)
    model.write(tmp_path / "npy", seed=3, format="npy")
    assert names(tmp_path) == ["m.safetensors", "npy", "out"]
    assert names(tmp_path / "npy") == ["bias.npy", "down.npy", "up.npy"]


def test_an_older_output_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for config, limit, weights in (
        (CONFIG, 5000, [*SHARDED, INDEX]),
        (CONFIG, None, ["model.safetensors"]),
        (b"{}", 5000, [*SHARDED, INDEX]),
    ):
        with_files(config).write(tmp_path, seed=3, max_shard_size=limit)
        assert names(tmp_path) == sorted(["config.json", "generation_config.json", *weights])
        assert (tmp_path / "config.json").read_bytes() == config
        assert MODEL.differences(tmp_path, seed=3) == []


def test_config_comes_first_and_the_index_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    move = write_module._move

    def record(path: Path, target: Path) -> None:
        move(path, target)
        moved.append(target.name)

    monkeypatch.setattr(write_module, "_move", record)
    with_files().write(tmp_path, seed=3, max_shard_size=5000)
    assert moved == ["config.json", "generation_config.json", *SHARDED, INDEX]


def test_files_are_split_as_transformers_splits_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    save = inspect.signature(transformers.PreTrainedModel.save_pretrained)
    assert save.parameters["max_shard_size"].default == "50GB"
    assert model_module.FOLDER_SHARD_SIZE == 50_000_000_000
    monkeypatch.setattr(model_module, "FOLDER_SHARD_SIZE", 5000)
    MODEL.write(tmp_path, seed=3)
    assert names(tmp_path) == sorted([*SHARDED, INDEX])
    weight_map = json.loads((tmp_path / INDEX).read_text())["weight_map"]
    assert weight_map == {"up": SHARDED[0], "down": SHARDED[1], "bias": SHARDED[1]}


def test_ranks_share_a_folder(tmp_path: Path) -> None:
    model = with_files()
    assert not model.write(f"{tmp_path}/out/", seed=3, rank=1, world=2)
    assert names(tmp_path / "out") == [".partial"]
    with pytest.raises(ValueError, match="an unfinished output of other tensors"):
        with_files(b"{}").write(tmp_path / "out", seed=3, rank=0, world=2)
    assert model.write(tmp_path / "out", seed=3, rank=0, world=2)
    assert names(tmp_path / "out") == ["config.json", "generation_config.json", "model.safetensors"]
    assert MODEL.differences(tmp_path / "out", seed=3) == []


def test_folders_with_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"without other files, got 'tokenizer\.json'"):
        MODEL.write(tmp_path, seed=3)
    assert names(tmp_path) == ["tokenizer.json"]
    (tmp_path / "tokenizer.json").unlink()
    with_files().write(tmp_path, seed=3)
    with pytest.raises(ValueError, match=r"without other files, got 'config\.json'"):
        MODEL.write(tmp_path, seed=3)  # a model that has none would be described by it


def test_a_config_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    """But one that is the same, byte for byte, may be."""
    (tmp_path / "config.json").write_text("{}")
    message = r"config\.json: would be replaced, and is not of an older output: .*/model\.safetensors for the weights alone"
    with pytest.raises(ValueError, match=message):
        with_files().write(tmp_path, seed=3)
    assert (tmp_path / "config.json").read_text() == "{}"
    (tmp_path / "config.json").write_bytes(CONFIG)
    assert with_files().write(tmp_path, seed=3)


def test_paths_that_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ("new", Path("new/"), "", "-"):
        with pytest.raises(
            ValueError, match=r"must end in .*; the path of a new folder ends in '/'"
        ):
            MODEL.write(given, seed=3)
    (tmp_path / "file").write_bytes(b"")
    for given in ("file/", "file/./"):
        with pytest.raises(ValueError, match="path must be a folder, got the file"):
            MODEL.write(given, seed=3)
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(OSError, match="is not a regular file"):
        MODEL.write("x.safetensors", seed=3)
    assert MODEL.write("x.safetensors/", seed=3)
    with pytest.raises(ValueError, match="resume must be True for a folder"):
        MODEL.write("out/", seed=3, resume=False)
    with pytest.raises(FileNotFoundError, match="the folder 'no' does not exist"):
        MODEL.write("no/out/", seed=3)
    assert names(tmp_path) == ["file", "x.safetensors"]


def test_folders_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.json").write_text(MODEL.to_json())
    assert main(["model", "spec.json", "--seed", "3", "-o", "out/"]) == 0
    assert capsys.readouterr().out.startswith("out/: 3 tensors, ")
    assert main(["model", "spec.json", "--seed", "3", "-o", "out", "--max-shard-size", "5kB"]) == 0
    assert names(Path("out")) == sorted([*SHARDED, INDEX])
    assert main(["check", "out", "spec.json", "--exact", "--seed", "3"]) == 0
    capsys.readouterr()
    for given in ("out", "out/", "new/"):
        assert main(["fill", "--init=ones", "--shape=3", "-o", given]) == 1
        assert f"path must end in .safetensors or .npy, got '{given}'" in capsys.readouterr().err
    assert names(tmp_path) == ["out", "spec.json"]
