"""The compiled loops of the coder: arithmetic coding, mixing of probabilities, and a model a file.

Every loop goes both ways: told to encode, it reads the symbols, else it writes them. So the two cannot differ. All
arithmetic is in integers, so that every machine computes the same.

Arrays are passed one by one: taking one out of a tuple counts a reference, which costs as much as a decision.
"""
