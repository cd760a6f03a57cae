"""The messages of Caffe's files, where scripts look for them: ``caffe.proto.caffe_pb2``."""
