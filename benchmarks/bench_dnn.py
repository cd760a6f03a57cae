"""Do detectors run as fast with ``demitasse.dnn`` as with ``cv2.dnn`` of OpenCV 4?

    .venv/bin/python benchmarks/bench_dnn.py FOLDER [--batches 1,3] [--threads 1,2] [--rounds 9] [--processor-time]

FOLDER has nets as NAME.prototxt and NAME.caffemodel. Both take the same random images, in turns; a run is ``setInput``
and ``forward`` of the net's outputs.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from turns import ResultTable, parse, take_turns

from demitasse import dnn
from demitasse.caffe.net import Net

OURS, OPENCV = "demitasse.dnn", "cv2.dnn"


def run(net: object, image: np.ndarray, names: list[str]) -> None:
    net.setInput(image)
    net.forward(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--batches", default="1")
    parser.add_argument("--threads", default="1,2")
    args = parse(parser)
    if args.folder is None:
        print("bench_dnn.py: no folder of nets given, nothing to measure")
        return
    table = ResultTable(("net", "batch", "threads"), (OURS, OPENCV), {f"{OURS} / {OPENCV}": (OPENCV,)})
    for prototxt in sorted(args.folder.glob("*.prototxt")):
        (shape,) = Net.from_file(prototxt).inputs.values()
        for batch in map(int, args.batches.split(",")):
            image = np.random.default_rng(0).standard_normal((batch, *shape[1:])).astype(np.float32)
            for threads in args.threads:
                torch.set_num_threads(threads)
                cv2.setNumThreads(threads)
                sides = {}
                for side, library in ((OURS, dnn), (OPENCV, cv2.dnn)):
                    net = library.readNetFromCaffe(str(prototxt), str(prototxt.with_suffix(".caffemodel")))
                    names = list(net.getUnconnectedOutLayersNames())
                    sides[side] = partial(run, net, image, names)
                table.add((prototxt.stem, batch, threads), take_turns(sides, args.rounds, args.clock))


if __name__ == "__main__":
    main()
