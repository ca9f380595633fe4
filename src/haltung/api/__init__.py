"""The Python interface to the commands; threads are set before numerical libraries are loaded."""

import os
import warnings

from haltung import resources

os.environ.update(resources.thread_settings())
with warnings.catch_warnings():
    # Without ipywidgets, a notebook shows progress bars as text, which needs no warning.
    warnings.filterwarnings("ignore", "IProgress not found")
    import tqdm.auto  # noqa: F401 -- it looks for ipywidgets once
