//! What waits to be written to a peer.

/// Bytes that wait to be written: first the other peer's, then the proxy's own frames. Boxed, because most of the time
/// nothing waits.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<Box<Bytes>>);

#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    written: usize,
    /// How many bytes at the end are the proxy's own.
    own: usize,
}

impl Waiting {
    /// Adds bytes of the other peer, before the proxy's own.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let waiting = self.0.get_or_insert_default();
        if waiting.own == 0 {
            waiting.bytes.extend_from_slice(bytes);
        } else {
            let at = waiting.bytes.len().saturating_sub(waiting.own);
            waiting.bytes.splice(at..at, bytes.iter().copied());
        }
    }

    /// Adds a frame of the proxy.
    pub fn push_own(&mut self, frame: &[u8]) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes.extend_from_slice(frame);
        waiting.own += frame.len();
    }

    /// The bytes that are still to be written.
    pub fn rest(&self) -> &[u8] {
        let waiting = self.0.as_ref();
        let rest = waiting.and_then(|waiting| waiting.bytes.get(waiting.written..));
        rest.unwrap_or_default()
    }

    /// How many of the waiting bytes are the other peer's.
    pub fn theirs(&self) -> usize {
        let own = self.0.as_ref().map_or(0, |waiting| waiting.own);
        self.rest().len().saturating_sub(own)
    }

    /// Removes bytes that were written; returns how many of them were the other peer's.
    pub fn advance(&mut self, count: usize) -> usize {
        let theirs = self.theirs().min(count);
        if let Some(waiting) = &mut self.0 {
            waiting.written += count;
            waiting.own = waiting.own.saturating_sub(count - theirs);
        }
        if self.rest().is_empty() {
            self.0 = None;
        }
        theirs
    }
}
