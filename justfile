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

# the licences of what the program is made of, and its bill of materials
supply:
    python3 scripts/supply.py licences > THIRD-PARTY-LICENSES
    python3 scripts/supply.py sbom > target/wsgate.cdx.json
