#!/bin/sh
# The one-shot service: engines into the cache, then their plans for this GPU and this TensorRT.
# PRECISION: fp32, fp16 or int8 for all; empty takes int8, fp16 or fp32 of each engine, the first that is certified.
# UNCERTIFIED=1: what PRECISION names needs no certificate; every response then carries a warning.
# VERSION_COMPATIBLE=1: later minor versions of this TensorRT run the plans too. triton.sh must be given it as well.
set -eu
python3 -m cutout_build models
[ "${UNCERTIFIED:-0}" = 0 ] || set -- --uncertified "$@"
[ "${VERSION_COMPATIBLE:-0}" = 0 ] || set -- --version-compatible "$@"
exec python3 -m cutout_build plans ${PRECISION:+--precision "$PRECISION"} "$@"
