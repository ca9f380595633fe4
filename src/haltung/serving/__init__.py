"""Serve an exported bundle over HTTP; texts of several callers go through it in one batch."""
