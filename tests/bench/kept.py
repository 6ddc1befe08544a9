"""What a training step keeps for its backward pass, and where: counted, not timed, so that any machine agrees."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

PLACES = {  # the first of these that is among a module's names says where it stands
    "heads": "heads", "patch_embed": "patch embedding", "downsample": "patch merging",
    "qkv": "adapted layers", "proj": "adapted layers", "fc1": "adapted layers", "fc2": "adapted layers",
    "norm": "norms", "norm1": "norms", "norm2": "norms",
}  # fmt: skip
ELSEWHERE = "attention, GELU, sums"


def place_of(name: str) -> str | None:
    """Of a module, by its qualified name; None where its caller's place holds."""
    return next((place for part, place in PLACES.items() if part in name.split(".")), None)


def kept_for_backward(model: nn.Module, forward: Callable[[], Tensor]) -> dict[str, int]:
    """Bytes by place of what autograd saves while `forward` makes a loss; each storage once, parameters never.

    A tensor belongs to the place that saves it first. What follows the model's last module is the losses'.
    """
    standing, found = [ELSEWHERE], Counter()
    seen = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    alive = []  # a storage that is freed would lend its address to another

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            alive.append(storage)
            found[standing[-1]] += storage.nbytes()
        return tensor

    handles = []
    for name, module in model.named_modules():
        if place := "the model" if module is model else place_of(name):
            handles += [
                module.register_forward_pre_hook(lambda *_, place=place: standing.append(place)),
                module.register_forward_hook(lambda *_: standing.pop() and None, always_call=True),
            ]
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    found["losses"] += found.pop(ELSEWHERE, 0)
    found[ELSEWHERE] += found.pop("the model", 0)
    return dict(found)
