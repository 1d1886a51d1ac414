//! `wsgate schema`.

use std::io;

use super::{OK, say};
use crate::config;

/// Prints the JSON Schema of `proxy.yaml`.
pub(super) fn schema() -> u8 {
    say(io::stdout(), &format!("{:#}\n", config::schema()));
    OK
}
