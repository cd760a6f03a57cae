"""Compresses a Caffe net without training, from a few hundred images without labels."""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from demitasse.caffe.definition.selected import labelled_layers
from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.models.blobs import Array, blob_arrays
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.calibration import Calibration, calibration_of
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.tools.source_model import SourceLayer, read_source
from demitasse.caffe.tools.transfer import has_masks, transfer
from demitasse.errors import MethodError, UsageError, parameter
from demitasse.files import check_writable
from demitasse.formats.base import PACKED
from demitasse.formats.packing import pack
from demitasse.graph.caffe.model import Reference, of_files
from demitasse.methods import pow2
from demitasse.methods.selection import Number, Pattern
from demitasse.packed.compact.grid import EXPONENTS
from demitasse.preparation import Parts
from demitasse.registry import suggest
from demitasse.shrinking import ShrinkReport, shrink
from demitasse.shrinking.options import ShrinkOptions

_LOWER = 3  # how far below the largest value the largest power is searched


def shrink_net(
    net: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    images: str | Path | None = None,
    source: str | Path | None = None,
    preparation: Parts | None = None,
    classes: Sequence[str] | None = None,
    examples: int = 1024,
    seed: int = 0,
    say: Say = silent,
    **options: Unpack[ShrinkOptions],
) -> ShrinkReport:
    """Compresses a net by :func:`demitasse.shrink` and writes it; nothing is written if anything fails.

    The layers keep their types. Where they are those of INQ, all powers of two are frozen; where they are those of
    surgery, masks mark the weights that are kept. Where weights become powers of two, biases do, too, as in INQ: up to
    seven of them, which is what the compact formats hold.

    Args:
        net: the prototxt; its data is not needed where ``images`` or ``source`` is given.
        model: the caffemodel.
        out: the file to write: a caffemodel, or a ``.demi`` file with the definition, the graph, the preparation of
            images and the names of the classes.
        images: see :func:`demitasse.caffe.tools.calibration.calibration_of`.
        source: see there.
        preparation: how images become inputs, as far as the net's data layers do not say so.
        classes: the names of the classes, for a ``.demi`` file.
        examples: the most images.
        seed: of the draw of the images, and of ``shrink``.
        say: called with notes about masks and the preparation of images.
        options: see :func:`demitasse.shrink`. Patterns match names of layers, or ``<layer>.weight``; ``max_bytes`` is
            for a ``.demi`` file of the weights alone. By default, ``per`` is ``tensor``, and ``grid`` is ``pow2``
            unless ``max_bytes`` is given: what INQ layers and the compact formats hold.

    Returns:
        The report, with names ``<layer>.weight``.

    Raises:
        DemitasseError: a file cannot be read or does not fit the net, or as :func:`demitasse.shrink`.
    """
    if Path(out).suffix not in (".caffemodel", PACKED):
        raise UsageError(f"{out}: expected a name that ends in .caffemodel or {PACKED}")
    if preparation and Path(out).suffix != PACKED and images is None and source is None:
        raise UsageError(
            f"{net}: its own data layers prepare their images; {parameter('preparation')} are for "
            f"{parameter('images')} and {parameter('source')}, or for a {PACKED} file"
        )
    check_writable(out)
    before = read_source(net, model)
    found = calibration_of(net, model, images, source, preparation or Parts(), examples, seed, say)
    plain = _plain_net(net, model, found, say)
    batches = [{name: batch[name] for name in plain.inputs} for batch in found.batches]
    names, rounding = _Names(plain), _BiasRounding(plain)
    report = shrink(
        plain,
        batches,
        examples=examples,
        forward=lambda module, batch: module(batch),
        seed=seed,
        **names.options(_as_inq(options), rounding),
    )
    rounding()
    compressed = [names.label(row.name) for row in report.rows]
    _write(net, out, _changed(before, plain, compressed, _transposed(net)), found, preparation or Parts(), classes, say)
    return replace(
        report,
        rows=tuple(replace(row, name=names.short[row.name]) for row in report.rows),
        dense=tuple(replace(one, name=names.short[one.name]) for one in report.dense),
    )


def _as_inq(options: ShrinkOptions) -> ShrinkOptions:
    """Returns options with the grid of INQ by default."""
    found = options.copy()
    if not found.get("grid") and found.get("max_bytes") is None:
        found["grid"] = "pow2"
    found["per"] = found.get("per") or "tensor"
    return found


def _plain_net(net: str | Path, model: str | Path, found: Calibration, say: Say) -> Net:
    """Returns the deploy form of the net with its effective weights, in plain layers."""
    shapes = {name: tuple(tensor.shape) for name, tensor in found.batches[0].items()}
    reference = of_files(net, model, shapes=shapes, say=say).reference
    assert isinstance(reference, Reference)
    return reference.net


class _Names:
    """The names of a net's parameters: those of its module, and ``<layer>.<blob>``, which people know.

    Args:
        net: the net.

    Attributes:
        short: name in the module -> ``<layer>.<blob>``.
    """

    def __init__(self, net: Net) -> None:
        of_tensor = {id(blob.tensor): f"{blob.layer}.{blob.name}" for blob in net.learnable}
        self.short = {name: of_tensor.get(id(tensor), name) for name, tensor in net.named_parameters()}

    def label(self, name: str) -> str:
        """Returns the layer of a parameter of the module."""
        return self.short[name].rpartition(".")[0]

    def options(self, given: ShrinkOptions, before_layer: Callable[[], None]) -> ShrinkOptions:
        """Returns options with patterns of the module's parameters for patterns of layers or of their blobs.

        Args:
            given: the options.
            before_layer: is called before each layer.

        Raises:
            MethodError: a pattern matches nothing.
        """
        found = given.copy()
        if given.get("parameters"):
            found["parameters"] = self._listed("parameters", given["parameters"] or ())
        if given.get("exclude"):
            found["exclude"] = self._listed("exclude", given["exclude"])
        keys: tuple[Literal["sparsity", "bits"], ...] = ("sparsity", "bits")
        for key in keys:
            if isinstance(values := given.get(key), Mapping):
                found[key] = self._each(key, values)
        progress = given.get("progress")

        def before(done: int, total: int, name: str) -> None:
            before_layer()
            if progress:
                progress(done, total, self.short[name])

        found["progress"] = before
        return found

    def _listed(self, setting: str, patterns: Sequence[Pattern]) -> list[Pattern]:
        return [one for pattern in patterns for one in self._matches(setting, str(pattern))]

    def _each(self, setting: str, values: Mapping[Pattern, Number]) -> dict[Pattern, Number]:
        found: dict[Pattern, Number] = {}
        for pattern, value in values.items():
            for one in self._matches(setting, str(pattern)):
                found.setdefault(one, value)
        return found

    def _matches(self, setting: str, pattern: str) -> list[str]:
        found = [
            glob.escape(name)
            for name, short in self.short.items()
            if fnmatchcase(short, pattern)
            or (short.endswith(".weight") and fnmatchcase(short.removesuffix(".weight"), pattern))
        ]
        if not found:
            labels = [self.label(name) for name, short in self.short.items() if short.endswith(".weight")]
            raise MethodError(f"{setting}: {pattern!r} matches no layer; {suggest(pattern, labels)}")
        return found


class _BiasRounding:
    """Rounds biases to powers of two, once a layer's weights have become powers of two.

    A call between two layers lets the layers after it make up for the rounding.

    Args:
        net: the net, before it is compressed.
    """

    def __init__(self, net: Net) -> None:
        layers = [layer for layer in net.named_layers().values() if isinstance(layer, Convolution | InnerProduct)]
        self._before = [(layer, layer.weight.detach().clone()) for layer in layers]

    def __call__(self) -> None:
        for layer, before in self._before:
            if layer.bias is not None and bool(pow2.on_grid(layer.weight).all()) and not layer.weight.equal(before):
                round_bias(layer.bias)


@torch.no_grad()
def round_bias(bias: Tensor) -> None:
    """Rounds a bias, in place, to the seven powers of two in a row, and zero, with the least squared error."""
    if bool(bias.any()):
        largest = int(pow2.exponent(bias.abs().max()))
        grids = [pow2.Exponents(top - EXPONENTS + 1, top) for top in range(largest - _LOWER, largest + 1)]
        bias.copy_(min((pow2.project(bias, one) for one in grids), key=lambda one: float((one - bias).square().sum())))


def _changed(
    before: Sequence[SourceLayer], net: Net, compressed: Sequence[str], transposed: Collection[str]
) -> list[SourceLayer]:
    """Returns the layers of the source with the blobs of the compressed net; those of compressed layers lose masks."""
    known, found = net.named_layers(), []
    for each in before:
        if each.name not in known or not known[each.name].blob_names:
            found.append(each)
            continue
        arrays = blob_arrays(known[each.name].blobs())
        if each.name in transposed:
            arrays[0] = arrays[0].T.copy()
        # weights in old files have four axes
        blobs = [array.reshape(blob.shape) for array, blob in zip(arrays, each.blobs, strict=True)]
        masks = each.masks if each.name not in compressed else []
        found.append(replace(each, blobs=blobs, masks=masks))
    return found


def _transposed(net: str | Path) -> list[str]:
    """Returns the layers whose weights the plain net has transposed."""
    layers = labelled_layers(prototxt.read_net(net), str(net))
    return [label for label, layer in layers.items() if layer.inner_product_param.transpose]


def _convert(each: SourceLayer, layer: Layer) -> list[Array]:
    """Returns the blobs of a layer of the target, with masks if it has any: 1 for what is kept (DNS) or free (INQ)."""
    blobs = [blob.astype(np.float32) for blob in each.blobs]
    if not has_masks(layer):
        return blobs
    if each.masks:
        return [*blobs, *each.masks]
    if each.is_pruned:
        return [*blobs, (blobs[0] != 0).astype(np.float32), *(np.ones_like(blob) for blob in blobs[1:])]
    return [*blobs, *(_free(blob) for blob in blobs)]


def _free(blob: Array) -> Array:
    """Returns a mask of quantization: everything is frozen if it is on the grid, else the zeros are."""
    is_done = bool(pow2.on_grid(torch.from_numpy(blob)).all())
    return np.zeros_like(blob) if is_done else (blob != 0).astype(np.float32)


def _write(
    net: str | Path,
    out: str | Path,
    layers: Sequence[SourceLayer],
    found: Calibration,
    given: Parts,
    classes: Sequence[str] | None,
    say: Say,
) -> None:
    if Path(out).suffix != PACKED:
        transfer(layers, net, out, _convert, LayerRule.TYPE)
        return
    with TemporaryDirectory() as folder:
        model = Path(folder) / "net.caffemodel"
        transfer(layers, net, model, _convert, LayerRule.TYPE)
        preparation = found.preparation or given
        pack(
            model,
            out,
            net=net,
            definition=True,
            preparation=preparation,
            classes=classes,
            say=lambda line: say(line.replace(str(model), str(out))),
        )
