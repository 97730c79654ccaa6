#!/usr/bin/env bash
# Shows what SyncNet does when things go wrong, told step by step as it happens:
#
#   demo_scenarios.sh [all | leader | rolling | client]
#
#   leader   the leader is killed while two people chat
#   rolling  every server is restarted, one after the other, under a stream of messages
#   client   the server that carol is connected to is killed, and later every server stops
#
# It plays on a cluster of its own, in a temporary folder and on the ports of SYNCNET_DEMO_PORTS
# [18000 18001 18002], so a running cluster is not touched. SYNCNET_DEMO_PACE [2] is the pause before each blow,
# in seconds. Each scenario checks what it shows; exit status 0 means that all of it held.

what=${1:-all}
case $what in
all | leader | rolling | client) ;;
*)
    echo "usage: demo_scenarios.sh [all | leader | rolling | client]" >&2
    exit 2
    ;;
esac

stage=$(mktemp -d "${TMPDIR:-/tmp}/syncnet-demo.XXXXXX")
read -r -a ports <<<"${SYNCNET_DEMO_PORTS:-18000 18001 18002}"
pace=${SYNCNET_DEMO_PACE:-2}
export SYNCNET_CONFIG=$stage/config.json SYNCNET_DATA_DIR=$stage/data
export SYNCNET_LOG_DIR=$stage/logs SYNCNET_RUN_DIR=$stage/run
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

cat >"$config" <<END
{"servers": [
  {"server_id": "server1", "host": "127.0.0.1", "port": ${ports[0]}, "ring_position": 0},
  {"server_id": "server2", "host": "127.0.0.1", "port": ${ports[1]}, "ring_position": 1},
  {"server_id": "server3", "host": "127.0.0.1", "port": ${ports[2]}, "ring_position": 2}
]}
END

clients=()

# shellcheck disable=SC2317 # the trap below calls it
clean_up() {
    local status=$? name
    trap - EXIT INT TERM
    # The clients end with their input: closing it is like a user's Ctrl-D.
    exec 7>&- 8>&- 9>&-
    for name in ${clients[@]+"${clients[@]}"}; do kill "$name" 2>/dev/null || true; done
    stop "${servers[@]}" >/dev/null || true
    if [ "$status" -eq 0 ]; then
        rm -rf "$stage"
    else
        say
        say "Something did not hold. The logs are kept in $stage."
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- Telling -------------------------------------------------------------------------------------------

chapter() { printf '\n=== %s\n' "$*"; }
tell() { printf '\n[%3d s] %s\n' "$SECONDS" "$*"; }
show_status() { admin status | sed 's/^/        /' || true; }

pause() { sleep "$pace"; }

# Milliseconds, or whole seconds if date knows nothing finer.
now_ms() {
    local ms
    ms=$(date +%s%3N)
    case $ms in *[!0-9]*) ms=$(date +%s)000 ;; esac
    printf '%s' "$ms"
}

leader() { admin status --simple | sed -n 's/.* leader=\([^ ]*\).*/\1/p'; }

# --- People ---------------------------------------------------------------------------------------------

# Starts the client of $1 at port $2, with its input at file descriptor $3. What it shows is shown here and
# kept for the checks.
sit_down() {
    local name=$1
    mkdir "$stage/$name"
    mkfifo "$stage/$name.in"
    : >"$stage/$name.out"
    "$bin_dir/syncnet-client" --server-host 127.0.0.1 --server-port "$2" --user "$name" --room demo \
        --outbox-dir "$stage/$name" <"$stage/$name.in" > >(tee "$stage/$name.out" | sed -u "s/^/        $name's screen | /") 2>&1 7>&- 8>&- 9>&- &
    clients+=("$!")
    eval "exec $3>\"\$stage/\$name.in\""
}

# Waits until $2 stands on the screen of $1.
sees() {
    local tries=0
    until grep -qF -- "$2" "$stage/$1.out"; do
        tries=$((tries + 1))
        [ "$tries" -lt 2000 ] || die "$1 did not see \"$2\" within 30 s"
        sleep 0.01
    done
}

# Sends $2 with the input $1 and waits until bob sees it; prints how long that took.
exchange() {
    local began
    began=$(now_ms)
    printf '%s\n' "$2" >&"$1"
    sees bob "$2"
    tell "bob has it after $(($(now_ms) - began)) ms."
}

crash() {
    local pid
    pid=$(running "$1") || die "$1 does not run"
    kill -KILL "$pid"
}

# Starts a server that must not inherit the clients' inputs, or they would never end.
start_again() { start_in_background "$1" 7>&- 8>&- 9>&-; }

# Waits until the highest ring position leads.
leads_again() {
    local tries=0
    until [ "$(leader)" = server3 ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || die "server3 did not lead again within 30 s"
        sleep 0.1
    done
}

bring_back() {
    start_again "$1"
    wait_until_healthy || die "the cluster did not become healthy again"
}

# --- The scenarios --------------------------------------------------------------------------------------

leader_failure() {
    chapter "The leader is killed in mid-sentence"
    local victim
    leads_again
    victim=$(leader)
    exchange 7 "Good morning, bob."
    pause
    tell "$victim leads. It is killed now, with kill -9, and alice goes on at once."
    crash "$victim"
    exchange 7 "Did you notice anything?"
    tell "One server is gone, another one leads:"
    show_status
    pause
    tell "$victim comes back and catches up. It has the highest ring position, so it is to lead again."
    bring_back "$victim"
    leads_again
    show_status
    exchange 7 "And now it is back."
}

rolling_restart() {
    chapter "Every server is restarted under a stream of messages"
    local name writer said
    tell "alice says something ten times a second, and does not stop for what follows."
    (
        number=0
        while [ ! -e "$stage/enough" ]; do
            number=$((number + 1))
            printf 'message-%s\n' "$number" >&7
            printf '%s\n' "$number" >"$stage/said"
            sleep 0.1
        done
    ) >/dev/null &
    writer=$!
    for name in "${servers[@]}"; do
        pause
        tell "$name is stopped and started again."
        stop "$name"
        bring_back "$name"
    done
    leads_again
    : >"$stage/enough"
    wait "$writer"
    said=$(cat "$stage/said")
    sees bob "message-$said"
    # Every message once and in order: the numbers that bob saw are 1, 2, 3, … $said.
    if ! diff <(grep -o 'message-[0-9]*' "$stage/bob.out") <(seq -f 'message-%.0f' 1 "$said") >/dev/null; then
        die "bob did not see every message once and in order; compare $stage/bob.out"
    fi
    tell "All three were restarted. alice said $said messages; bob saw each once, in order."
    show_status
}

client_failover() {
    chapter "The server of a client is killed, then all servers stop"
    tell "carol sits down at server1."
    sit_down carol "${ports[0]}" 9
    sees carol "you are in demo"
    exchange 9 "Hello, this is carol."
    pause
    tell "server1, to which carol is connected, is killed with kill -9."
    crash server1
    exchange 9 "I did not have to do anything."
    bring_back server1
    pause
    tell "Now every server stops, and alice writes on."
    stop "${servers[@]}"
    printf 'Is anybody there?\n' >&7
    sleep 2
    tell "The servers start again."
    for name in "${servers[@]}"; do start_again "$name"; done
    wait_until_healthy || die "the cluster did not become healthy again"
    sees bob "Is anybody there?"
    tell "What alice wrote while nobody answered has arrived."
}

# --- The play -------------------------------------------------------------------------------------------

programs build
refuse_strangers 0
prepare
tell "Three servers start, on ports ${ports[*]}."
for name in "${servers[@]}"; do start_in_background "$name"; done
wait_until_healthy || die "the cluster did not start"
show_status
tell "alice sits down at server1 and bob at server2."
sit_down alice "${ports[0]}" 7
sit_down bob "${ports[1]}" 8
for name in alice bob; do sees "$name" "you are in demo"; done
exchange 7 "Hello, bob."

case $what in all | leader) leader_failure ;; esac
case $what in all | rolling) rolling_restart ;; esac
case $what in all | client) client_failover ;; esac

tell "The end. Everything shown here was checked."
