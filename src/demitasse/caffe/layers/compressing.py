"""The compressing layers."""
