"""Callbacks for other training loops: :mod:`.huggingface`, :mod:`.lightning`."""
