"""The look that all pictures share, files and pages alike: colours for light and for dark grounds, and marks."""

from __future__ import annotations

# each has a contrast of at least 3:1 against its ground, and any two are distinct for colour-blind people, too (a CIE76
# distance of at least 22 under the three dichromacies of Machado et al. 2009)
COLOURS = ("#4a2c1a", "#c8792a", "#1f7fa3", "#a070e8", "#708858", "#884010", "#401088", "#104058")
DARK_COLOURS = ("#f6e6c6", "#f5a233", "#4dccde", "#cb87ff", "#9cac67", "#b95716", "#7d51ec", "#5a8f8b")
MARKS = "osD^vPX"
# the ground of pictures and cards, of a page, and of what is highlighted; then the colours of texts and thin lines
GROUND, PAGE, WASH = LIGHT_GROUNDS = "#ffffff", "#f6f2ec", "#f3ece3"
INK, QUIET, FAINT = "#2e2a27", "#6b625b", "#d8d2cb"
DARK_GROUND, DARK_PAGE, DARK_WASH = DARK_GROUNDS = "#211d1a", "#171412", "#2d2723"
DARK_INK, DARK_QUIET, DARK_FAINT = "#f0ebe5", "#b3a99f", "#4a433d"
