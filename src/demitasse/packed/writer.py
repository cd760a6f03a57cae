"""Writes tensors to the bytes of a .demi file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from demitasse.errors import UsageError
from demitasse.packed.codecs import CODECS, Context
from demitasse.packed.header import Header, Payload, TensorEntry
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import PART, Tensor, checksum_of, part_of, parts

Progress = Callable[[int, int], None]

# tensors share a payload until it holds this number of values: a checksum takes as much as two weights of a pruned net
GROUP = 1 << 19
# a file of more values is coded for speed, except for its small tensors
SMALL = 3 << 19
_SMALL_TENSOR = 1 << 14
# bytes that every payload adds to the file: length and checksum
_ALONE = 7


def silent(done: int, total: int) -> None:
    """Reports no progress; the default."""


def pack(
    tensors: Sequence[Tensor],
    metadata: Mapping[str, str] | None = None,
    signed_zeros: bool = False,
    smallest: bool | None = None,
    aliases: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> bytes:
    """Returns the bytes of a file.

    Args:
        tensors: in the order in which the net uses them, since each helps to code the next.
        metadata: key -> text.
        signed_zeros: whether to keep -0.0; otherwise it becomes 0.0.
        smallest: True for the fewest bytes at any cost in time: reading a million weights takes about a second. False
            for speed. None: the fewest bytes for up to 1.5 million values in all, else speed.
        aliases: other name of a tensor -> its name among ``tensors``.
        progress: called with (values coded so far, all values).

    Raises:
        UsageError: two tensors have the same name, a name or key contains a zero character, or something is not text.
    """
    texts, others = dict(metadata or {}), dict(aliases or {})
    names = [*(tensor.name for tensor in tensors), *others]
    for text in (*names, *texts, *texts.values()):
        _check_text(text)
    for name in (*names, *texts):
        if "\0" in name:
            raise UsageError(f"{name!r} contains a zero character")
    if len(set(names)) < len(names):
        raise UsageError(f"two tensors have the name {max(names, key=names.count)!r}")
    total, done = sum(tensor.size for tensor in tensors), 0
    if smallest is None:
        smallest = total <= SMALL
    writer = _PayloadWriter(smallest)
    progress(done, total)
    for tensor in tensors:
        writer.write(tensor if signed_zeros else _positive_zeros(tensor))
        done += tensor.size
        progress(done, total)
    writer.end_payload()
    return b"".join([Header(writer.entries, writer.payloads, texts, others).pack(), *writer.data])


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise UsageError(f"{text!r} is a {type(text).__name__}; expected text as names and metadata")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} contains half a character (a lone surrogate), which is not text") from None


def _positive_zeros(tensor: Tensor) -> Tensor:
    if not tensor.dtype.floating:
        return tensor
    negative = tensor.bits == tensor.dtype.sign
    if not negative.any():
        return tensor  # avoids copying a large tensor
    return tensor._replace(bits=np.where(negative, tensor.dtype.bits.type(0), tensor.bits))


class _PayloadWriter:
    """Fills payloads, one after the other.

    Attributes:
        entries: the entries for the header.
        payloads: the payloads for the header.
        data: the bytes of the payloads.
    """

    def __init__(self, smallest: bool) -> None:
        self.entries: list[TensorEntry] = []
        self.payloads: list[Payload] = []
        self.data: list[bytes] = []
        self._smallest = smallest
        self._open()

    def _open(self) -> None:
        self._stream, self._context = Stream(), Context()
        self._held: list[Tensor] = []

    def write(self, tensor: Tensor) -> None:
        """Writes a tensor to the current payload, or to payloads of its own if its codec needs them."""
        number, settings = self._best(tensor)
        codec = CODECS[number]
        if codec.alone:
            self.end_payload()
        entry = TensorEntry(
            tensor.name, tensor.dtype, tensor.shape, number, settings, not self._held, codec.alone and _is_cut(tensor)
        )
        self.entries.append(entry)
        for part in entry.parts:
            piece = part_of(tensor, part)
            self._context = codec.encode(piece, settings, self._stream, self._context)
            self._held.append(piece)
            if codec.alone or sum(tensor.size for tensor in self._held) >= GROUP:
                self.end_payload()

    def end_payload(self) -> None:
        """Ends the current payload, if it has tensors."""
        if self._held:
            self.data.append(self._stream.close())
            self.payloads.append(Payload(len(self.data[-1]), checksum_of(self.data[-1], self._held)))
            self._open()

    def _best(self, tensor: Tensor) -> tuple[int, bytes]:
        """Returns the codec and the settings that need the fewest bytes, settings included.

        For speed, it measures only the first part of a tensor that would be cut.
        """
        fast = not self._smallest and tensor.size >= _SMALL_TENSOR
        sizes = {}
        for number, codec in enumerate(CODECS):
            if fast and codec.slow:
                continue
            pieces = _pieces(tensor) if codec.alone and _is_cut(tensor) else [tensor]
            for settings in codec.settings(tensor, self._context):
                sizes[number, settings] = len(settings)
                for piece in pieces[:1] if fast else pieces:
                    trial = Stream()
                    codec.encode(piece, settings, trial, self._context)
                    sizes[number, settings] += len(trial.close()) + (_ALONE if codec.alone else 0)
        return min(sizes, key=lambda choice: (sizes[choice], choice))


def _is_cut(tensor: Tensor) -> bool:
    return tensor.size > PART


def _pieces(tensor: Tensor) -> list[Tensor]:
    return [part_of(tensor, part) for part in parts(tensor.shape)]
