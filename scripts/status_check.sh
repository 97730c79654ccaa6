#!/usr/bin/env bash
# Shows the cluster: status_check.sh [once | watch | simple]. The default is once.
# Exit status: 0 healthy, 1 degraded, 2 wrong usage, 3 no message can be taken. Settings: see common.sh.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

case "${1:-once}" in
once) options=() ;;
watch) options=(--watch) ;;
simple) options=(--simple) ;;
*)
    say "usage: status_check.sh [once | watch | simple]" >&2
    exit 2
    ;;
esac
if [ "$#" -gt 0 ]; then shift; fi
programs find
# ${a[@]+…}: see common.sh.
admin status ${options[@]+"${options[@]}"} "$@"
