#!/usr/bin/env bash
# Builds SyncNet and runs server1 in this terminal; with --background as first argument, behind it.
# Other arguments go to the server, such as --log-level debug. Settings: see common.sh.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
start_one server1 "$@"
