//! The frames that the proxy itself sends.

use super::{CLOSE, CONTROL_MAX, FIN, MASK, mask, may_be_sent};

/// A control frame, masked if there is a `key`: frames to a server need one, frames to a client must not have one. A
/// payload that is too long is cut.
#[must_use]
pub fn control(opcode: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = payload.get(..CONTROL_MAX).unwrap_or(payload).to_vec();
    let length = u8::try_from(payload.len()).unwrap_or_default();
    let mut frame = vec![FIN | opcode];
    match key {
        None => frame.push(length),
        Some(key) => {
            frame.push(MASK | length);
            frame.extend_from_slice(&key);
            mask(&mut payload, key);
        }
    }
    frame.append(&mut payload);
    frame
}

/// A Close frame with a short reason. [`may_be_sent`] must allow the code.
#[must_use]
pub fn close(code: u16, reason: &str, key: Option<[u8; 4]>) -> Vec<u8> {
    debug_assert!(may_be_sent(code), "{code}");
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    control(CLOSE, &payload, key)
}
