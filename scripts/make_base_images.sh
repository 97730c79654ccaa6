#!/usr/bin/env bash
# Makes the base images of the Dockerfile on a machine that can pull none, under the tags that the Dockerfile
# names, from Debian's packages and the Rust toolchain of this machine. So the shipped Dockerfile can be built
# and run without a container registry.
#
# An image that has such a tag and was not made here is left as it is: it is the real one. The image with
# the toolchain is made again when Cargo.lock has changed, because it holds the crates.
#
#   DEBIAN_MIRROR   where Debian's packages are   [http://deb.debian.org/debian]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
suite=bookworm
label=org.syncnet.base-image

say() { printf '%s\n' "$*"; }

die() {
    printf 'make_base_images.sh: %s\n' "$*" >&2
    exit 1
}

# The default of a build argument of the Dockerfile.
default_of() {
    sed -n "s/^ARG $1=//p" Dockerfile
}

# The label of image $1 that says what it was made from; "real" if it was not made here, nothing if there is
# no such image.
made_of() {
    docker image inspect "$1" >/dev/null 2>&1 || return 0
    local made
    made=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$1")
    printf '%s' "${made:-real}"
}

# Whether image $1 need not be made from $2.
is_there() {
    local made
    made=$(made_of "$1")
    case $made in
    '') return 1 ;;
    real) say "$1 was not made here and is left as it is." ;;
    "$2") say "$1 is up to date." ;;
    *) return 1 ;;
    esac
}

command -v docker >/dev/null || die "docker is missing"
docker version --format '{{.Server.Version}}' >/dev/null || die "the Docker engine does not answer"

build_image=$(default_of BUILD_IMAGE)
run_image=$(default_of RUN_IMAGE)
[ -n "$build_image" ] || die "the Dockerfile names no BUILD_IMAGE"
[ -n "$run_image" ] || die "the Dockerfile names no RUN_IMAGE"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# Debian's packages are needed by name; a machine that was just made may not know any yet.
refresh_packages() {
    if ! apt-cache show libgcc-s1 >/dev/null 2>&1; then apt-get update -qq; fi
}

# The libraries that a linked program needs, and nothing else: no shell, no package manager.
make_run_image() {
    say "Making $run_image from Debian's packages."
    local root=$work/run packages=$work/packages archive
    mkdir -p "$root/etc" "$root/tmp" "$packages"
    chmod 1777 "$root/tmp"
    refresh_packages
    (cd "$packages" && apt-get download -qq libc6 libgcc-s1 ca-certificates)
    for archive in "$packages"/*.deb; do dpkg-deb -x "$archive" "$root"; done
    rm -rf -- "$root/usr/share/doc" "$root/usr/share/lintian" "$root/usr/sbin"
    # Without this file, glibc would ask a name server first for what is in /etc/hosts.
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
    printf 'root:x:0:0:root:/:/sbin/nologin\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    tar -C "$root" --owner=0 --group=0 --numeric-owner -c . |
        docker import --change "LABEL $label=$suite" --change "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" - "$run_image" >/dev/null
}

# A Debian with a C compiler, below the toolchain. It takes longest and never changes.
make_compiler_image() {
    say "Making $1 with debootstrap; that takes a few minutes."
    if ! command -v debootstrap >/dev/null; then
        [ "$(id -u)" = 0 ] || die "debootstrap is missing: apt-get install debootstrap"
        refresh_packages
        apt-get install -y -qq debootstrap >/dev/null
    fi
    local root=$work/compiler log=$work/debootstrap.log
    if ! debootstrap --variant=minbase --include=gcc,libc6-dev,make,ca-certificates "$suite" "$root" "$mirror" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "debootstrap failed; its last lines are above"
    fi
    rm -rf -- "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/usr/share/doc" "$root/usr/share/man"
    tar -C "$root" --numeric-owner -c . | docker import --change "LABEL $label=$suite" - "$1" >/dev/null
}

# The toolchain of this machine on top of it.
make_toolchain_image() {
    local compiler=syncnet-compiler:$suite context=$work/toolchain sysroot
    is_there "$compiler" "$suite" || make_compiler_image "$compiler"
    say "Making $1 from the installed toolchain."
    sysroot=$(rustc --print sysroot)
    mkdir -p "$context/toolchain"
    cp -a "$sysroot/bin" "$sysroot/lib" "$context/toolchain/"
    cat >"$context/Dockerfile" <<-END
		FROM $compiler
		ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/bin:/usr/bin:/bin CARGO_NET_OFFLINE=true
		COPY toolchain /usr/local
		LABEL $label=$toolchain
	END
    build "$1" "$context"
}

# The crates of Cargo.lock on top of that, so that cargo needs no network.
make_build_image() {
    local image=syncnet-toolchain:$toolchain context=$work/crates home=${CARGO_HOME:-$HOME/.cargo}
    is_there "$image" "$toolchain" || make_toolchain_image "$image"
    say "Making $build_image with the crates of Cargo.lock."
    cargo fetch --locked --quiet
    mkdir -p "$context/registry"
    cp -a "$home/registry/index" "$home/registry/cache" "$context/registry/"
    cat >"$context/Dockerfile" <<-END
		FROM $image
		COPY registry /usr/local/cargo/registry
		LABEL $label=$lock
	END
    build "$build_image" "$context"
}

# Builds image $1 from folder $2. The builder that comes with every engine is enough, though Docker's program
# warns that it is the old one.
build() {
    local log=$work/build.log
    if ! DOCKER_BUILDKIT=0 docker build --tag "$1" "$2" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "the image $1 cannot be built; the last lines are above"
    fi
}

toolchain=$(rustc --version | cut -d' ' -f2)
lock=$(sha256sum Cargo.lock | cut -c1-16)
is_there "$run_image" "$suite" || make_run_image
is_there "$build_image" "$lock" || make_build_image
