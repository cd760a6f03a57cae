"""demitasse's methods in other people's training loops: :mod:`.huggingface`, :mod:`.lightning`."""
