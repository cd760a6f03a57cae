"""Reads and writes files of trained nets, binary proto and HDF5, as lists of named blobs, without a net."""
