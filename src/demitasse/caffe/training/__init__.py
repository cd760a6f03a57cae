"""Training: solvers and their nets, optimizers, learning rates, snapshots, and ranks that train together."""
