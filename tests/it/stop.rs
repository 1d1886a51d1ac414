//! Shutdown: what happens to handshakes and tunnels.

use crate::harness::Line;

pub fn draining() -> Line {
    todo!()
}

pub fn drain_forced() -> Line {
    todo!()
}
