"""Tensors to the bytes of a .demi file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from demitasse.errors import UsageError
from demitasse.packed.codecs import CODECS, Context
from demitasse.packed.header import Header, Payload, TensorEntry
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import PART, Part, Tensor, checksum_of, parts

Progress = Callable[[int, int], None]

# tensors share a payload until it holds so many values: a checksum costs as much as two weights of a pruned net
GROUP = 1 << 19
# a file of more values is coded for speed, but for its small tensors
SMALL = 3 << 19
_SMALL_TENSOR = 1 << 14
# what a payload of its own costs besides its bytes: length and checksum
_ALONE = 7


def silent(done: int, total: int) -> None:
    """Says nothing; the default."""


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
        tensors: in the order in which a net uses them: what is known of one helps with the next.
        metadata: text by key.
        signed_zeros: whether -0.0 stays what it is; else it becomes 0.0.
        smallest: True for the fewest bytes, whatever the time: a million weights are read in about a second. False for
            speed. None: the fewest bytes up to 1.5 million values all together.
        aliases: other names of tensors, each with the name that the tensor has among ``tensors``.
        progress: called with the number of values that are coded, and of all.

    Raises:
        UsageError: two tensors have the same name, a name or key holds a zero character, or something is no text.
    """
    texts, others = dict(metadata or {}), dict(aliases or {})
    names = [*(tensor.name for tensor in tensors), *others]
    for text in (*names, *texts, *texts.values()):
        _check_text(text)
    for name in (*names, *texts):
        if "\0" in name:
            raise UsageError(f"{name!r} holds a zero character")
    if len(set(names)) < len(names):
        raise UsageError(f"two tensors are called {max(names, key=names.count)!r}")
    total, done = sum(tensor.size for tensor in tensors), 0
    if smallest is None:
        smallest = total <= SMALL
    writer = _PayloadWriter(smallest)
    progress(done, total)
    for tensor in tensors:
        writer.add(tensor if signed_zeros else _positive_zeros(tensor))
        done += tensor.size
        progress(done, total)
    writer.end()
    return b"".join([Header(writer.entries, writer.payloads, texts, others).pack(), *writer.data])


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise UsageError(f"{text!r} is a {type(text).__name__}; names and metadata are text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} holds half a character, and is no text") from None


def _positive_zeros(tensor: Tensor) -> Tensor:
    if not tensor.dtype.floating:
        return tensor
    negative = tensor.bits == tensor.dtype.sign
    if not negative.any():
        return tensor  # a copy of a large tensor is dear
    return tensor._replace(bits=np.where(negative, tensor.dtype.bits.type(0), tensor.bits))


class _PayloadWriter:
    """Fills payloads, one after the other.

    Attributes:
        entries: of the header.
        payloads: of the header.
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

    def add(self, tensor: Tensor) -> None:
        """Writes a tensor to the payload that is open, or, if its codec wants it so, to payloads of its own."""
        number, settings = self._best(tensor)
        codec = CODECS[number]
        if codec.alone:
            self.end()
        entry = TensorEntry(
            tensor.name, tensor.dtype, tensor.shape, number, settings, not self._held, codec.alone and _is_cut(tensor)
        )
        self.entries.append(entry)
        for part in entry.parts:
            piece = _piece(tensor, part)
            self._context = codec.encode(piece, settings, self._stream, self._context)
            self._held.append(piece)
            if codec.alone or sum(tensor.size for tensor in self._held) >= GROUP:
                self.end()

    def end(self) -> None:
        """Ends the payload that is open, if one is."""
        if self._held:
            self.data.append(self._stream.close())
            self.payloads.append(Payload(len(self.data[-1]), checksum_of(self.data[-1], self._held)))
            self._open()

    def _best(self, tensor: Tensor) -> tuple[int, bytes]:
        """Returns codec and settings of the fewest bytes, the settings' own among them.

        For speed, the first part of a tensor that would be cut stands for all.
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
    return [_piece(tensor, part) for part in parts(tensor.shape)]


def _piece(tensor: Tensor, part: Part) -> Tensor:
    piece = tensor._replace(shape=part.shape)
    return piece._replace(bits=tensor.bits[part.start : part.start + piece.size])
