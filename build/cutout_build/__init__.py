"""From published weights to checked engines: `python -m cutout_build --help`."""

#: Raised whenever the same catalogue entry would give another graph or another report; engines are then built anew.
CONVERTER_VERSION = 1
