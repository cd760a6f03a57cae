"""Models of Hugging Face's peft, which trains only adapters."""

from __future__ import annotations

from torch import nn

from demitasse.methods.homes import is_of_package
from demitasse.methods.selection import NO_GRADIENT, Selection


def adapters_alone(model: nn.Module, found: Selection) -> str:
    """Returns a warning for a model in which only adapters require gradients; empty for other models.

    Args:
        model: any module.
        found: its chosen and its dense parameters.
    """
    if not any(is_of_package(module, "peft") for module in model.modules()):
        return ""
    still = [item for item in found.dense if item.reason == NO_GRADIENT]
    if not still:
        return ""
    return (
        f"this is a PEFT model: only its adapters are compressed ({len(found.chosen)} parameters); {len(still)} "
        "weights of the base model require no gradient and stay dense; to compress them, merge_and_unload() the model "
        "and train all of it"
    )
