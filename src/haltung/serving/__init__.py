"""Serve an exported bundle over HTTP; texts of concurrent callers share batches."""
