"""Answers over HTTP: an exported bundle behind a server that puts texts of several callers into one batch."""
