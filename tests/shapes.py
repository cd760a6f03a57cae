"""A toy detection set: pictures of coloured and striped rectangles, with files of their boxes like PASCAL VOC's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("red", "green", "striped")


def draw_shapes(folder: Path, split: str, count: int, seed: int) -> None:
    """Draws pictures into a folder, with a list of them, and the map of the classes."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        pixels, boxes = _picture(rng)
        name = f"{split}{number}"
        Image.fromarray(pixels).save(folder / f"{name}.png")
        height, width = pixels.shape[:2]
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        (folder / f"{name}.xml").write_text(f"<annotation>{size}{''.join(map(_object, boxes))}</annotation>")
        lines.append(f"{name}.png {name}.xml\n")
    (folder / f"{split}.txt").write_text("".join(lines))
    items = [f'item {{ name: "{name}" label: {label} }}' for label, name in enumerate(("background", *CLASSES))]
    (folder / "labelmap.prototxt").write_text("\n".join(items))


def _picture(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, int, int, int, int]]]:
    """Returns noise with up to three rectangles that do not touch, (height, width, 3), and their boxes."""
    height, width = rng.integers(56, 90, 2)
    pixels = rng.integers(90, 150, (height, width, 3), np.uint8)
    boxes: list[tuple[str, int, int, int, int]] = []
    for _ in range(rng.integers(1, 4)):
        across, down = (int(side) for side in rng.integers(12, 32, 2))
        x, y = int(rng.integers(width - across)), int(rng.integers(height - down))
        if any(x < box[3] and box[1] < x + across and y < box[4] and box[2] < y + down for box in boxes):
            continue
        kind = int(rng.integers(3))
        region = pixels[y : y + down, x : x + across]
        region[:] = 60 if kind < 2 else 230
        if kind < 2:
            region[..., kind] = 220
        else:
            region[::4], region[1::4] = 20, 20
        boxes.append((CLASSES[kind], x, y, x + across, y + down))
    return pixels, boxes


def _object(box: tuple[str, int, int, int, int]) -> str:
    sides = "".join(
        f"<{side}>{at}</{side}>" for side, at in zip(("xmin", "ymin", "xmax", "ymax"), box[1:], strict=True)
    )
    return f"<object><name>{box[0]}</name><difficult>0</difficult><bndbox>{sides}</bndbox></object>"
