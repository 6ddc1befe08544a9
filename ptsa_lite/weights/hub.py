"""The Hugging Face hub, asked once: what it does not give at once is told in one sentence, not waited for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import timm
from huggingface_hub import constants, get_session
from torch import nn


def fetch(name: str, options: Mapping) -> nn.Module:
    """timm's model with its weights. Raises OSError with the ways out where they cannot be had."""
    ways = "connect to the network, give the path of a file as weights, or weights='random'"
    with asked_once(f"the weights of {name} could not be fetched from the Hugging Face hub", ways):
        return timm.create_model(name, pretrained=True, **options)


@contextmanager
def asked_once(failure: str = "", ways: str = "") -> Iterator[str]:
    """A block in which a hub that does not answer at once is not asked again: what is cached serves, and nothing waits.

    Gives why it is not asked, in words; none where it is. With `failure`, whatever carries or refuses the question
    raises OSError: the failure, why, and the ways out.
    """
    offline = constants.HF_HUB_OFFLINE
    why = "HF_HUB_OFFLINE is set in the environment" if offline else ""
    try:
        why or get_session().head(constants.ENDPOINT, timeout=5)
    except Exception as error:  # of whatever carries the question
        why = f"{constants.ENDPOINT}: {' '.join(str(error).split())[:100]}"
    constants.HF_HUB_OFFLINE = bool(why)
    try:
        yield why
    except Exception as error:
        ours = isinstance(error, ValueError) and not type(error).__module__.startswith("huggingface_hub")
        if ours or not failure:
            raise
        raise OSError(f"{failure} ({why or ' '.join(str(error).split())[:200]}); {ways}") from error
    finally:
        constants.HF_HUB_OFFLINE = offline
