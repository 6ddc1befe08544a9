"""A trained run as a folder, or a place on the Hugging Face hub, that others load by one line.

    adapters.safetensors  what was trained, and what it fits (`training.adapters`)
    config.json           the run, its metrics, costs and versions; nothing of the machine that it ran on
    README.md             the model card, written from these

The frozen backbone is not in it: it is read again from where the run says, and must be the same bit for bit.

    Pretrained.of("runs/train/mine").save_pretrained("folder")     # or .push_to_hub("owner/name")
    model = Pretrained.from_pretrained("folder").model             # or "owner/name"
"""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, hf_hub_download
from torch import nn

from ptsa_lite.data.disk import read_json, write_json
from ptsa_lite.methods import METHODS
from ptsa_lite.training.adapters import load_adapters, save_adapters
from ptsa_lite.tree import TaskTree
from ptsa_lite.weights.hub import asked_once

from .run import Run, make_model, run_tasks
from .train import folder_of, load_run

ADAPTERS = "adapters.safetensors"
KEPT = ("metrics", "parameters", "gmacs", "frames", "versions")  # of a run's result


class Pretrained(ModelHubMixin, library_name="ptsa-lite", tags=["multi-task-learning", "lora", "dense-prediction"]):
    """A trained model with what is known of it. `config` holds "run", a `Run` as plain values, and all of KEPT."""

    def __init__(self, model: nn.Module, config: dict[str, Any]):
        self.model, self.config = model, config

    @classmethod
    def of(cls, folder: str | Path) -> "Pretrained":
        """What `train` left in a folder after its last epoch, with the numbers of that epoch."""
        run, model = load_run(folder)
        result = read_json(folder_of(folder) / "result.json", then="train to the end first")
        config = {key: result[key] for key in ("run", *KEPT)}
        if Path(run.weights).is_file():
            config["run"]["weights"] = Path(run.weights).name
        return cls(model, config)

    @property
    def run(self) -> Run:
        return Run.from_dict(self.config["run"])

    def _save_pretrained(self, save_directory: Path) -> None:
        for path in (save_directory / "config.json", save_directory / "README.md"):
            if path.is_file() and "ptsa" not in path.read_text(encoding="utf-8", errors="replace"):
                raise ValueError(f"{path} is somebody else's; give a folder of its own")
        if lacking := [key for key in ("run", *KEPT) if key not in self.config]:
            raise ValueError(
                f"config lacks {', '.join(lacking)}; `Pretrained.of` makes it of a folder that was trained in"
            )
        save_adapters(self.model, save_directory / ADAPTERS, **self.config)
        write_json(save_directory / "config.json", self.config)
        self.generate_model_card().save(save_directory / "README.md")  # over an older one, too

    @classmethod
    def from_pretrained(cls, place: str | Path, **options) -> "Pretrained":
        """The trained model in a folder, or of OWNER/NAME on the hub. Raises OSError where neither is to be had."""
        if Path(place).is_dir():
            return super().from_pretrained(place, **options)
        failure = f"{place} is no folder, and could not be fetched from the hub"
        with asked_once(failure, "give a folder that save_pretrained wrote, or OWNER/NAME"):
            return super().from_pretrained(place, **options)

    def push_to_hub(self, repo_id: str, **options) -> str:
        """As huggingface_hub's mixin. Raises OSError where the hub does not take it."""
        ways = "log in by `hf auth login`, or save_pretrained into a folder, and upload that"
        with asked_once(f"{repo_id} could not be written to the hub", ways):
            return super().push_to_hub(repo_id, **options)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, config: dict | None = None, weights: str = "", **fetch) -> "Pretrained":
        """weights: the backbone's file, where it had one of its own. Raises ValueError for what is no such folder."""
        if not config or "run" not in config:
            raise ValueError(f"{model_id} holds no config.json that save_pretrained wrote; give its folder or hub name")
        run = Run.from_dict(config["run"])
        if Path(model_id).is_dir():
            path = Path(model_id) / ADAPTERS
        else:
            options = ("revision", "cache_dir", "force_download", "token", "local_files_only")
            path = hf_hub_download(model_id, ADAPTERS, **{key: fetch[key] for key in options if key in fetch})
        model = make_model(replace(run, weights=weights or run.weights))
        load_adapters(model, path)
        return cls(model.eval(), config)

    def generate_model_card(self, *args, **kwargs) -> ModelCard:
        """A page with what was trained on what, its numbers, and how to use it: assets/model_card.md, filled in."""
        run, tree = self.run, TaskTree.from_dict(self.run.tree) if self.run.tree else ""
        head = ModelCardData(library_name="ptsa-lite", tags=self._hub_mixin_info.model_card_data.tags)
        values = {"run": run, "tasks": run_tasks(run), "method": METHODS[run.method].title, "tree": tree}
        template = str(files("ptsa_lite") / "assets" / "model_card.md")
        return ModelCard.from_template(head, template, **self.config | values)
