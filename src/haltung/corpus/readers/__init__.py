"""One reader per format; each is a frozen dataclass with ``read(scheme) -> Reading``."""
