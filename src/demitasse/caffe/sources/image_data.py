"""ImageData: reads the image files in a list, each with a label."""

from __future__ import annotations

from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.image_list import ImageListEntry, read_image_list
from demitasse.caffe.images.resizing import Resized
from demitasse.caffe.images.transform import Windowed
from demitasse.caffe.list_file import read_regular, shown
from demitasse.caffe.sources.base import SOURCES, State
from demitasse.caffe.sources.images import ImageSource
from demitasse.errors import DataError, NetError


@SOURCES.register("ImageData")
class ImageData(ImageSource[ImageListEntry]):
    """Reads the files in the order of the list; a batch may wrap around to the first file.

    With ``shuffle``, each epoch has its own order. ``new_height`` and ``new_width`` resize images before the crop.
    """

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param = spec.image_data_param
        if bool(param.new_height) != bool(param.new_width):
            raise NetError(f"new_height is {param.new_height} and new_width {param.new_width}; give both or neither")
        self._param = param
        self._entries = read_image_list(param.source)
        super().__init__(spec, phase, param.batch_size)

    @override
    def next_items(self, count: int) -> list[ImageListEntry]:
        entries: list[ImageListEntry] = []
        while len(entries) < count:
            if self._position == len(self._order):
                self._start_epoch()
            found = self._order[self._position : self._position + count - len(entries)]
            entries += [self._entries[index] for index in found]
            self._position += len(found)
        return entries

    @override
    def decode(self, item: ImageListEntry) -> tuple[Windowed, int]:
        from demitasse.caffe.images.codec import decode

        param = self._param
        content = read_regular(param.root_folder + item.name)
        try:
            image = decode(content, param.is_color)
        except DataError as error:
            raise error.within(self.describe_item(item)) from error
        size = (param.new_height, param.new_width)
        return image if size in (image.shape[1:], (0, 0)) else Resized(image, *size), item.label

    @override
    def describe_item(self, item: ImageListEntry) -> str:
        return shown(f"{self._param.root_folder}{item.name}")

    @override
    def rewind(self) -> None:
        skip = int(self.random.integers(self._param.rand_skip)) if self._param.rand_skip else 0
        self._start_epoch()
        self._position = skip % len(self._order)

    @override
    def position(self) -> State:
        # the order is not stored; it is drawn again from the generator's state before the epoch
        return {"random": self.random.bit_generator.state, "before": self._before, "position": self._position}

    @override
    def seek(self, position: State) -> None:
        if not 0 <= position["position"] <= len(self._entries):
            raise DataError(
                f"{self._param.source}: the state is at image {position['position']}, "
                f"but the list has {len(self._entries)}"
            )
        self.random.bit_generator.state = position["before"]
        self._start_epoch()
        self.random.bit_generator.state = position["random"]
        self._position = position["position"]

    def _start_epoch(self) -> None:
        count = len(self._entries)
        self._before = self.random.bit_generator.state
        self._order = self.random.permutation(count).tolist() if self._param.shuffle else range(count)
        self._position = 0
