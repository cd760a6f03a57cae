"""What the tools of Caffe do, one a file, as functions."""
