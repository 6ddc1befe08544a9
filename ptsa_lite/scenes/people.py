"""A person = a posed skeleton of 17 round cones: joint angles go in, shapes with part labels come out.

Built facing +y on the ground at the origin, right hand at +x; lengths are those of an adult of 1.75 m, then scaled.
Parts: 1 head, 2 torso with neck, 3 upper arms, 4 lower arms with hands, 5 upper legs, 6 lower legs with feet.
"""

import numpy as np

from .raycast import Shape, cross
from .textures import Paint, plain, rgb

SKIN = ("f3cfb3", "e8b796", "d29c78", "b97a56", "8d5a3b", "6b4229")
HAIR = ("1f1a17", "3b2a20", "5a3a22", "8a5a2b", "c9a25f", "8f8f8f", "a3402a")
CLOTHES = ("d1495b", "edae49", "2e86ab", "3d5a80", "66a182", "f4f1de", "8e5572", "f28f3b", "1b998b", "5f0f40",
           "e5383b", "4361ee", "ffca3a", "8ac926", "6a4c93", "ffffff", "2b2d42", "ee6c4d")  # fmt: skip
TROUSERS = ("22333b", "3d405b", "1d3557", "6b705c", "a68a64", "4a4e69", "7f5539", "2f3e46", "5c677d", "b08968")
SHOES = ("2b2d42", "e5e5e5", "7f4f24", "d62828", "343a40")

# Joint angles in degrees, (right, left): arm raised forward, arm raised sideways, elbow; leg forward, sideways, knee.
POSES = {
    "stand": ((4, 6), (9, 9), (12, 14), (0, 0), (4, 4), (0, 0)),
    "rest": ((10, -4), (14, 8), (25, 10), (10, -4), (6, 5), (12, 2)),
    "walk": ((-28, 30), (6, 6), (18, 32), (28, -22), (2, 2), (8, 24)),
    "run": ((-45, 50), (10, 10), (80, 85), (48, -30), (2, 2), (55, 62)),
    "wave": ((60, 4), (100, 8), (58, 12), (0, 0), (5, 5), (0, 0)),
    "cheer": ((40, 40), (140, 140), (22, 22), (0, 0), (12, 12), (0, 0)),
    "point": ((82, 2), (14, 10), (4, 12), (4, 0), (6, 5), (6, 0)),
    "stretch": ((0, 0), (86, 86), (4, 4), (0, 0), (16, 16), (0, 0)),
    "carry": ((38, 38), (4, 4), (62, 62), (0, 2), (5, 5), (0, 4)),
    "kick": ((-20, 34), (30, 34), (22, 22), (46, -6), (4, 6), (14, 8)),
}
SITTING = {
    "sit": ((28, 28), (8, 8), (48, 48), (86, 86), (8, 8), (84, 84)),
    "lounge": ((20, 34), (24, 6), (30, 60), (82, 80), (14, 6), (68, 78)),
    "read": ((44, 44), (2, 2), (78, 78), (86, 84), (4, 4), (88, 74)),
}
SHOULDER, THIGH, SHIN, UPPER, FORE = 0.52, 0.43, 0.42, 0.28, 0.25  # shoulder above the hip


def person(rng: np.random.Generator, label: int, pose: str, height: float, seat: float | None = None) -> list[Shape]:
    """The shapes of one person: pose from POSES or SITTING, height in metres, `seat` the height of what is sat on."""
    angles = {**POSES, **SITTING}[pose]
    noise = rng.normal(0, 3, (6, 2))
    arm_front, arm_side, elbow, leg_front, leg_side, knee = np.radians(np.array(angles) + noise)
    scale = height / 1.75
    wide = rng.uniform(0.92, 1.12)
    skin, hair, top, sleeve, shorts, trousers, shoes = _wardrobe(rng)
    shapes: list[Shape] = []

    def add(part, a, b, r0, r1, paint, stretch=(1.0, 1.0, 1.0), solid=True):
        a, b = np.multiply(a, scale), np.multiply(b, scale)
        shapes.append(limb(a, b, r0 * scale, r1 * scale, paint, label, part, stretch, solid))

    legs = []
    for k, side in enumerate((1, -1)):
        down = _direction(leg_front[k], leg_side[k], side)
        shin = _direction(leg_front[k] - max(knee[k], 0), leg_side[k] * 0.4, side)
        legs.append((np.array((side * 0.088 * wide, 0, 0)), down * THIGH, shin))
    lowest = min(hip[2] + thigh[2] + shin[2] * SHIN for hip, thigh, shin in legs) - 0.08
    base = np.array((0, 0, -lowest if seat is None else seat / scale + 0.09))
    for k, (hip, thigh, shin) in enumerate(legs):
        joint, ankle = base + hip + thigh, base + hip + thigh + shin * SHIN
        square, length = np.array((0.0, -shin[2], shin[1])), 0.16 if leg_front[k] - knee[k] > -0.5 else 0.12
        toe = ankle + (square / np.linalg.norm(square) * length + shin * 0.045)  # forward, and slightly down
        add(5, base + hip, joint, 0.092 * wide, 0.062, trousers)
        add(6, joint, ankle, 0.06, 0.043, skin if shorts else trousers)
        add(6, ankle + shin * 0.03, toe, 0.05, 0.038, shoes)
    lean = np.array((0, rng.normal(0.02, 0.02), 1))
    chest = base + lean * 0.42
    add(2, base + (0, 0, 0.02), base + lean * 0.05, 0.118 * wide, 0.118 * wide, trousers, (1.3, 0.95, 1), False)
    add(2, base + lean * 0.12, chest, 0.102 * wide, 0.12 * wide, top, (1.4, 0.92, 1))
    neck = base + lean * (SHOULDER + 0.05)
    add(2, chest, neck + (0, 0, 0.05), 0.06, 0.05, skin, solid=False)
    for k, side in enumerate((1, -1)):
        shoulder = base + lean * (SHOULDER - 0.045) + (side * 0.172 * wide, 0, 0)
        upper = _direction(arm_front[k], arm_side[k], side)
        # an arm raised sideways bends up, one that hangs or reaches forward bends forward and up
        towards = (0, 0.2, 1) if arm_side[k] > 0.7 else (-0.25 * side, 1, 0.6)
        fore = _bend(upper, elbow[k], np.array(towards))
        joint, wrist = shoulder + upper * UPPER, shoulder + upper * UPPER + fore * FORE
        add(3, shoulder, joint, 0.051 * wide, 0.042, top)
        add(4, joint, wrist, 0.043, 0.034, top if sleeve else skin)
        add(4, wrist + fore * 0.03, wrist + fore * 0.075, 0.04, 0.034, skin, solid=False)
    _head(add, rng, neck + (0, 0.02, 0.155), scale, skin, hair)
    return shapes


def limb(a, b, r0, r1, paint, label, part=0, stretch=(1.0, 1.0, 1.0), solid=True) -> Shape:
    """A round cone from point a (radius r0) to point b (radius r1)."""
    way = np.subtract(b, a)
    length = float(np.linalg.norm(way))
    z = way / length if length > 1e-6 else np.array((0.0, 0.0, 1.0))
    x = cross((0.0, 1.0, 0.0), z)
    x = x / norm if (norm := np.linalg.norm(x)) > 0.05 else np.array((1.0, 0.0, 0.0))
    axes = np.stack([x, cross(z, x), z])
    return Shape("cone", np.asarray(a, float), axes, (r0, r1, length), paint, label, part, stretch, solid)


def _head(add, rng, centre, scale, skin, hair):
    """Skull with a face, and hair: short, bald, long or a hat. Both belong to the part "head"."""
    face = skin._replace(texture="face", scale=1 / (0.115 * scale))
    add(1, centre, centre, 0.115, 0.115, face, (0.85, 0.93, 1.1))
    style = rng.choice(["short", "long", "bun", "cap", "bald"], p=[0.4, 0.25, 0.12, 0.15, 0.08])
    if style == "bald":
        return
    crown = centre + (0, -0.022, 0.03)
    add(1, crown, crown, 0.115, 0.115, hair, (0.92, 0.95, 1.0), False)
    if style == "long":
        add(1, centre + (0, -0.05, 0.03), centre + (0, -0.07, -0.14), 0.1, 0.085, hair, (1.0, 0.7, 1.0))
    elif style == "bun":
        add(1, centre + (0, -0.1, 0.1), centre + (0, -0.1, 0.1), 0.06, 0.06, hair, solid=False)
    elif style == "cap":
        brim = plain(rng.choice(CLOTHES))
        add(1, centre + (0, -0.005, 0.075), centre + (0, -0.005, 0.075), 0.112, 0.112, brim, (0.98, 1.02, 0.62), False)
        add(1, centre + (0, 0.1, 0.07), centre + (0, 0.1, 0.07), 0.07, 0.07, brim, (1.1, 1.1, 0.2), False)


def _wardrobe(rng):
    skin, hair, shoes = plain(rng.choice(SKIN), 0.05), plain(rng.choice(HAIR), 0.1), plain(rng.choice(SHOES), 0.15)
    first, second = rng.choice(CLOTHES, 2, replace=False)
    pattern = rng.choice(["cloth", "stripes", "checker", "dots"], p=[0.6, 0.2, 0.1, 0.1])
    scale = {"cloth": 1.5, "stripes": 13, "checker": 10, "dots": 11}[pattern]
    top = Paint(pattern, rgb(first), rgb(second), scale)
    leg = rng.choice(TROUSERS) if rng.random() < 0.75 else rng.choice(CLOTHES)
    trousers = Paint("cloth", rgb(leg), scale=2.0)
    return skin, hair, top, rng.random() < 0.45, rng.random() < 0.25, trousers, shoes


def _direction(front: float, side: float, sign: int) -> np.ndarray:
    """A limb hanging down, raised `side` outward, then `front` forward (radians)."""
    return np.array((sign * np.sin(side), np.cos(side) * np.sin(front), -np.cos(side) * np.cos(front)))


def _bend(way: np.ndarray, angle: float, towards: np.ndarray) -> np.ndarray:
    """`way` turned by `angle` towards a direction."""
    across = towards - way * (towards @ way)
    across /= np.linalg.norm(across)
    return way * np.cos(angle) + across * np.sin(angle)
