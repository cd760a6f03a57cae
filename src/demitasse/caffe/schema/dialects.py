"""Field numbers that have different meanings in different versions of Caffe, told apart by the layer's type.

In files, the fork's DNS layers use the numbers of Caffe's swish and clip parameters, and Guo's C layers the numbers
of its elu and bias parameters. Other forks have settings of their own at these numbers in layers of any type (Intel's
the engine, NVIDIA's the precision, detection forks a message): these fields get numbers that nothing reads, and their
original numbers again when written. All keys involved take two bytes, so a serialized net is renumbered in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from demitasse.errors import FileFormatError

_LAYER, _TYPE = 100, 2
_LENGTH_DELIMITED = 2

# layer type -> {number in the file: private number}, for reading and (inverted) for writing
_READ = {
    "DNSConvolution": {147: 1147},
    "DNSInnerProduct": {148: 1148},
    "CConvolution": {140: 151},
    "CInnerProduct": {141: 152},
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
}
_FOREIGN = 1500  # added to the number of a field of another fork


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


def _renumber(data: bytes, numbers_of: Callable[[str], dict[int, int]]) -> bytes:
    patched = bytearray(data)
    for layer in fields(patched, 0, len(patched)):
        if layer.number != _LAYER or layer.wire_type != _LENGTH_DELIMITED:
            continue
        kind = ""
        for field in fields(patched, layer.start, layer.end):
            if field.number == _TYPE:
                kind = bytes(patched[field.start : field.end]).decode(errors="replace")
        numbers = numbers_of(kind)
        for field in fields(patched, layer.start, layer.end):
            if field.number in numbers:
                if field.number == 141 and kind == "CInnerProduct":
                    _swap_guo_inner_product(patched, field)
                key = numbers[field.number] << 3 | field.wire_type
                patched[field.key_at : field.key_at + 2] = bytes((key & 0x7F | 0x80, key >> 7))
    return bytes(patched)


def _swap_guo_inner_product(data: bytearray, message: _Field) -> None:
    """Swaps iter_stop and c_rate, which have numbers 3 and 4 in Guo's CInnerProductParameter but 4 and 3 here."""
    for field in list(fields(data, message.start, message.end)):
        if field.number in (3, 4) and field.wire_type == 5:
            data[field.key_at] = (7 - field.number) << 3 | 5


@cache
def _foreign(kind: str) -> dict[int, int]:
    return {number: number + _FOREIGN for number, owners in _OWNERS.items() if kind not in owners}


def _inverted(numbers: dict[int, int]) -> dict[int, int]:
    return {new: old for old, new in numbers.items()}


def to_private_numbers(data: bytes) -> bytes:
    """Converts the field numbers of a serialized NetParameter from a file to the private ones."""
    return _renumber(data, lambda kind: _foreign(kind) | _READ.get(kind, {}))


def to_file_numbers(data: bytes) -> bytes:
    """Converts the field numbers of a serialized NetParameter to those that the fork writes to files."""
    return _renumber(data, lambda kind: _inverted(_foreign(kind)) | _WRITE.get(kind, {}))
