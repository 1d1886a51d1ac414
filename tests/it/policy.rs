//! The policy stage, with its vectors as bytes over a real TLS socket.

use crate::harness::Line;

pub fn host_not_allowed() -> Line {
    todo!()
}

pub fn path_not_allowed() -> Line {
    todo!()
}

pub fn path_near_miss() -> Line {
    todo!()
}

pub fn path_ambiguous() -> Line {
    todo!()
}

pub fn origin_missing() -> Line {
    todo!()
}

pub fn origin_null() -> Line {
    todo!()
}

pub fn origin_malformed() -> Line {
    todo!()
}

pub fn origin_multiple() -> Line {
    todo!()
}

pub fn origin_not_allowed() -> Line {
    todo!()
}

pub fn referer_appid_mismatch() -> Line {
    todo!()
}

pub fn subprotocol_not_allowed() -> Line {
    todo!()
}
