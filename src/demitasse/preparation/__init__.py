"""How an image becomes the input of a net, and what the net's classes are called: kept in the metadata of its file."""

from demitasse.preparation.metadata import CLASSES, PREPARATION, classes_in, metadata_of, preparation_in
from demitasse.preparation.preparation import Parts, Preparation

__all__ = ["CLASSES", "PREPARATION", "Parts", "Preparation", "classes_in", "metadata_of", "preparation_in"]
