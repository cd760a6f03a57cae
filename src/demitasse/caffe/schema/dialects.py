"""Field numbers that have different meanings in different versions of Caffe, told apart by the layer's type.

In files, the fork's DNS layers use the numbers of Caffe's swish and clip parameters, and Guo's C layers the numbers
of its elu and bias parameters. Types that only forks of Caffe have (``Permute``, ``BN``, ``Upsample`` ...) have one
message of settings, whose number differs from fork to fork: in a layer of such a type, the message with a number that
is not Caffe's own is taken for it. Other forks have settings of their own at these numbers in layers of any type
(Intel's the engine, NVIDIA's the precision, detection forks a message): these fields get numbers that nothing reads,
and their original numbers again when written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

from demitasse.errors import FileFormatError

_LAYER, _TYPE, _BOTTOM, _BLOBS = 100, 2, 3, 7
_LENGTH_DELIMITED = 2

# layer type -> {number in the file: private number}, for reading and (inverted) for writing
_READ = {
    "DNSConvolution": {147: 1147},
    "DNSInnerProduct": {148: 1148},
    "CConvolution": {140: 151},
    "CInnerProduct": {141: 152},
    "Scale": {160: 142},  # PSPNet
    "Bias": {161: 141},
}
_WRITE = {"DNSConvolution": {1147: 147}, "DNSInnerProduct": {1148: 148}}
# number -> the layer types that use it here; in other types the field belongs to another fork
_OWNERS = {
    147: ("Swish", "DNSConvolution"),
    148: ("Clip", "DNSInnerProduct"),
    149: ("INQConvolution",),
    150: ("INQInnerProduct",),
    151: ("CConvolution",),
    152: ("CInnerProduct",),
    200: ("AnnotatedData",),
    201: ("MultiBoxLoss",),
    202: ("Permute",),
    203: ("PriorBox",),
    204: ("DetectionOutput",),
    205: ("DetectionEvaluate",),
    206: ("Normalize",),
    211: ("ReLU6",),
    301: ("EvalDetection",),
    601: ("YoloDetectionOutput",),
    602: ("Yolov3DetectionOutput",),
    999999: ("DeformableConvolution",),
    8266711: ("ROIPooling",),
    8266712: ("SmoothL1Loss",),
}
_FOREIGN = 1500  # added to the number of a field of another fork

# type that only forks have -> (the number of its settings here, the number that is written)
_HOMES = {
    "AnnotatedData": (200, 200),
    "BN": (1137, 137),  # PSPNet; 45 in SegNet's dialect
    "BoxAnnotatorOHEM": (1203, 150),
    "ContinuationIndicator": (1173, 200),
    "Convolution3D": (1174, 1174),  # C3D
    "Deconvolution3D": (1174, 1174),
    "DeformableConvolution": (999999, 999999),
    "DenseImageData": (1166, 138),
    "DetectionEvaluate": (205, 205),
    "DetectionOutput": (204, 204),
    "EvalDetection": (301, 301),
    "ImResize": (1170, 147),
    "Interp": (1163, 163),
    "Lstm": (1140, 140),
    "MatWrite": (1168, 145),
    "MultiBoxLoss": (201, 201),
    "MultiStageMeanfield": (1172, 1172),
    "Nms": (1171, 148),
    "Normalize": (206, 206),
    "PSROIPooling": (1202, 10002),
    "Pooling3D": (1175, 1175),
    "Permute": (202, 202),
    "PriorBox": (203, 203),
    "Proposal": (1201, 201),
    "ROIPooling": (8266711, 8266711),
    "ReLU6": (211, 211),
    "Reorg": (1149, 149),
    "Reverse": (1143, 143),
    "SegAccuracy": (1164, 164),
    "ShuffleChannel": (1165, 164),
    "SmoothL1Loss": (8266712, 8266712),
    "SpatialDropout": (1167, 155),
    "Transpose": (1142, 142),
    "Unpooling": (1169, 1169),
    "Upsample": (1138, 137),  # SegNet; 150 in MobileNet-YOLO, where it has one bottom
    "YoloDetectionOutput": (601, 601),
    "Yolov3DetectionOutput": (602, 602),
}
_SEGNET_BN, _YOLO_UPSAMPLE = 45, 150
_LAST_COMMON = 136  # up to this number, all forks have Caffe's messages


class _Field(NamedTuple):
    number: int
    wire_type: int
    key_at: int
    start: int
    end: int


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise FileFormatError(f"byte {at}: the message is cut short")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: bytes | bytearray, start: int, end: int) -> Iterator[_Field]:
    """Yields the fields of one serialized message, without copying their content.

    Raises:
        FileFormatError: the bytes end inside a field, or are not a message.
    """
    at = start
    while at < end:
        key_at = at
        key, at = _varint(data, at)
        wire_type = key & 7
        if wire_type == 0:
            stop = _varint(data, at)[1]
        elif wire_type == 1:
            stop = at + 8
        elif wire_type == _LENGTH_DELIMITED:
            length, at = _varint(data, at)
            stop = at + length
        elif wire_type == 5:
            stop = at + 4
        else:
            raise FileFormatError(f"byte {key_at}: not a Caffe message (wire type {wire_type})")
        if key >> 3 == 0:
            raise FileFormatError(f"byte {key_at}: not a Caffe message (field number 0)")
        if stop > end:
            raise FileFormatError(
                f"byte {key_at}: the message is cut short: field {key >> 3} ends at byte {stop}, the data at byte {end}"
            )
        yield _Field(key >> 3, wire_type, key_at, at, stop)
        at = stop


class _Layer:
    """A layer of a serialized NetParameter.

    Attributes:
        data: the NetParameter.
        fields: those of the layer.
        kind: its type.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data = data
        self.fields = list(fields(data, start, end))
        types = [self.content(field) for field in self.fields if field.number == _TYPE]
        self.kind = types[-1].decode(errors="replace") if types else ""

    def content(self, field: _Field) -> bytes:
        """Returns the bytes of a field without its key and its length."""
        return self.data[field.start : field.end]

    def count(self, number: int) -> int:
        """Returns the number of fields with a number."""
        return sum(field.number == number for field in self.fields)


# number -> new number, and what converts the content
Changes = Mapping[int, tuple[int, Callable[[bytes], bytes] | None]]


def _renumber(data: bytes, change: Callable[[_Layer], Changes]) -> bytes:
    """Returns the NetParameter with other numbers, and other contents, of fields of its layers."""
    pieces: list[bytes | memoryview] = []
    view, at = memoryview(data), 0
    for outer in fields(data, 0, len(data)):
        if outer.number != _LAYER or outer.wire_type != _LENGTH_DELIMITED:
            continue
        layer = _Layer(data, outer.start, outer.end)
        changes = change(layer)
        if not any(field.number in changes for field in layer.fields):
            continue
        body: list[bytes | memoryview] = []
        for field in layer.fields:
            if field.number not in changes:
                body.append(view[field.key_at : field.end])
                continue
            number, convert = changes[field.number]
            body.extend(_written(data, field, number, convert))
        length = sum(map(len, body))
        pieces += [view[at : outer.key_at], _key(_LAYER, _LENGTH_DELIMITED), _encoded(length), *body]
        at = outer.end
    return b"".join([*pieces, view[at:]])


def _written(data: bytes, field: _Field, number: int, convert: Callable[[bytes], bytes] | None) -> Sequence[bytes]:
    """Returns the bytes of a field under another number."""
    content = data[field.start : field.end]
    if field.wire_type != _LENGTH_DELIMITED:
        return _key(number, field.wire_type), content
    content = content if convert is None else convert(content)
    return _key(number, field.wire_type), _encoded(len(content)), content


def _key(number: int, wire_type: int) -> bytes:
    return _encoded(number << 3 | wire_type)


def _encoded(value: int) -> bytes:
    """Returns a number as a varint."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _renumbered(message: bytes, numbers: Mapping[int, int]) -> bytes:
    """Returns a message whose fields have other numbers; fields without one keep theirs."""
    pieces: list[bytes] = []
    for field in fields(message, 0, len(message)):
        pieces += _written(message, field, numbers.get(field.number, field.number), None)
    return b"".join(pieces)


def _swap_guo_inner_product(message: bytes) -> bytes:
    """Swaps iter_stop and c_rate, which have numbers 3 and 4 in Guo's CInnerProductParameter but 4 and 3 here."""
    return _renumbered(message, {3: 4, 4: 3})


# BNParameter in three dialects: number in the file -> number here
_SEGNET = {3: 1003}
_TSN = {1: 1001, 2: 1002, 3: 1007, 4: 1008, 5: 1009, 6: 1012}
_PSPNET = {3: 1013, 4: 1014, 5: 1015, 6: 1016, 7: 1007, 8: 1008, 9: 1009, 12: 1012}
_MOMENTUM = 0.1  # a third field above this is TSN's momentum; below, PSPNet's var_eps
_FLOAT, _VARINT = 5, 0


def _batch_norm_numbers(message: bytes, number: int, blobs: int) -> Mapping[int, int]:
    """Returns the numbers of the dialect of a BNParameter, by its fields, else by its number or the layer's blobs."""
    types = {field.number: field.wire_type for field in fields(message, 0, len(message))}
    if number == _SEGNET_BN or types.get(3) == _VARINT:
        return _SEGNET
    if types.get(4) == _VARINT or types.get(5) == _FLOAT or max(types, default=0) > 6:
        return _PSPNET
    if types.get(4) == _FLOAT or types.get(5) == _VARINT:
        return _TSN
    third = [message[field.start : field.end] for field in fields(message, 0, len(message)) if field.number == 3]
    if third:
        return _TSN if struct.unpack("<f", third[-1])[0] > _MOMENTUM else _PSPNET
    return _TSN if blobs == 4 else _SEGNET


def _batch_norm_file_numbers(message: bytes) -> tuple[int, Mapping[int, int]]:
    """Returns the number that a BNParameter has in files of its dialect, and those of its fields there."""
    found = {field.number for field in fields(message, 0, len(message))}
    dialect = next((d for d in (_SEGNET, _PSPNET) if found & set(d.values()) - set(_TSN.values())), None)
    if dialect is None:
        dialect = _SEGNET if found & {1, 2} else _TSN
    return _SEGNET_BN if dialect is _SEGNET else _HOMES["BN"][1], _inverted(dialect)


@cache
def _foreign(kind: str) -> dict[int, int]:
    return {number: number + _FOREIGN for number, owners in _OWNERS.items() if kind not in owners}


def _inverted(numbers: Mapping[int, int]) -> dict[int, int]:
    return {new: old for old, new in numbers.items()}


def _is_message(data: bytes) -> bool:
    try:
        return all(field.number for field in fields(data, 0, len(data)))
    except FileFormatError:
        return False


def _own_settings(layer: _Layer) -> _Field | None:
    """Returns the message that is taken for the settings of a type that only forks have; None if it is at home."""
    home, _ = _HOMES[layer.kind]
    if layer.count(home):
        return None
    for field in layer.fields:
        is_fork = field.number == _SEGNET_BN or field.number > _LAST_COMMON
        if is_fork and field.wire_type == _LENGTH_DELIMITED and _is_message(layer.content(field)):
            return field
    return None


def _reading(layer: _Layer) -> Changes:
    swap = {141: _swap_guo_inner_product} if layer.kind == "CInnerProduct" else {}
    numbers = _foreign(layer.kind) | _READ.get(layer.kind, {})
    changes = {old: (new, swap.get(old)) for old, new in numbers.items()}
    own = _own_settings(layer) if layer.kind in _HOMES else None
    if own is not None:
        convert = None
        if layer.kind == "BN":
            inner = _batch_norm_numbers(layer.content(own), own.number, layer.count(_BLOBS))
            convert = partial(_renumbered, numbers=inner)
        changes[own.number] = _HOMES[layer.kind][0], convert
    return changes


def _writing(layer: _Layer) -> Changes:
    numbers = _inverted(_foreign(layer.kind)) | _WRITE.get(layer.kind, {})
    changes: dict[int, tuple[int, Callable[[bytes], bytes] | None]] = {old: (new, None) for old, new in numbers.items()}
    if layer.kind in _HOMES:
        home, number = _HOMES[layer.kind]
        changes[home] = (number, None)
        if layer.kind == "Upsample" and layer.count(_BOTTOM) == 1:
            changes[home] = _YOLO_UPSAMPLE, None
        for field in layer.fields:
            if layer.kind == "BN" and field.number == home:
                number, inner = _batch_norm_file_numbers(layer.content(field))
                changes[home] = number, partial(_renumbered, numbers=inner)
    return changes


def to_private_numbers(data: bytes) -> bytes:
    """Converts the field numbers of a serialized NetParameter from a file to the private ones."""
    return _renumber(data, _reading)


def to_file_numbers(data: bytes) -> bytes:
    """Converts the field numbers of a serialized NetParameter to those that forks write to files."""
    return _renumber(data, _writing)
