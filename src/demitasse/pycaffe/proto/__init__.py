"""The messages of Caffe's files, where scripts expect them: ``caffe.proto.caffe_pb2``."""
