"""Makes the dense LeNet-5 with other tools; runs in an environment that has TensorFlow and the tools.

Usage: c_rivals_child.py FOLDER, which has ``weights.npz``, ``calibration.npy``, ``tests.npy`` and ``labels.npy``. C and
its program are written there, and what is known of each tool, as ``rivals.json``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

MAIN = """#include <stdint.h>
#include <stdio.h>
{include}
int main(void)
{{
    static float input[784];
    int i;
    {declared}
    while (fread(input, sizeof(float), 784, stdin) == 784) {{
        {run}
        for (i = 0; i < 10; ++i) {{
            printf("%.9g ", (double)({output}));
        }}
        printf("\\n");
    }}
    return 0;
}}
"""


def onnx_file(weights: dict[str, np.ndarray], path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, taken = [], "x"
    for kind, name, settings in (
        ("Conv", "conv1", {}), ("MaxPool", "pool1", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Conv", "conv2", {}),
        ("MaxPool", "pool2", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Flatten", "flat", {}),
        ("Gemm", "fc1", {"transB": 1}), ("Relu", "relu", {}), ("Gemm", "fc2", {"transB": 1}),
    ):  # fmt: skip
        has_weights = kind in ("Conv", "Gemm")
        inputs = [taken, f"{name}.weight", f"{name}.bias"] if has_weights else [taken]
        nodes.append(helper.make_node(kind, inputs, [name], **settings))
        taken = name
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    ends = [helper.make_tensor_value_info(*each) for each in (("x", TensorProto.FLOAT, (1, 1, 28, 28)),)]
    last = helper.make_tensor_value_info("fc2", TensorProto.FLOAT, (1, 10))
    graph = helper.make_graph(nodes, "lenet5", ends, [last], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)


def tflite_model(weights: dict[str, np.ndarray], calibration: np.ndarray, is_int: bool, flattens: bool) -> bytes:
    """Returns a TFLite model; one that does not flatten has convolutions for the last two layers."""
    import tensorflow as tf

    layers, initial = tf.keras.layers, [(28, 28, 1)]
    wide = weights["fc1.weight"].reshape(500, 50, 4, 4).transpose(2, 3, 1, 0)
    end = (
        [layers.Flatten(), layers.Dense(500, activation="relu"), layers.Dense(10)]
        if flattens
        else [layers.Conv2D(500, 4, activation="relu"), layers.Conv2D(10, 1)]
    )
    model = tf.keras.Sequential([
        layers.Input(*initial, batch_size=1), layers.Conv2D(20, 5), layers.MaxPool2D(2), layers.Conv2D(50, 5),
        layers.MaxPool2D(2), *end,
    ])  # fmt: skip
    last = weights["fc2.weight"].T
    model.set_weights([
        weights["conv1.weight"].transpose(2, 3, 1, 0), weights["conv1.bias"],
        weights["conv2.weight"].transpose(2, 3, 1, 0), weights["conv2.bias"],
        wide.reshape(800, 500) if flattens else wide, weights["fc1.bias"],
        last if flattens else last.reshape(1, 1, 500, 10), weights["fc2.bias"],
    ])  # fmt: skip
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if is_int:

        def examples() -> Iterator[list[np.ndarray]]:
            return ([each.reshape(1, 28, 28, 1)] for each in calibration)

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = examples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    found: bytes = converter.convert()
    return found


def emx_onnx_cgen(folder: Path, weights: dict[str, np.ndarray]) -> dict[str, object]:
    onnx_file(weights, folder / "lenet5.onnx")
    command = [
        Path(sys.executable).with_name("emx-onnx-cgen"),
        "compile",
        "lenet5.onnx",
        "emx.c",
        "--model-name",
        "emx",
    ]
    thresholds = ["--large-weight-threshold", "0", "--large-temp-threshold", "0"]
    subprocess.run([*command, *thresholds], cwd=folder, check=True, capture_output=True)
    declared = "extern void emx(const float x[1][1][28][28], float y[1][10]);\n    static float output[1][10];"
    run = "emx((const float (*)[1][28][28])input, output);"
    (folder / "emx_main.c").write_text(MAIN.format(include="", declared=declared, run=run, output="output[0][i]"))
    return {"sources": ["emx.c"], "main": "emx_main.c", "arithmetic": "float", "ram": 784 * 4 + 10 * 4}


def bakenn(folder: Path, model: bytes) -> dict[str, object]:
    import bakenn as tool

    (folder / "bakenn.tflite").write_bytes(model)
    tool.compile_tflite(folder / "bakenn.tflite", folder / "bakenn", name="net")
    (folder / "bakenn_main.c").write_text(
        MAIN.format(
            include='#include <math.h>\n#include "bakenn/bknn_net.h"',
            declared="static int8_t given[784], output[10];\n"
            "    static _Alignas(16) uint8_t arena[BKNN_NET_ARENA_SIZE];",
            run="""for (i = 0; i < 784; ++i) {
            const float q = roundf(input[i] / BKNN_NET_INPUT_SCALE) + BKNN_NET_INPUT_ZERO_POINT;
            given[i] = (int8_t)(q < -128.0f ? -128.0f : q > 127.0f ? 127.0f : q);
        }
        bknn_net_infer(arena, given, output);""",
            output="output[i]",
        )
    )
    header = (folder / "bakenn" / "bknn_net.h").read_text()
    found = int(re.findall(r"ARENA_SIZE (\d+)u", header)[0])
    sources = [f"bakenn/bknn_net{each}.c" for each in ("", "_kernels", "_weights")]
    return {"sources": sources, "main": "bakenn_main.c", "arithmetic": "int8", "ram": found + 784 + 10}


# bytes that are enough for all
_ROOM = 1 << 18
_ALLOCATIONS = f"""
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size={_ROOM}).print_allocations()
"""


def tflite_micro(folder: Path, model: bytes, is_int: bool) -> dict[str, object]:
    """The interpreter runs here; its code is in no package for boards."""
    from tflite_micro.python.tflite_micro import runtime

    tests, labels = np.load(folder / "tests.npy").reshape(-1, 1, 28, 28, 1), np.load(folder / "labels.npy")
    path = folder / "model.tflite"
    path.write_bytes(model)
    done = subprocess.run([sys.executable, "-c", _ALLOCATIONS, path], capture_output=True, text=True, check=True)
    arena = int(re.findall(r"Arena allocation total (\d+) bytes", done.stdout + done.stderr)[0])
    net = runtime.Interpreter.from_bytes(model, arena_size=_ROOM)
    given = net.get_input_details(0)
    if is_int:
        scale, zero = given["quantization_parameters"]["scales"][0], given["quantization_parameters"]["zero_points"][0]
        tests = np.clip(np.round(tests / scale) + zero, -128, 127).astype(np.int8)
    right, start = 0, time.process_time()
    for image, label in zip(tests, labels, strict=True):
        net.set_input(image, 0)
        net.invoke()
        right += int(net.get_output(0).argmax() == label)
    spent = (time.process_time() - start) / len(tests)
    arithmetic = "int8" if is_int else "float"
    return {
        "arithmetic": arithmetic, "flash": len(model), "ram": arena, "accuracy": right / len(tests),
        "microseconds": 1e6 * spent,
    }  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    weights, calibration = dict(np.load(folder / "weights.npz")), np.load(folder / "calibration.npy")
    float_model, int_model, plain = (
        tflite_model(weights, calibration, is_int, flattens)
        for is_int, flattens in ((False, True), (True, True), (True, False))
    )
    made = [
        {"tool": f"emx-onnx-cgen {version('emx-onnx-cgen')}", **emx_onnx_cgen(folder, weights)},
        {"tool": f"BakeNN {version('bakenn')}", **bakenn(folder, plain)},
        *(
            {"tool": f"TFLite Micro {version('tflite-micro')}", **tflite_micro(folder, model, is_int)}
            for is_int, model in ((False, float_model), (True, int_model))
        ),
    ]
    (folder / "rivals.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
