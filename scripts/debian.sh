# shellcheck shell=bash
# Sourced by `run`, `tests/run`, `fuzz/run` and `.ci/run`: installs the Debian packages that a program needs, or lists them.

# The bare environment of a CI has no PATH to a toolchain that rustup installed in the home directory.
PATH="$PATH:${HOME:-/root}/.cargo/bin"

die() {
  echo "$0: $*" >&2
  exit 1
}

# Quiet unless it fails.
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

# The Debian packages that every build needs.
missing_to_build() {
  has cc || echo gcc libc6-dev # aws-lc, under rustls, is C
  has make || echo make        # jemalloc's own build
}

# Debian starts every server that it installs unless this file forbids it. The file is removed when the shell ends; an
# existing one stays.
start_nothing() {
  [ ! -e /usr/sbin/policy-rc.d ] || return 0
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
}

# Installs the packages that the function named by the argument lists, and then checks again.
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
