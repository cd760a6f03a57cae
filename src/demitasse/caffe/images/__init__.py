"""Images: decoding and encoding, lists of image files, and transformations for nets."""
