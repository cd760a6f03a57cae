"""Caffe without Caffe: its files, nets, solvers and tools."""
