"""The same in Python as on the command line; libraries that compute are imported below."""

import os

from haltung import resources

os.environ.update(resources.thread_settings())
