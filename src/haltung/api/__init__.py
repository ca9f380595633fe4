"""The same in Python as on the command line; libraries that compute are imported below."""

from haltung import threads

threads.configure()
