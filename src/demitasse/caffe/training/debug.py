"""``debug_info``: the mean magnitude of every blob and gradient, as Caffe logs it."""

from __future__ import annotations

from torch import Tensor

from demitasse.caffe import log
from demitasse.caffe.net import Net


def log_forward(net: Net, blobs: dict[str, Tensor]) -> None:
    """Logs the mean magnitudes after a forward pass; for blobs changed in place, those of their final values.

    Args:
        net: the net.
        blobs: all blobs by name; their gradients will be retained for :func:`log_backward`.
    """
    layers = net.named_layers()
    for label, spec in zip(net.labels, net.spec.layer, strict=True):
        for name in spec.top:
            if blobs[name].requires_grad:
                blobs[name].retain_grad()
            _log_magnitude("net.cpp:593", f"[Forward] Layer {spec.name}, top blob {log.shown(name)} data", blobs[name])
        for index, blob in enumerate(layers[label].blobs() if label in layers else []):
            _log_magnitude("net.cpp:605", f"[Forward] Layer {spec.name}, param blob {index} data", blob)


def log_backward(net: Net, blobs: dict[str, Tensor]) -> None:
    """Logs the mean magnitudes of the gradients, and the norms of all parameters, after a backward pass."""
    layers = net.named_layers()
    for label, spec in reversed(list(zip(net.labels, net.spec.layer, strict=True))):
        for name in spec.bottom:
            _log_magnitude("net.cpp:621", f"[Backward] Layer {spec.name}, bottom blob {name} diff", blobs[name].grad)
        for index, blob in enumerate(layers[label].blobs() if label in layers else []):
            _log_magnitude("net.cpp:632", f"[Backward] Layer {spec.name}, param blob {index} diff", blob.grad)
    parameters = [blob.tensor for blob in net.learnable]
    gradients = [tensor.grad for tensor in parameters if tensor.grad is not None]
    norms = [
        ", ".join(
            log.number(sum(float(t.detach().float().norm(p)) ** p for t in tensors) ** (1 / p)) for tensors in pair
        )
        for p, pair in ((1, (parameters, gradients)), (2, (parameters, gradients)))
    ]
    log.info(
        "net.cpp:721",
        f"    [Backward] All net params (data, diff): L1 norm = ({norms[0]}); L2 norm = ({norms[1]})",
    )


def _log_magnitude(place: str, what: str, tensor: Tensor | None) -> None:
    if tensor is not None:
        log.info(place, f"    {what}: {log.number(float(tensor.detach().float().abs().mean()))}")
