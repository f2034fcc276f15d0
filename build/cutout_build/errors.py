"""The one exception of this package: its text is a whole sentence for the person at the command line."""

from __future__ import annotations


class BuildError(Exception):
    """Something that stops a build and that the user can act on; the command line prints it and exits with 1."""
