#!/usr/bin/env bash
# Tests the containers: makes the base images if none can be pulled, builds the image, and lets
# tests/compose hurt three containers under load. Needs a Docker engine and Compose. Arguments go to cargo,
# such as --profile sim.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

scripts/make_base_images.sh
exec cargo test --locked "$@" --test compose -- --ignored --nocapture
