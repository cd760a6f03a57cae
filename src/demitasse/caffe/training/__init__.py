"""Training: solvers and their nets, optimizers and rates, snapshots, the ranks that train together."""
