# shellcheck shell=bash
# What the other scripts share. It is sourced by them and does nothing by itself.
#
# All settings are environment variables and optional; together they let several clusters live on one
# machine, and tests run beside a real one:
#
#   SYNCNET_CONFIG         configuration file of the servers   [none: three servers on localhost]
#   SYNCNET_DATA_DIR       databases and the cluster secret    [data]
#   SYNCNET_LOG_DIR        logs                                [logs]
#   SYNCNET_RUN_DIR        PID files                           [run]
#   SYNCNET_BIN_DIR        programs to use as they are         [none: they are built]
#   SYNCNET_PROFILE        cargo profile to build              [release]
#   SYNCNET_LOG_LEVEL      error, warn, info, debug or trace   [that of the configuration, else info]
#   SYNCNET_READY_TIMEOUT  seconds to wait for a leader        [30]
#   SYNCNET_STOP_TIMEOUT   seconds before a server is killed   [15]
#
# Relative folders are relative to the project, not to the folder that a script is called from.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"

config=${SYNCNET_CONFIG:-}
data_dir=${SYNCNET_DATA_DIR:-data}
log_dir=${SYNCNET_LOG_DIR:-logs}
run_dir=${SYNCNET_RUN_DIR:-run}
profile=${SYNCNET_PROFILE:-release}
ready_timeout=${SYNCNET_READY_TIMEOUT:-30}
stop_timeout=${SYNCNET_STOP_TIMEOUT:-15}
servers=(server1 server2 server3)

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# --- Programs -------------------------------------------------------------------------------------

# Sets bin_dir to the folder with the programs. With "build" they are brought up to date first; with
# "find" they are built only if there are none.
programs() {
    if [ -n "${SYNCNET_BIN_DIR:-}" ]; then
        bin_dir=$SYNCNET_BIN_DIR
        [ -x "$bin_dir/syncnet-server" ] || die "SYNCNET_BIN_DIR is $bin_dir, and there is no syncnet-server in it"
        return
    fi
    # Cargo calls the folder of its "dev" profile "debug".
    local folder=$profile
    if [ "$profile" = dev ]; then folder=debug; fi
    bin_dir=${CARGO_TARGET_DIR:-target}/$folder
    if [ "$1" = find ] && [ -x "$bin_dir/syncnet-server" ] && [ -x "$bin_dir/syncnet-admin" ]; then
        return
    fi
    command -v cargo >/dev/null ||
        die "cargo is missing: install Rust from https://rustup.rs, or point SYNCNET_BIN_DIR to built programs"
    if [ ! -x "$bin_dir/syncnet-server" ]; then
        say "Building SyncNet; the first time takes a few minutes."
    fi
    cargo build --locked --quiet --profile "$profile" --bins ||
        die "the build failed; see cargo's output above"
}

# Runs syncnet-admin against this cluster.
admin() {
    if [ -n "$config" ]; then
        "$bin_dir/syncnet-admin" "$@" --config "$config"
    else
        "$bin_dir/syncnet-admin" "$@"
    fi
}

# --- Processes ------------------------------------------------------------------------------------

# The process id in a server's PID file, or nothing.
pid_of() {
    local pid=
    if [ -f "$run_dir/$1.pid" ]; then pid=$(cat "$run_dir/$1.pid"); fi
    case $pid in '' | *[!0-9]*) ;; *) printf '%s' "$pid" ;; esac
}

# Whether process $2 really is server $1. A PID file may have outlived its server, and another process may
# have the number by now.
is_server() {
    local line
    if [ -r "/proc/$2/cmdline" ]; then
        line=$(tr '\0' ' ' <"/proc/$2/cmdline")
    else
        line=$(ps -p "$2" -o args= 2>/dev/null) || return 1
    fi
    case "$line " in *syncnet-server*" --server-id $1 "*) return 0 ;; *) return 1 ;; esac
}

# Prints the process id of server $1 if it runs, else fails.
running() {
    local pid
    pid=$(pid_of "$1")
    [ -n "$pid" ] && is_server "$1" "$pid" && printf '%s' "$pid"
}

# Refuses to start servers if more than $1, those that were started from here, answer already: their answers
# would be taken for those of the servers that could not get their ports.
refuse_strangers() {
    local line answering status=0
    line=$(admin status --simple 2>&1) || status=$?
    # Healthy, degraded and down are answers; anything else is an error of the tool.
    case $status in
    0 | 1 | 3) ;;
    *) die "$line" ;;
    esac
    answering=${line#*servers=}
    answering=${answering%%/*}
    case $answering in '' | *[!0-9]*) die "$line" ;; esac
    if [ "$answering" -gt "$1" ]; then
        die "another cluster answers on these ports already, and was not started from $run_dir: $line"
    fi
}

# Makes the folders, and the secret by which the servers of a cluster know each other.
prepare() {
    mkdir -p "$data_dir" "$log_dir" "$run_dir"
    local secret=$data_dir/cluster.secret
    if [ ! -e "$secret" ]; then
        # Written to a draft and linked into place, so that of two scripts at once one wins and the file is
        # complete.
        local draft=$secret.$$
        (umask 077 && od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' >"$draft")
        ln "$draft" "$secret" 2>/dev/null || [ -e "$secret" ] || die "$secret cannot be made"
        rm -f "$draft"
    fi
}

# Fills the array command with the command line of server $1; the other arguments are added to it.
server_command() {
    local name=$1
    shift
    command=("$bin_dir/syncnet-server" --server-id "$name" --data-dir "$data_dir" --log-dir "$log_dir")
    if [ -n "$config" ]; then command+=(--config "$config"); fi
    command+=("$@")
}

refuse_second() {
    local pid
    if pid=$(running "$1"); then
        die "$1 runs already as process $pid; scripts/stop_all_servers.sh stops it"
    fi
}

# Starts server $1 in the background, in a session of its own: Ctrl-C in this terminal is not for it.
# Its console output goes to console.log, each line marked with its name. That file is not rotated,
# so it takes no more than the first 20,000 lines of each run; the server's own log has them all.
start_in_background() {
    local name=$1 detach=nohup
    if command -v setsid >/dev/null; then detach=setsid; fi
    server_command "$@"
    "$detach" "${command[@]}" </dev/null \
        > >(exec "$detach" sed -u -e "20001,\$d" -e "s/^/[$name] /" >>"$log_dir/console.log" 2>/dev/null) 2>&1 &
    printf '%s\n' "$!" >"$run_dir/$name.pid"
    # The server is no job of this shell, which would report it when it is killed.
    disown
}

# What start_server1, 2 and 3 do: run one server in this terminal, or with --background behind it.
start_one() {
    local name=$1
    shift
    refuse_second "$name"
    if [ "${1:-}" = --background ]; then
        shift
        programs build
        prepare
        start_in_background "$name" "$@"
        say "$name starts as process $(pid_of "$name"); its log is $log_dir/server_$name.log"
        return
    fi
    programs build
    prepare
    server_command "$name" "$@"
    # The server takes this process over, so its id is known before it runs.
    printf '%s\n' "$$" >"$run_dir/$name.pid"
    exec "${command[@]}"
}

# Stops servers: asks all of them, then waits for each, and kills those that do not stop. Fails if one had to
# be killed.
stop() {
    local name pid failed=0 asked=()
    for name in "$@"; do
        if pid=$(running "$name"); then
            kill -TERM "$pid" 2>/dev/null || true
            asked+=("$name $pid")
        else
            rm -f "$run_dir/$name.pid"
        fi
    done
    # ${a[@]+…} because an empty array counts as unset to the bash of macOS.
    for name in ${asked[@]+"${asked[@]}"}; do
        pid=${name#* }
        name=${name% *}
        if wait_for_end "$name" "$pid"; then
            say "$name has stopped."
        else
            say "$name (process $pid) did not stop within $stop_timeout s and is killed."
            kill -KILL "$pid" 2>/dev/null || true
            failed=1
        fi
        rm -f "$run_dir/$name.pid"
    done
    return "$failed"
}

# Waits until process $2 is no longer server $1; fails if that takes longer than the stop timeout.
wait_for_end() {
    local waited=0
    while is_server "$1" "$2"; do
        [ "$waited" -lt "$((stop_timeout * 10))" ] || return 1
        sleep 0.1
        waited=$((waited + 1))
    done
}

# Prints the end of a server's output after a failure.
show_log() {
    say "--- the end of $log_dir/console.log for $1:"
    if [ -f "$log_dir/console.log" ]; then
        grep -F "[$1] " "$log_dir/console.log" | tail -n 15 || true
    fi
    say "---"
}

# Whether server $1, which was started from here, has ended. It may run and not be recognised yet: on a busy
# machine it takes a while until the forked process is the program.
has_ended() {
    local pid state
    pid=$(pid_of "$1")
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 0
    # A process that has ended and was not waited for yet still has its number.
    state=$(ps -p "$pid" -o stat= 2>/dev/null) || return 1
    case $state in Z*) return 0 ;; *) return 1 ;; esac
}

# Waits until the cluster is healthy: every server answers, exactly one leads, all others follow it.
# Fails, and says what is wrong, if that takes longer than the ready timeout or a server ends.
wait_until_healthy() {
    local name deadline=$((SECONDS + ready_timeout)) line=
    while ! line=$(admin status --simple 2>&1); do
        for name in "${servers[@]}"; do
            if has_ended "$name"; then
                # Its last lines may still be on their way to the log.
                sleep 0.3
                show_log "$name"
                say "$name has ended; the reason is above."
                return 1
            fi
        done
        if [ "$SECONDS" -ge "$deadline" ]; then
            for name in "${servers[@]}"; do show_log "$name"; done
            say "The cluster was not ready within $ready_timeout s: $line"
            return 1
        fi
        sleep 0.1
    done
}
