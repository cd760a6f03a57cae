"""Caffe without Caffe: its files, its nets, its solver."""
