# Bare Debians, made by debootstrap, once, and kept in the user's cache folder. To be sourced; wants root and debootstrap.

readonly bare_cache=${XDG_CACHE_HOME:-$HOME/.cache}/loadcast/fresh

# Nothing is mounted when it comes to this, and what somebody has mounted there all the same is left alone.
remove() { rm -rf --one-file-system -- "$@"; }

# A system in the cache may hold this machine's settings.
make_cache() { mkdir -p "$bare_cache" && chmod 700 "$bare_cache"; }

# install_debian PACKAGE...: installs what is missing of these packages, as far as it can: root, on a Debian.
install_debian() {
    dpkg -s "$@" >/dev/null 2>&1 && return
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1 || return
    apt_install "$@" || { apt-get update -qq >/dev/null 2>&1 && apt_install "$@"; }
}
apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1; }

# The address from which this machine has its own Debian packages, if it is a Debian; else debootstrap uses its own.
mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n '/-security/d; s/^Debian //p' | head -n 1
}

# bare_debian SUITE PACKAGES: prints the archive of a bare system with these packages, which it makes if need be.
bare_debian() {
    local suite=$1 included=$2 archive building
    archive=$bare_cache/$suite-$(sha256sum <<<"$suite $included $(dpkg --print-architecture)" | cut -c 1-12).tar.gz
    if [[ ! -f $archive ]]; then
        building=$(mktemp -d "$bare_cache/making-XXXXXX")
        # shellcheck disable=SC2064
        trap "remove '$building'" EXIT # of the subshell that this runs in, where the variable is gone by then
        echo "Making a bare $suite" >&2
        # shellcheck disable=SC2046
        if ! debootstrap --variant=minbase --include="$included" "$suite" "$building/root" $(mirror) >"$building/log" 2>&1; then
            tail -n 5 "$building/log" >&2
            return 1
        fi
        rm -rf "$building"/root/var/cache/apt/archives/*.deb
        tar -C "$building/root" --one-file-system --numeric-owner -czf "$building/archive" . &&
            mv "$building/archive" "$archive"
        [[ -f $archive ]] || return 1
    fi
    printf '%s\n' "$archive"
}

# configure SYSTEM: how this machine reaches the package registries, whatever that is: files, certificates, name servers.
configure() {
    local system=$1 file
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/uv/uv.toml ~/.config/pip/pip.conf ~/.config/uv/uv.toml; do
        [[ -f $file ]] && install -D "$file" "$system$file"
    done
    apt-config dump Acquire | grep -vE '::(IndexTargets|CompressionTypes|Changelogs)' >"$system/etc/apt/apt.conf.d/99machine" || true
    [[ -d /usr/local/share/ca-certificates ]] && cp -rL /usr/local/share/ca-certificates "$system/usr/local/share/"
    chroot "$system" update-ca-certificates >/dev/null 2>&1
}
