#!/bin/sh
# The one-shot service: engines into the cache, then their plans for this GPU and this TensorRT.
# PRECISION: fp32, fp16 or int8 for all; empty takes the fastest certified one of each engine.
set -eu
python3 -m cutout_build models
exec python3 -m cutout_build plans ${PRECISION:+--precision "$PRECISION"}
