"""Models of Hugging Face's peft, whose adapters alone are trained."""

from __future__ import annotations

from torch import nn

from demitasse.methods.homes import is_of_package
from demitasse.methods.selection import Selection


def adapters_alone(model: nn.Module, found: Selection) -> str:
    """Returns what is to be said of a model whose adapters alone take gradients; empty for other models.

    Args:
        model: any module.
        found: what was chosen of it.
    """
    if not any(is_of_package(module, "peft") for module in model.modules()):
        return ""
    still = [item for item in found.dense if item.reason == "takes no gradient"]
    if not still:
        return ""
    return (
        f"this is a PEFT model: its adapters alone are compressed ({len(found.chosen)} parameters); {len(still)} "
        "weights of the base model take no gradient and stay dense; to compress them, merge_and_unload() the model "
        "and train all of it"
    )
