"""Files of trained nets as lists of named blobs, without a net: binary proto and HDF5, read and written."""
