# Short names for what the scripts and cargo do; nothing needs `just`.

# lists these
default:
    @just --list

# the proxy, with ./proxy.yaml
run *ARGUMENTS:
    cargo run --locked -- {{ARGUMENTS}}

# all tests, against real peers; installs them when needed
test *ARGUMENTS:
    tests/run {{ARGUMENTS}}

# what a submission must pass
ci:
    .ci/run

fmt:
    cargo fmt --all

# the crate's documentation, in target/doc
docs:
    cargo doc --locked --workspace --no-deps --document-private-items
