"""From a source to a prepared corpus: read, check, split, write."""
