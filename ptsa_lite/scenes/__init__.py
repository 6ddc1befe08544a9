"""Scenes drawn with exact labels for every task: a closed box with one face.

SCENES_VERSION is part of every result and cache that was made of scenes. It grows by one whenever a change of this
folder changes a single pixel of a scene or of its labels, and never otherwise; tests/scenes/test_render.py compares a
few scenes with the hashes that belong to the present version.
"""

from .furniture import SCENE_CLASSES
from .render import render_scene

__all__ = ["SCENES_VERSION", "SCENE_CLASSES", "render_scene"]

SCENES_VERSION = 1
