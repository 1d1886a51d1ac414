# shellcheck shell=bash
# Sourced by `run` and `tests/run`: what a program needs from Debian, installed or listed.

# A bare environment, as of a CI, has no PATH to a toolchain that rustup put into the home directory.
PATH="$PATH:${HOME:-/root}/.cargo/bin"

die() {
  echo "$0: $*" >&2
  exit 1
}

# Says nothing unless it fails.
quietly() {
  local output
  output=$(mktemp)
  if ! "$@" >"$output" 2>&1; then
    cat "$output" >&2
    rm -f "$output"
    die "failed: $*"
  fi
  rm -f "$output"
}

has() { command -v "$1" >/dev/null; }

# Debian's packages without which nothing is built.
missing_to_build() {
  has cc || echo gcc libc6-dev # aws-lc, under rustls, is C
  has make || echo make        # jemalloc's own build
}

# Debian starts a server when it installs one, unless this file says no. It goes away with the shell that wrote it; one
# that was there before stays as it is.
start_nothing() {
  [ ! -e /usr/sbin/policy-rc.d ] || return 0
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
}

# Installs what the function named by the argument lists, and asks it again.
install_missing() {
  local packages
  has cargo || die "no cargo: install Rust (rustup.rs)"
  packages=$("$1" | tr '\n' ' ')
  [ -n "$packages" ] || return 0
  if ! has apt-get || [ "$(id -u)" != 0 ]; then
    die "missing, by their Debian names: $packages"
  fi
  echo "installing $packages"
  export DEBIAN_FRONTEND=noninteractive
  (
    start_nothing
    quietly apt-get -o DPkg::Lock::Timeout=300 update
    # shellcheck disable=SC2086 # several words
    quietly apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $packages
  )
  hash -r
  packages=$("$1" | tr '\n' ' ')
  [ -z "$packages" ] || die "still missing after their installation: $packages"
}
