"""`make bench`: Cutout beside rembg and beside its own stages without a server, in one interleaved run."""
