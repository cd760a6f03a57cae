"""Prototxts: texts into messages; faults and fields without meaning are told by file, line and layer."""
