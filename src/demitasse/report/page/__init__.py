"""The page that shows runs: a self-contained HTML file, of a folder of a run, a log or a packed file."""
