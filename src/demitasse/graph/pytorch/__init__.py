"""The adapter of PyTorch modules: what reads them into graphs, by torch.export."""

from demitasse.graph.pytorch import operations
from demitasse.graph.pytorch.program import Exported, Named, Positional, read_module

__all__ = ["Exported", "Named", "Positional", "operations", "read_module"]
