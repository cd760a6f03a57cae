"""The compiled loops of the coder: arithmetic coding, mixing of probabilities, and one model in each file.

The same loops encode and decode: when encoding they read the symbols, when decoding they write them, so the two cannot
differ. All arithmetic uses integers, so every machine computes the same.

Arrays are separate arguments: taking one out of a tuple counts a reference, which costs as much as a decision.
"""
