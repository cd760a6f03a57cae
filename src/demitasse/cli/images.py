"""classify, detect: run a trained net on images, or on windows of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import typer

from demitasse.cli.commands import RUN, CaffeCommand
from demitasse.cli.inputs import existing, prototxt
from demitasse.cli.means import load_array, read_mean_file
from demitasse.cli.python_layers import PythonLayers, python_layers_run
from demitasse.cli.text_files import read_lines
from demitasse.errors import DataError, UsageError

if TYPE_CHECKING:
    from demitasse.caffe.models.blobs import Array
    from demitasse.pycaffe import Classifier, Detector

Model = Annotated[Path, typer.Option("--model_def", help="The net's prototxt.", callback=prototxt)]
Weights = Annotated[Path, typer.Option("--pretrained_model", help="Its caffemodel.", callback=existing)]
Gpu = Annotated[bool, typer.Option("--gpu", help="Compute on the GPU.")]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean_file",
        help="Mean file, .npy or .binaryproto (channels, height, width); '' for none. "
        "By default ILSVRC's, if Caffe's folder has it.",
        callback=existing,
    ),
]
InputScale = Annotated[
    float | None, typer.Option("--input_scale", help="Multiply the input by this after subtracting the mean.")
]
RawScale = Annotated[
    float, typer.Option("--raw_scale", help="Multiply the image by this before; 255 for nets trained on 0 to 255.")
]
Swap = Annotated[
    str | None,
    typer.Option("--channel_swap", help="Order of channels; '' keeps it; default: 2,1,0 (BGR) for three channels."),
]

_BEST = 5
# relative to Caffe's folder python, or to the working directory
_ILSVRC = Path("caffe/imagenet/ilsvrc_2012_mean.npy")


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for function in (classify, detect):
        app.command(function.__name__, cls=CaffeCommand, rich_help_panel=RUN, no_args_is_help=True)(function)


def classify(
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="An image, a folder, or .npy (n, height, width, c).", callback=existing),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.npy", help="The predictions to write, (images, classes).")],
    model_def: Model,
    pretrained_model: Weights,
    gpu: Gpu = False,
    center_only: Annotated[bool, typer.Option("--center_only", help="Use the centre crop, not ten crops.")] = False,
    images_dim: Annotated[str, typer.Option("--images_dim", help="height,width of images before crops.")] = "256,256",
    mean_file: Mean = None,
    input_scale: InputScale = None,
    raw_scale: RawScale = 255.0,
    channel_swap: Swap = None,
    ext: Annotated[str, typer.Option("--ext", help="File name extension of the images in a folder.")] = "jpg",
    labels_file: Annotated[
        Path | None, typer.Option("--labels_file", help="Names of the classes, one per line.", callback=existing)
    ] = None,
    python_layers: PythonLayers = False,
) -> None:
    """Classify images; with --labels_file, also print the best five classes of each."""
    from demitasse.files import atomic_write

    labels = read_lines(labels_file) if labels_file else None
    files = sorted(source.glob(f"*.{ext}")) if source.is_dir() else [source]
    with python_layers_run(python_layers):
        from demitasse.caffe.layers.output import disable_file_output
        from demitasse.cli.planned import PlannedClassifier
        from demitasse.pycaffe import Classifier, io

        _choose_device(gpu)
        mean = _mean(mean_file)
        size = _numbers("images_dim", images_dim)
        kind = Classifier if gpu else PlannedClassifier
        classifier = kind(model_def, pretrained_model, size, mean.values, input_scale, raw_scale)
        disable_file_output(classifier.module.named_layers().values())
        _swap_channels(classifier, channel_swap)
        if not files:
            raise DataError(f"{source}: the folder contains no .{ext} files")
        if source.suffix == ".npy":
            images = list(load_array(source))
            names = [f"{source.name}[{index}]" for index in range(len(images))]
        else:
            color = classifier.blobs[classifier.inputs[0]].data.shape[1] != 1
            images, names = [io.load_image(file, color) for file in files], [file.name for file in files]
        predictions = classifier.predict(images, not center_only)
    if out.suffix != ".npy":
        out = out.with_name(f"{out.name}.npy")
    with atomic_write(out) as file:
        np.save(file, predictions)
    if labels:
        _print_best(names, predictions.reshape(len(names), -1), labels)
    print(f"Classified {len(names)} images: {out} ({mean.about})")


def detect(
    source: Annotated[
        Path,
        typer.Argument(metavar="WINDOWS.csv", help="One filename,xmin,ymin,xmax,ymax per line.", callback=existing),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The predictions to write: .csv, .h5 or .npy.")],
    model_def: Model,
    pretrained_model: Weights,
    gpu: Gpu = False,
    crop_mode: Annotated[str, typer.Option("--crop_mode", help="list: use the windows of the table.")] = "list",
    mean_file: Mean = None,
    input_scale: InputScale = None,
    raw_scale: RawScale = 255.0,
    channel_swap: Swap = None,
    context_pad: Annotated[
        int, typer.Option("--context_pad", help="Pixels of context around a window, in the net's input.", min=0)
    ] = 16,
    python_layers: PythonLayers = False,
) -> None:
    """Classify windows of images, each warped to the size of the net's input."""
    if crop_mode != "list":
        raise UsageError(f"--crop_mode {crop_mode}: expected list (selective search is a MATLAB program)")
    with python_layers_run(python_layers):
        from demitasse.caffe.layers.output import disable_file_output
        from demitasse.pycaffe import Detector, windows

        windows.check_ending(out)
        wanted = windows.read_windows(source)
        _choose_device(gpu)
        mean = _mean(mean_file)
        detector = Detector(model_def, pretrained_model, mean.by_channel(), input_scale, raw_scale)
        disable_file_output(detector.module.named_layers().values())
        _swap_channels(detector, channel_swap)
        detector.configure_crop(context_pad)
        detections = detector.detect_windows(wanted)
        windows.write_detections(out, detections)
    print(f"Processed {len(detections)} windows: {out} ({mean.about})")


def _swap_channels(net: Classifier | Detector, channel_swap: str | None) -> None:
    in_ = net.inputs[0]
    if channel_swap is None and net.blobs[in_].data.shape[1] == 3:
        channel_swap = "2,1,0"
    if channel_swap:
        net.transformer.set_channel_swap(in_, _numbers("channel_swap", channel_swap))


class _Mean(NamedTuple):
    """The mean to subtract from images, (channels, height, width) or (channels,), or None; and a line about it."""

    values: Array | None
    about: str

    def by_channel(self) -> Array | None:
        """Returns the mean of each channel over all pixels, (channels,)."""
        return None if self.values is None else self.values.reshape(len(self.values), -1).mean(1)


def _mean(name: str | None) -> _Mean:
    """Reads the mean from a file; without a name, ILSVRC's mean if Caffe's folder is found, as in Caffe."""
    if name is None:
        folders = [Path(os.environ["CAFFE_ROOT"], "python")] if os.environ.get("CAFFE_ROOT") else []
        places = [folder / _ILSVRC for folder in (*folders, Path("python"), Path())]
        name = next((str(path) for path in places if path.is_file()), "")
    if not name:
        return _Mean(None, "no mean subtracted")
    path = Path(name)
    return _Mean(read_mean_file(path), f"mean: {path}")


def _numbers(flag: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--{flag} {text}: expected whole numbers, separated by commas") from None


def _print_best(names: Sequence[str], predictions: Array, labels: Sequence[str]) -> None:
    if predictions.shape[1] > len(labels):
        raise DataError(f"--labels_file has {len(labels)} names; expected {predictions.shape[1]}, one for each class")
    for name, prediction in zip(names, predictions, strict=True):
        print(name)
        for index in (-prediction).argsort()[:_BEST]:
            print(f"  {prediction[index]:.4f}  {labels[index]}")


def _choose_device(gpu: bool) -> None:
    from demitasse import pycaffe

    if gpu:
        pycaffe.set_mode_gpu()
    else:
        pycaffe.set_mode_cpu()
