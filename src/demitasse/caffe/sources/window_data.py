"""WindowData: crops windows of images, some of objects and some of background, for training R-CNN."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.mean import read_mean
from demitasse.caffe.list_file import read_regular, shown
from demitasse.caffe.sources.ahead import AheadSource
from demitasse.caffe.sources.base import SOURCES, State
from demitasse.caffe.sources.windows import Framing, read_window_file, split_windows
from demitasse.errors import DataError, NetError

Array = NDArray[np.float32]
Window = list[int]  # image, class, overlap (whole), x1, y1, x2, y2


@SOURCES.register("WindowData")
class WindowData(AheadSource[list[tuple[Window, bool]]]):
    """Draws windows at random: first background, then objects (``fg_fraction`` of the batch).

    As in Caffe, ``crop_size``, ``mirror`` and the mean are set in ``transform_param``, but the scale is
    ``window_data_param.scale``. Outside the image, the crop is 0.
    """

    splits_by_rank = True

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param, transform = spec.window_data_param, spec.transform_param
        self._param, self._transform = param, transform
        crop = transform.crop_size
        if not param.batch_size or not crop:
            raise NetError(
                f"window_data_param has batch_size {param.batch_size} and transform_param crop_size {crop}; "
                "expected both above 0"
            )
        if param.crop_mode not in ("warp", "square"):
            raise NetError(f"crop_mode is {param.crop_mode!r}; expected 'warp' or 'square'")
        if 2 * param.context_pad >= crop:
            raise NetError(f"context_pad is {param.context_pad}; expected less than half of crop_size {crop}")
        if len(spec.top) > 2:
            raise NetError(f"WindowData has at most two tops, an image and a label; found {len(spec.top)}")
        self._framing = Framing(crop, param.context_pad, param.crop_mode == "square")
        self._mean = _mean(transform)
        self._cache: dict[int, bytes] = {}
        file = read_window_file(param.source)
        self._images = file.images
        objects = int(np.float32(param.batch_size) * np.float32(param.fg_fraction))
        self._counts = (param.batch_size - objects, objects)
        self._windows = [table.astype(int) for table in split_windows(file, param.fg_threshold, param.bg_threshold)]
        for kind, count, table in zip(("background", "objects"), self._counts, self._windows, strict=True):
            if count > 0 and not len(table):
                raise DataError(f"{param.source}: there are no windows of {kind}, but each batch needs {count}")
        self.shapes = [(param.batch_size, 3, crop, crop), (param.batch_size,)][: len(spec.top)]
        super().__init__(spec, phase)

    @override
    def rewind(self) -> None:
        """Does nothing: random windows have no order and so no beginning."""

    @override
    def position(self) -> State:
        return {"random": self.random.bit_generator.state}

    @override
    def seek(self, position: State) -> None:
        self.random.bit_generator.state = position["random"]

    @override
    def plan_batch(self) -> list[tuple[Window, bool]]:
        drawn = [window for _ in range(self.ranks) for window in self._drawn()]
        return drawn[self.rank :: self.ranks]

    def _drawn(self) -> list[tuple[Window, bool]]:
        """Draws the windows of one batch, and whether to mirror each."""
        rows = [
            row
            for table, count in zip(self._windows, self._counts, strict=True)
            if count > 0
            for row in table[self.random.integers(len(table), size=count)].tolist()
        ]
        mirrors = self.random.integers(2, size=len(rows), dtype=bool) & self._transform.mirror
        return list(zip(rows, mirrors.tolist(), strict=True))

    @override
    def make_batch(self, plan: list[tuple[Window, bool]]) -> list[Tensor]:
        crops = np.zeros(self.shapes[0], np.float32)
        for crop, (window, mirror) in zip(crops, plan, strict=True):
            try:
                self._draw(crop, window, mirror)
            except DataError as error:
                raise error.within(shown(self._path(window[0]))) from error
        labels = np.array([window[1] for window, _ in plan], np.float32)
        return [torch.from_numpy(top) for top in (crops, labels)[: len(self.shapes)]]

    def _draw(self, crop: Array, window: Window, mirror: bool) -> None:
        """Warps a window to its place in the crop, (3, crop, crop)."""
        from demitasse.caffe.images.codec import decode, resize

        image = decode(self._content(window[0]), color=True)
        x1, y1, x2, y2 = window[3:]
        region = self._framing.region(x1, y1, x2, y2, image.shape[2], image.shape[1])
        top, left, height, width = region.offset(crop.shape[1], mirror)
        warped = resize(image[:, region.y1 : region.y2 + 1, region.x1 : region.x2 + 1], height, width)
        place = (slice(None), slice(top, top + height), slice(left, left + width))
        crop[place] = warped[:, :, ::-1] if mirror else warped
        crop[place] -= np.broadcast_to(self._mean, crop.shape)[place]
        crop[place] *= np.float32(self._param.scale)

    def _content(self, index: int) -> bytes:
        if index in self._cache:
            return self._cache[index]
        content = read_regular(self._path(index))
        if self._param.cache_images:
            self._cache[index] = content
        return content

    def _path(self, index: int) -> str:
        return f"{self._param.root_folder}{self._images[index]}"


def _mean(param: schema.TransformationParameter) -> Array:
    """Returns the mean to subtract, (3, crop, crop) from the centre of a mean file, else (3 or 1, 1, 1)."""
    if param.mean_file and param.mean_value:
        raise NetError("transform_param has both mean_file and mean_value; give one of them")
    if len(param.mean_value) not in (0, 1, 3):
        raise NetError(f"found {len(param.mean_value)} mean_value for 3 channels; expected 1 or 3")
    if not param.mean_file:
        return np.array(list(param.mean_value) or [0], np.float32).reshape(-1, 1, 1)
    mean = read_mean(param.mean_file)
    channels, height, width = mean.shape
    crop, offset = param.crop_size, (width - param.crop_size) // 2
    if channels != 3 or offset < 0 or offset + crop > height:
        raise DataError(
            f"{param.mean_file}: the mean has shape {list(mean.shape)}; expected at least [3, {crop}, {crop}]"
        )
    return mean[:, offset : offset + crop, offset : offset + crop]
