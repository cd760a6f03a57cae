"""The text of C: one file for each part of what is written."""
