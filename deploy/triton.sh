#!/bin/sh
# Serves, if the plans fit this GPU and this TensorRT; otherwise says which command rebuilds them and ends.
# VERSION_COMPATIBLE=1: takes the plans that plans.sh built with it.
set -eu
repository="${TMPDIR:-/tmp}/model_repository"
# What `plans --check` names, to be run on the host.
export CUTOUT_PLANS_COMMAND="${CUTOUT_PLANS_COMMAND:-docker compose -f deploy/compose.yml run --rm plans}"
python3 -m cutout_build plans --check
rm -rf "$repository"
python3 -m cutout_gateway.render "$repository" --profile gpu --source /opt/model_repository \
    ${CUTOUT_MAX_BYTES:+--max-bytes "$CUTOUT_MAX_BYTES"} ${CUTOUT_MAX_PIXELS:+--max-pixels "$CUTOUT_MAX_PIXELS"}
memory=$(python3 -m cutout_gateway.stub_memory)  # two flags, hence without quotes below
[ "${VERSION_COMPATIBLE:-0}" = 0 ] || set -- --backend-config=tensorrt,version-compatible=true "$@"
exec tritonserver "--model-repository=$repository" --disable-auto-complete-config --exit-on-error=false \
    --exit-timeout-secs=20 --log-format=ISO8601 $memory "$@"
