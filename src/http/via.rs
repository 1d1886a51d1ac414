//! Via, the field that lists the proxies that forwarded a request (RFC 9110 section 7.6.3). It reveals loops.

use http::header::{self, HeaderMap, HeaderValue};

use super::fields::tokens;
use crate::reason::{Failure, Reason};

/// More hops than any real chain has. A loop through many replicas may take long before it meets the same one again.
const MOST_HOPS: usize = 16;

/// The name of this process in Via. Each process has a different name, so two proxies in a row are not a loop.
#[derive(Clone, Debug)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// A name that no other process has.
    #[must_use]
    pub fn new() -> Self {
        let mut id = [0; 8];
        // Without randomness all processes share a name. Chains of them would then be refused, but could not loop.
        let _ = getrandom::fill(&mut id);
        Self(format!("wsgate-{:016x}", u64::from_be_bytes(id)))
    }

    /// Refuses a request that was here before or that came through too many hops.
    ///
    /// # Errors
    /// `loop_detected`.
    pub fn check(&self, fields: &HeaderMap) -> Result<(), Failure> {
        let mut hops = 0;
        for hop in tokens(fields, &header::VIA) {
            hops += 1;
            let mut words = hop.split(u8::is_ascii_whitespace);
            if words.any(|word| word == self.0.as_bytes()) {
                let detail = format!("this proxy itself ({}) is hop {hops} in Via", self.0);
                return Err(Failure::new(Reason::LoopDetected, detail));
            }
        }
        if hops > MOST_HOPS {
            let detail = format!("{hops} hops in Via, allowed: {MOST_HOPS}");
            return Err(Failure::new(Reason::LoopDetected, detail));
        }
        Ok(())
    }

    /// Appends this hop to Via and joins its lines to one.
    pub fn append(&self, fields: &mut HeaderMap) {
        let mut line = Vec::with_capacity(64);
        for before in fields.get_all(header::VIA) {
            line.extend_from_slice(before.as_bytes());
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(b"1.1 ");
        line.extend_from_slice(self.0.as_bytes());
        // Always valid: the old values were valid, and so is the name.
        if let Ok(line) = HeaderValue::try_from(line) {
            fields.insert(header::VIA, line);
        }
    }
}

impl Default for Pseudonym {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_not_others() {
        let [own, other] = [Pseudonym::new(), Pseudonym::new()];
        let mut fields = HeaderMap::new();
        own.check(&fields).unwrap();
        fields.append(header::VIA, HeaderValue::from_static("1.0 fred"));
        fields.append(
            header::VIA,
            HeaderValue::from_static("1.1 p.example (a, b)"),
        );
        other.append(&mut fields);
        let line = format!("1.0 fred, 1.1 p.example (a, b), 1.1 {}", other.0);
        assert_eq!(fields.get_all(header::VIA).iter().count(), 1);
        assert_eq!(fields[header::VIA], line.as_str());
        own.check(&fields).unwrap();
        let failure = other.check(&fields).unwrap_err();
        assert_eq!(failure.reason, Reason::LoopDetected);
    }

    #[test]
    fn a_chain_has_an_end() {
        let own = Pseudonym::new();
        let mut fields = HeaderMap::new();
        for _ in 0..MOST_HOPS {
            own.check(&fields).unwrap();
            Pseudonym::new().append(&mut fields);
        }
        own.check(&fields).unwrap();
        Pseudonym::new().append(&mut fields);
        assert!(own.check(&fields).is_err());
    }
}
