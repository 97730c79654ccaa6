#!/usr/bin/env bash
# Builds SyncNet and starts a cluster of three servers in the background, until it is ready to chat. Servers that
# run already go on, and only the others are started, with the programs as they are.
# Arguments go to each server that is started, such as --log-level debug. Settings: see common.sh. Stop it with
# stop_all_servers.sh.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

missing=()
for name in "${servers[@]}"; do
    if pid=$(running "$name"); then
        say "$name runs already as process $pid."
    else
        missing+=("$name")
    fi
done
if [ "${#missing[@]}" -eq "${#servers[@]}" ]; then
    programs build
    refuse_strangers 0
    prepare
    : >"$log_dir/console.log"
else
    programs find
    refuse_strangers "$((${#servers[@]} - ${#missing[@]}))"
    prepare
fi
started=$SECONDS
# ${a[@]+…} because an empty array counts as unset to the bash of macOS.
for name in ${missing[@]+"${missing[@]}"}; do start_in_background "$name" "$@"; done
if ! wait_until_healthy; then
    say "The servers that this has started are stopped."
    stop ${missing[@]+"${missing[@]}"} || true
    exit 1
fi

table=$(admin status || true)
port=$(printf '%s\n' "$table" | sed -n 's/^server1 .* tcp \([0-9]*\).*/\1/p')
other=$(printf '%s\n' "$table" | sed -n 's/^server2 .* tcp \([0-9]*\).*/\1/p')
say "SyncNet is ready after $((SECONDS - started)) s."
say
say "$table"
say
say "Chat, in two terminals:"
say "  $bin_dir/syncnet-client --server-host localhost --server-port $port --user alice --room lobby"
say "  $bin_dir/syncnet-client --server-host localhost --server-port $other --user bob --room lobby"
say "By hand:"
say "  (echo '{\"msg_type\":\"create_join\",\"sender_id\":\"carol\",\"data\":{\"room\":\"lobby\"}}'; cat) | nc localhost $port"
say "Logs:    $log_dir/server_server1.log … server_server3.log; all consoles: $log_dir/console.log"
say "Status:  scripts/status_check.sh"
say "Stop:    scripts/stop_all_servers.sh"
