"""When the memory of a value is free: for the allocator, or for the next value."""

from __future__ import annotations

from demitasse.caffe.inference.fuse import activation_of
from demitasse.caffe.inference.kernels import Kernel
from demitasse.caffe.inference.program import Program, Step

# layers whose tops share no memory with their bottoms
_SEPARATE = {
    "Convolution",
    "InnerProduct",
    "Pooling",
    "LRN",
    "BatchNorm",
    "Scale",
    "Bias",
    "Eltwise",
    "ReLU",
    "Clip",
    "Softmax",
}


def release(program: Program) -> None:
    """Notes after which step each value is dead, and lets steps overwrite what they are the last to take."""
    makers = {value: step for step in program.steps for value in step.tops}
    results = set(program.results.values())
    takers = program.takers()
    for value, steps in takers.items():
        if value not in results:
            steps[-1].dead.append(value)
    free = {
        value
        for value, maker in makers.items()
        if value not in results and all(map(_is_separate, (maker, *takers[value])))
    }
    for step in program.steps:
        _overwrite(step, free.intersection(step.dead))


def _is_separate(step: Step) -> bool:
    return isinstance(step.run, Kernel) or step.layer.spec.type in _SEPARATE


def _overwrite(step: Step, free: set[int]) -> None:
    if isinstance(step.run, Kernel):
        step.run.overwrites = len(step.bottoms) == 2 and step.bottoms[1] in free and step.bottoms[0] != step.bottoms[1]
    elif step.bottoms and step.bottoms[0] in free:
        activation = activation_of(step.layer)
        if activation:
            step.run = activation.apply
