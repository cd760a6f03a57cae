"""The Python interface of Caffe, on the nets of :mod:`demitasse.caffe`: ``from demitasse import pycaffe as caffe``."""
