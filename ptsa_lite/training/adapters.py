"""What a training has changed, as one small file: written with what it fits, read only into a model that it fits."""

import json
import platform
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ptsa_lite import __version__
from ptsa_lite.data.disk import write_whole

from .checkpoints import digest


class AdapterFiles:
    """Saving and loading for a model that says what it is by `description()`."""

    def adapter_state(self) -> dict[str, Tensor]:
        """Everything that training changes: trainable parameters and the heads' batch-norm statistics."""
        state = {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}
        return state | {name: b for name, b in self.named_buffers() if "heads." in name}

    def save_adapters(self, path: str | Path, **about) -> int:
        """Writes what was trained, and in its metadata what it fits, as safetensors; returns the file's bytes.

        about: whatever else is worth keeping beside it, as plain values: the run, the metrics.
        """
        path = Path(path)
        state = {name: value.cpu().contiguous() for name, value in self.adapter_state().items()}
        metadata = {"description": self._fits(), "versions": versions(), "about": about, "contents": _contents(state)}
        content = save(state, {key: json.dumps(value) for key, value in metadata.items()})
        write_whole(path, lambda beside: beside.write_bytes(content))
        return path.stat().st_size

    def load_adapters(self, path: str | Path) -> dict:
        """Reads a file of `save_adapters` and returns its `about`; ValueError names the first difference to this model.

        Versions are told and not compared.
        """
        metadata = read_metadata(path)
        described = metadata["description"]
        for key, value in self._fits().items():
            if described.get(key) != value:
                words = f"{key} {described.get(key)!r:.200}, this model has {value!r:.200}"
                raise ValueError(f"{path} was saved for {words}")
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 not a dict
        wanted = self.adapter_state()
        for key in wanted:
            if key not in state or state[key].shape != wanted[key].shape:
                raise ValueError(f"{path} has no {key} of shape {tuple(wanted[key].shape)}; it is of another method")
        extra = sorted(set(state) - set(wanted))
        if extra:
            raise ValueError(f"{path} holds {extra[0]}, which this model does not train; it is of another method")
        if metadata.get("contents") != _contents(state):
            raise ValueError(f"{path} is damaged: its checksum is not that of its content; fetch or save it again")
        self.load_state_dict(state, strict=False)
        return metadata["about"]

    def _fits(self) -> dict:
        """`description()`, as JSON gives it back, and a hash of the frozen weights: adapters fit no others."""
        frozen = ((name, p) for name, p in self.named_parameters() if not p.requires_grad)
        return json.loads(json.dumps(self.description())) | {"frozen weights": digest(frozen)[:16]}


def _contents(state: dict[str, Tensor]) -> str:
    """A checksum of an adapter file's tensors, which safetensors itself has none of."""
    return digest(sorted(state.items()))[:16]


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
