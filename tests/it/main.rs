//! All tests that drive the real program, by behaviour.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    reason = "tests fail loudly, and nothing outside calls them"
)]

mod harness;
/// A first tunnel from end to end.
mod tunnel;
