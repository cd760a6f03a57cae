"""The same net in other runtimes: onnxruntime here, OpenVINO and DeepSparse in the environments that have them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from turns import Run

from demitasse.caffe.net import Net
from demitasse.export import export, of_net

_CHILD = Path(__file__).with_name("runtime_child.py")
# the newest that DeepSparse 1.8.0 reads
_OPSET, _FORMAT = 13, 8


def write_onnx(net: Net, batch: int, path: Path) -> None:
    """Writes the net for batches of a size, in opset 13: of later ones, these nets use only what it has, too."""
    export(of_net(net).fixed(batch), path, check=False)
    model = onnx.load(path)
    model.opset_import[0].version, model.ir_version = _OPSET, _FORMAT
    for node in model.graph.node:
        kept = [each for each in node.attribute if each.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def onnxruntime_run(path: Path, images: np.ndarray, threads: int) -> tuple[Run, np.ndarray]:
    """Returns what is timed, and its result."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # its threads would keep the cores busy while the other sides have their turn
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, fed), session.run(None, fed)[0]


@contextmanager
def child_run(
    runtime: str, python: str, path: Path, images: np.ndarray, threads: int, clock: str
) -> Iterator[tuple[Run, np.ndarray]]:
    """Yields what is timed, and its result, of a process that times itself."""
    given, found = path.with_name("images.npy"), path.with_name(f"{runtime}.npy")
    np.save(given, images)
    command = [python, str(_CHILD), runtime, str(path), str(given), str(found), str(threads), clock]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        stdin, stdout = child.stdin, child.stdout
        if not any(line.strip() == "ready" for line in stdout):
            raise SystemExit(f"{runtime} did not start")

        def run() -> float:
            stdin.write("\n")
            stdin.flush()
            return float(stdout.readline())

        yield run, np.load(found)
        stdin.close()
