//! Records: exactly one each, whatever happens; floods; blocked outputs.

use crate::harness::Line;

pub fn internal_aborted() -> Line {
    todo!()
}
