"""What a training has changed, as one small file: written with what it fits, read only into a model that it fits."""

import json
import platform
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from timm.utils.model import unwrap_model
from torch import Tensor, nn

from ptsa_lite import __version__
from ptsa_lite.checks import check, or_none
from ptsa_lite.data.disk import make_folder, write_whole
from ptsa_lite.weights import fit_position_table

from .sameness import POSITION_TABLES, description, differences, digest, frozen_weights, plain


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """Everything that training changes: trainable parameters, and buffers that are kept (batch-norm statistics)."""
    changing = {name for name, p in model.named_parameters() if p.requires_grad}
    changing |= {name for name, _ in model.named_buffers()}
    return {name: value for name, value in model.state_dict().items() if name in changing}


def save_adapters(model: nn.Module, path: str | Path, dtype: torch.dtype | None = None, **about) -> int:
    """Writes what was trained, and in its metadata what it fits, as safetensors; returns the file's bytes.

    dtype: of the numbers in the file, float16 for one half as large (a model that reads them keeps its own).
    about: whatever else is worth keeping beside it, as plain values. Raises ValueError if nothing of the model trains.
    """
    formats = (lambda v: isinstance(v, torch.dtype) and v.is_floating_point, "a float format, as torch.float16")
    check({"dtype": or_none(formats)}, locals())
    path, model = Path(path), unwrap_model(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("nothing of this model trains, so there is nothing to save; save it before merge or freezing")
    state = {name: value.cpu().contiguous() for name, value in adapter_state(model).items()}
    if dtype is not None:
        state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    metadata = {"description": _fits(model), "versions": versions(), "about": about}
    metadata["contents"] = digest(sorted(state.items()))  # safetensors itself has no checksum
    content = save(state, {key: json.dumps(value) for key, value in metadata.items()})
    make_folder(path.parent)
    write_whole(path, lambda beside: beside.write_bytes(content))
    return path.stat().st_size


def load_adapters(model: nn.Module, path: str | Path) -> dict:
    """Reads a file of `save_adapters` into a model, and returns its `about`.

    The size of the images may differ: tables of relative positions are cut or interpolated then, as those of a
    backbone's own weights are. Versions are told and not compared.
    Raises FileNotFoundError, or ValueError that names what differs between the file and this model.
    """
    metadata, model = read_metadata(path), unwrap_model(model)
    theirs, ours = metadata["description"], _fits(model)
    resized = _sizes(theirs) != _sizes(ours)
    free = ("img_size", "frozen position tables") if resized else ()
    if found := differences(theirs, ours, free, there="in the file"):
        raise ValueError(f"{path} is for another model: {found[0]}; build the model that it was saved from")
    state = load_file(path)
    if metadata.get("contents") != digest(sorted(state.items())):
        raise ValueError(f"{path} is damaged: its checksum is not that of its content; fetch or save it again")
    wanted = adapter_state(model)
    for key in sorted(wanted.keys() | state):
        if resized and key in wanted.keys() & state and key.endswith(POSITION_TABLES):
            state[key] = _fitted(path, key, state[key], wanted[key].shape)
        shapes = [tuple(held[key].shape) if key in held else "nothing" for held in (state, wanted)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{path}: {key} is {shapes[0]} there and {shapes[1]} here; it is of another method")
    model.load_state_dict(state, strict=False)
    return metadata["about"]


def read_metadata(path: str | Path) -> dict:
    """{"description", "versions", "about", ...} of an adapter file; FileNotFoundError or ValueError for another."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no adapters at {path}; give a file that save_adapters wrote")
    try:
        with safe_open(path, "pt") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole adapter file ({error}); save it again") from error
    if not isinstance(metadata.get("description"), dict):
        raise ValueError(f"{path} does not say what it was saved for; give a file that save_adapters wrote")
    return {"versions": {}, "about": {}} | metadata


def versions() -> dict[str, str]:
    """The libraries that made a file."""
    return {"ptsa_lite": __version__, "torch": torch.__version__, "timm": timm.__version__,
            "python": platform.python_version()}  # fmt: skip


def _fits(model: nn.Module) -> dict:
    """`description`, as JSON gives it back, and hashes of the frozen weights: adapters fit no others."""
    return plain(description(model)) | frozen_weights(model)


def _sizes(description: dict) -> list:
    """The size of the images that a model was made for; of several models in one, each one's."""
    inner = [part for part in description.values() if isinstance(part, dict)]
    return [description.get("img_size"), *(part["img_size"] for part in inner if "img_size" in part)]


def _fitted(path, key: str, table: Tensor, shape: torch.Size) -> Tensor:
    """The file's table of positions at this model's window. Only that of a square window says by itself how it lies."""
    sides = [round(rows**0.5) for rows in (len(table), shape[0])]
    if [side**2 for side in sides] != [len(table), shape[0]] or table.shape[1:] != shape[1:]:
        raise ValueError(f"{path}: {key} cannot be fitted to this model's images; give the size that it was trained at")
    return fit_position_table(table, shape)
