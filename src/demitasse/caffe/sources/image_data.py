"""ImageData: reads the image files in a list, each with a label."""

from __future__ import annotations

from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.image_list import ImageListEntry, read_image_list
from demitasse.caffe.images.resizing import Resized
from demitasse.caffe.images.transform import Windowed
from demitasse.caffe.list_file import read_regular, shown
from demitasse.caffe.sources.base import SOURCES
from demitasse.caffe.sources.images import ImageSource
from demitasse.caffe.sources.listed import ListOrder
from demitasse.errors import DataError, NetError


@SOURCES.register("ImageData")
class ImageData(ImageSource[ImageListEntry]):
    """Reads the files in the order of the list; a batch may wrap around to the first file.

    With ``shuffle``, each epoch has its own order. ``new_height`` and ``new_width`` resize images before the crop.
    """

    order: ListOrder[ImageListEntry]

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param = spec.image_data_param
        if bool(param.new_height) != bool(param.new_width):
            raise NetError(f"new_height is {param.new_height} and new_width {param.new_width}; give both or neither")
        self._param = param
        self.order = ListOrder(read_image_list(param.source), param.source, param.shuffle, param.rand_skip)
        super().__init__(spec, phase, param.batch_size)

    @override
    def next_items(self, count: int) -> list[ImageListEntry]:
        return self.order.next_entries(count, self.random)

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
