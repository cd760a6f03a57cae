"""Other runtimes, which compute a net from its ONNX file: what a plan is measured beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np

from demitasse.arrays import Array
from demitasse.extras import needs
from demitasse.registry import Registry

Arrays = Mapping[str, Array]
# computes the inputs that it was made for; returns the outputs in the order of the file
Rival = Callable[[], list[Array]]

# name -> makes a rival of a path, inputs by name, and a number of threads
RIVALS: Registry[Callable[[Path, Arrays, int], Rival]] = Registry("runtime")


def require(name: str) -> None:
    """Checks that the package of a rival, which has the same name, is installed.

    Raises:
        MissingPackageError: it is not.
    """
    with needs(name):
        import_module(name)


@RIVALS.register("onnxruntime")
def onnxruntime(path: Path, inputs: Arrays, threads: int) -> Rival:
    """onnxruntime, on the CPU."""
    with needs("onnxruntime"):
        import onnxruntime as runtime
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    fed = {each.name: inputs[each.name] for each in session.get_inputs()}
    return lambda: list(session.run(None, fed))


@RIVALS.register("openvino")
def openvino(path: Path, inputs: Arrays, threads: int) -> Rival:
    """OpenVINO, on the CPU, with float32."""
    with needs("openvino"):
        import openvino as runtime
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = runtime.Core().read_model(str(path))
    model.reshape({name: list(array.shape) for name, array in inputs.items()})
    compiled = runtime.Core().compile_model(model, "CPU", settings)
    request, fed = compiled.create_infer_request(), dict(inputs)
    return lambda: [np.asarray(value) for value in request.infer(fed, share_inputs=True).to_tuple()]
