//! How much DATA one side lets the other send (RFC 9113 section 6.9).

use std::collections::BTreeMap;

/// The windows of one direction.
pub struct Windows {
    /// The window that a stream begins with.
    pub initial: i64,
    /// The window of the connection.
    connection: i64,
    /// How far the window of a stream is from the initial one.
    streams: BTreeMap<u32, i64>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            initial: 65535,
            connection: 65535,
            streams: BTreeMap::new(),
        }
    }
}

impl Windows {
    /// Applies a WINDOW_UPDATE.
    pub fn give(&mut self, stream: u32, bytes: u32) {
        *self.of(stream) += i64::from(bytes);
    }

    /// Applies DATA that is sent.
    pub fn take(&mut self, stream: u32, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap();
        self.connection -= bytes;
        *self.of(stream) -= bytes;
    }

    /// Applies DATA that has arrived.
    ///
    /// # Panics
    /// If a window did not allow it.
    pub fn spend(&mut self, stream: u32, bytes: usize) {
        self.take(stream, bytes);
        let left = [self.connection, self.initial + *self.of(stream)];
        let is_allowed = left.iter().all(|left| *left >= 0) || bytes == 0;
        assert!(
            is_allowed,
            "DATA of {bytes} bytes in stream {stream}: {left:?}"
        );
    }

    /// How many bytes may be sent.
    pub fn room(&mut self, stream: u32) -> usize {
        let left = self.connection.min(self.initial + *self.of(stream));
        usize::try_from(left).unwrap_or(0)
    }

    fn of(&mut self, stream: u32) -> &mut i64 {
        match stream {
            0 => &mut self.connection,
            _ => self.streams.entry(stream).or_default(),
        }
    }
}
