#!/usr/bin/env bash
# Makes a Debian package of the programs, with unit, manual pages and completions, in target/debian or in the
# folder that is named. Needs dpkg-deb.
#
#   SYNCNET_BIN_DIR   programs to use as they are   [none: scripts/build_release.sh builds them]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

die() {
    printf 'make_deb.sh: %s\n' "$*" >&2
    exit 1
}

command -v dpkg-deb >/dev/null || die "dpkg-deb is missing; it comes with Debian's dpkg"
command -v objdump >/dev/null || die "objdump is missing: apt-get install binutils"

bin_dir=${SYNCNET_BIN_DIR:-}
if [ -z "$bin_dir" ]; then
    scripts/build_release.sh
    bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
output=${1:-${CARGO_TARGET_DIR:-target}/debian}
mkdir -p "$output"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
root=$work/root
programs=(syncnet-server syncnet-client syncnet-admin)

for program in "${programs[@]}"; do
    [ -x "$bin_dir/$program" ] || die "there is no $program in $bin_dir"
    install -D -m 755 "$bin_dir/$program" "$root/usr/bin/$program"
    strip --strip-unneeded "$root/usr/bin/$program"
    install -d "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
        "$root/usr/share/fish/vendor_completions.d"
    "$bin_dir/syncnet-admin" completions bash --program "$program" >"$root/usr/share/bash-completion/completions/$program"
    "$bin_dir/syncnet-admin" completions zsh --program "$program" >"$root/usr/share/zsh/vendor-completions/_$program"
    "$bin_dir/syncnet-admin" completions fish --program "$program" >"$root/usr/share/fish/vendor_completions.d/$program.fish"
done
"$bin_dir/syncnet-admin" man "$root/usr/share/man/man1"
gzip -9 -n "$root"/usr/share/man/man1/*.1

install -D -m 644 deploy/systemd/syncnet.service "$root/lib/systemd/system/syncnet.service"
install -D -m 644 deploy/systemd/syncnet.env "$root/etc/syncnet/syncnet.env"
install -d "$root/usr/share/doc/syncnet"
install -m 644 README.md docs/PROTOCOL.md docs/config.example.json "$root/usr/share/doc/syncnet/"
install -m 644 LICENSE "$root/usr/share/doc/syncnet/copyright"

# "5.0.0-alpha.1" comes before "5.0.0", which Debian writes with a tilde.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1 | tr - '~')
# The newest symbol of the C library that the programs use tells which one they need.
libc=$(objdump -T "$root"/usr/bin/syncnet-* | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)
mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<END
Package: syncnet
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: SyncNet <syncnet@localhost>
Depends: libc6 (>= ${libc#GLIBC_}), libgcc-s1, passwd
Section: net
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f1)
Description: self-hosted chat cluster
 A chat for a team that runs its own servers: an acknowledged message is synced to
 disk on a majority of them. Servers, a terminal client and a tool for operators.
END
echo /etc/syncnet/syncnet.env >"$root/DEBIAN/conffiles"
install -m 755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$root/DEBIAN/"
find "$root" -type d -exec chmod 755 {} +

package=$output/syncnet_${version}_$(dpkg --print-architecture).deb
# The times of the files are that of the last commit, so that the same programs give the same package.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
printf '%s\n' "$package"
