"""The adapter of PyTorch modules: what reads them into graphs, by torch.export."""

from demitasse.graph.pytorch import operations
from demitasse.graph.pytorch.module import Exported, read_module

__all__ = ["Exported", "operations", "read_module"]
