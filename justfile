# Short names for the scripts and for cargo; `just` is optional.

# list these recipes
default:
    @just --list

# start the proxy with ./proxy.yaml
run *ARGUMENTS:
    cargo run --locked -- {{ARGUMENTS}}

# run all tests, also with real peers, and install what they need
test *ARGUMENTS:
    tests/run {{ARGUMENTS}}

# run everything that a change must pass
ci *JOBS:
    .ci/run {{JOBS}}

# run every fuzz target for 20 seconds
fuzz *ARGUMENTS:
    fuzz/run {{ARGUMENTS}}

fmt:
    cargo fmt --all

# build the crate's documentation in target/doc
docs:
    cargo doc --locked --workspace --no-deps --document-private-items

# write the crates' licences and the bill of materials
supply:
    python3 scripts/supply.py licences > THIRD-PARTY-LICENSES
    python3 scripts/supply.py sbom > target/wsgate.cdx.json
