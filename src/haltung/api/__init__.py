"""The same in Python as on the command line; libraries that compute are imported below."""

import os
import warnings

from haltung import resources

os.environ.update(resources.thread_settings())
with warnings.catch_warnings():
    # A notebook without ipywidgets has bars of text, which is nothing to be warned of.
    warnings.filterwarnings("ignore", "IProgress not found")
    import tqdm.auto  # noqa: F401 -- it looks for ipywidgets once
