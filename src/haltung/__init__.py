"""Haltung: topics, stances and dyads in German political news."""

__version__ = "0.1.0"
