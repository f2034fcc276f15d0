"""From published weights to checked engines: `python -m cutout_build --help`."""

#: Raised whenever the same catalogue entry would give another graph or another report; engines are then built anew.
#: It is written into every graph and changes its hash, so that the certificates must be measured again.
CONVERTER_VERSION = 1
