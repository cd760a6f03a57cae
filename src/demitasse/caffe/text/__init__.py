"""Parses prototxts into messages; errors and warnings name the file, the line and the layer."""
