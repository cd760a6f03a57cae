"""Runs an ONNX file with OpenVINO or DeepSparse, in the Python of an environment that has it.

other_runtimes.py starts it. It writes what the net computes of the images, says "ready", and answers each line with the
milliseconds of a run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

Run = Callable[[], np.ndarray]


def openvino(path: str, images: np.ndarray, threads: int) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda: request.infer([images])[0]


def deepsparse(path: str, images: np.ndarray, threads: int) -> Run:
    from deepsparse import Engine

    engine = Engine(path, batch_size=len(images), num_cores=threads)
    return lambda: engine.run([images])[0]


def main() -> None:
    runtime, path, given, found, threads, clock_name = sys.argv[1:]
    clock = getattr(time, clock_name)
    run = {"openvino": openvino, "deepsparse": deepsparse}[runtime](path, np.load(given), int(threads))
    np.save(found, run())
    print("ready", flush=True)
    for _ in sys.stdin:
        start = clock()
        run()
        print(1000 * (clock() - start), flush=True)


if __name__ == "__main__":
    main()
