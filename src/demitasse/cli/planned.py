"""A classifier that computes with a plan instead of layer by layer."""

from __future__ import annotations

import numpy as np
import torch
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.pycaffe import Classifier
from demitasse.pycaffe.batches import batches
from demitasse.runtime import optimize


class PlannedClassifier(Classifier):
    """Predicts what a Classifier predicts, on the CPU; its blobs are not filled."""

    @override
    def compute(self, prepared: Array) -> Array:
        plan, name = optimize(self.module), self.inputs[0]
        found = [
            plan({name: torch.from_numpy(np.asarray(batch[name], np.float32))})[self.outputs[0]].numpy().copy()
            for batch in batches(self, {name: prepared})
        ]
        return np.concatenate([np.atleast_1d(each) for each in found])[: len(prepared)]
