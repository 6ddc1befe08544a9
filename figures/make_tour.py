"""The model that comes with the package and the animation at the head of README, by one command that can be resumed:

    python figures/make_tour.py

configs/tour.yaml says what is trained. After each epoch the model is asked about a few scenes that it never trains on;
the animation shows its answers. The packaged file holds what was trained in half precision, and the metrics beside it
are measured with what that file holds.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ptsa_lite.data import open_dataset
from ptsa_lite.data.disk import make_folder, read_json, write_into, write_json, write_whole
from ptsa_lite.experiments.run import Run
from ptsa_lite.experiments.settings import read_run
from ptsa_lite.experiments.train import TOUR, evaluate_run, load_run, train_run
from ptsa_lite.figures.pictures import picture_of
from ptsa_lite.figures.style import SOFT
from ptsa_lite.figures.tree import draw_adaptation
from ptsa_lite.predict import paint, predict
from ptsa_lite.training.adapters import save_adapters
from ptsa_lite.tree import TaskTree

Maps = dict[str, np.ndarray]  # {task: (H, W, 3) uint8}
SCENES = (3, 0, 1, 5)  # of the first of the validation scenes, those of notebook 00; the first one is the tour's own
MOMENTS = (1, 2, 3, 4, 6, 9, 13, 20)  # epochs that are shown, besides the last one


def train_tour(run: Run, folder: Path, report: Callable[[str], None] = print) -> dict:
    """Trains, and keeps what is said of the scenes after each epoch: FOLDER/seen/EPOCH.npz, "SCENE TASK": (H, W, 3)."""
    pictures, seen = tour_pictures(run), make_folder(folder / "seen")

    def watch(model: torch.nn.Module, record: dict) -> None:
        said = {f"{number} {name}": shown
                for number, maps in enumerate(shown_maps(model, pictures)) for name, shown in maps.items()}  # fmt: skip
        write_into(seen / f"{record['epoch']:03d}.npz", lambda file: np.savez_compressed(file, **said))

    return train_run(run, folder, report, watch=watch)


def shown_maps(model: torch.nn.Module, pictures: list[np.ndarray]) -> list[Maps]:
    """Of each picture: what the model says, in the task's colours."""
    return [{name: paint(model.tasks[name], values) for name, values in maps.items()}
            for maps in predict(model, pictures)]  # fmt: skip


def tour_pictures(run: Run, side: int = 256) -> list[np.ndarray]:
    """The scenes that the animation shows, (side, side, 3) uint8."""
    scenes = open_dataset("scenes", split="val", img_size=384, tasks=run.tasks, n_frames=max(SCENES) + 1)
    pictures = (Image.fromarray(picture_of(scenes[number]["image"])) for number in SCENES)
    return [np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS)) for picture in pictures]


def pack_tour(folder: Path, target: Path = TOUR) -> dict:
    """Copies a finished run to where the package keeps it, in half precision, and measures it there again."""
    run, model = load_run(folder)
    result = read_json(folder / "result.json")
    for name in ("run.json", "history.json"):
        write_whole(make_folder(target) / name, lambda path, name=name: path.write_bytes((folder / name).read_bytes()))
    save_adapters(model, target / "last.safetensors", dtype=torch.float16, run=result["run"])
    result["metrics"] = evaluate_run(target)["metrics"]
    write_json(target / "result.json", result)
    return result


def animate_tour(folder: Path, path: Path) -> None:
    """Draws a finished run's animation. An epoch whose answers a kill has cost is left out."""
    run, model = load_run(folder)
    tree, pictures = TaskTree.from_dict(run.tree), tour_pictures(run)
    moments, last = [], len(read_json(folder / "history.json", list))
    for epoch in MOMENTS:
        kept = folder / "seen" / f"{epoch:03d}.npz"
        if epoch < last and kept.is_file():
            with np.load(kept) as said:
                maps = [{name: said[f"{number} {name}"] for name in tree.tasks} for number in range(len(pictures))]
            moments.append((f"after {epoch} epoch{'s' * (epoch > 1)} of training", maps))
    moments.append((f"after {last} epochs of training", shown_maps(model, pictures)))
    write_whole(path, lambda beside: save_animation(moving_adaptation(tree, pictures, moments), beside))


def moving_adaptation(
    tree: TaskTree, pictures: Sequence[np.ndarray], moments: Sequence[tuple[str, Sequence[Maps]]]
) -> Iterator[tuple[Image.Image, int]]:
    """Frames and how many milliseconds each is shown, of pictures and, by title, of every picture's maps at a moment.

    First all tasks share every adapter, and the groups of each stage leave the middle, the last stage first. Then what
    is said of the first picture at one moment of the training after the other; at last the other pictures.
    """
    blank = {name: np.full((2, 2, 3), 235, np.uint8) for name in tree.tasks}
    opened, splits = [0.0] * len(tree.stages), [i for i, groups in enumerate(tree.stages) if len(groups) > 1]
    yield _frame(tree, pictures[0], blank, opened, "all adapters shared"), 900
    for stage in reversed(splits):
        for share in np.linspace(0, 1, 11)[1:]:
            opened[stage] = float(share * share * (3 - 2 * share))  # begins and ends slowly
            yield _frame(tree, pictures[0], blank, opened, "separating, stage by stage"), 60
    for title, maps in moments:
        yield _frame(tree, pictures[0], maps[0], opened, title), 420
    title, maps = moments[-1]
    for picture, said in zip(pictures, maps, strict=True):
        yield _frame(tree, picture, said, opened, title), 1300


def save_animation(frames: Iterator[tuple[Image.Image, int]], path: Path) -> None:
    """An animated GIF that begins again when it is over. All frames have the palette of the last four."""
    images, milliseconds = zip(*frames, strict=True)
    last = Image.fromarray(np.concatenate([np.asarray(image) for image in images[-4:]]))
    colours = last.quantize(256, dither=Image.Dither.NONE)
    first, *rest = (image.quantize(palette=colours, dither=Image.Dither.NONE) for image in images)
    first.save(path, format="gif", save_all=True, append_images=rest, duration=milliseconds, loop=0, optimize=True)


def _frame(tree: TaskTree, picture: np.ndarray, maps: Maps, opened: Sequence[float], title: str) -> Image.Image:
    figure = draw_adaptation(tree, picture, maps, opened=opened)
    figure.text(0.01, 0.9, title, color=SOFT, fontsize=11)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return Image.open(file).convert("RGB")


if __name__ == "__main__":
    place = Path("runs/tour")
    train_tour(read_run("tour"), place)
    pack_tour(place)
    animate_tour(place, Path(__file__).with_name("tour.gif"))
