//! Where TLS records begin and end in a stream (RFC 8446 section 5.1).

/// A position in a stream of TLS records.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// How many bytes of the current header have passed.
    begun: u8,
    /// The first of the two length bytes.
    high: u8,
    /// How many bytes of the current payload are still to come.
    left: u16,
}

impl Records {
    /// The length of a record's header. Its last two bytes are the length of the payload.
    pub const HEADER: usize = 5;

    /// The number of bytes to the end of the record, or to the end of its header if the header is incomplete.
    pub fn left(&self) -> usize {
        match self.left {
            0 => Self::HEADER - usize::from(self.begun),
            left => left.into(),
        }
    }

    /// Moves past bytes that were read.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = self.left().min(bytes.len());
            let (part, rest) = bytes.split_at(count);
            bytes = rest;
            if self.left > 0 {
                // `count` is at most `left`.
                self.left -= u16::try_from(count).unwrap_or(self.left);
                continue;
            }
            for byte in part {
                self.begun += 1;
                match usize::from(self.begun) {
                    4 => self.high = *byte,
                    Self::HEADER => {
                        self.left = u16::from_be_bytes([self.high, *byte]);
                        self.begun = 0;
                    }
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_where_their_headers_say_however_they_are_cut() {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for length in [1_u16, 0, 300, 2, 0xffff] {
            bytes.extend([23, 3, 3]);
            bytes.extend(length.to_be_bytes());
            bytes.extend(vec![0xff; length.into()]);
            ends.push(bytes.len());
        }
        for size in [1, 2, 3, 4, 5, 6, 7, 300, 16 * 1024, bytes.len()] {
            let mut records = Records::default();
            let mut at = 0;
            let mut found = Vec::new();
            while at < bytes.len() {
                let count = size.min(records.left());
                records.pass(&bytes[at..at + count]);
                at += count;
                if records.left == 0 && records.begun == 0 {
                    found.push(at);
                }
            }
            assert_eq!(found, ends);
            let mut records = Records::default();
            bytes.chunks(size).for_each(|piece| records.pass(piece));
            assert_eq!((records.left(), records.begun), (Records::HEADER, 0));
        }
    }
}
