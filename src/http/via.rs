//! The field that finds loops: the proxies that forwarded a request (RFC 9110 section 7.6.3).

use http::header::{self, HeaderMap, HeaderValue};

use super::fields::tokens;
use crate::reason::{Failure, Reason};

/// More hops than any real chain of proxies has. Replicas behind one name can hand a request round for long before it
/// meets one of them again.
const MOST_HOPS: usize = 16;

/// What this process calls itself in Via: a name of its own, so that two proxies in a row are no loop.
#[derive(Clone, Debug)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// A name that no other process has.
    #[must_use]
    pub fn new() -> Self {
        let mut id = [0; 8];
        // Without randomness the name is shared, and a chain of proxies would be refused rather than run in circles.
        let _ = getrandom::fill(&mut id);
        Self(format!("wsgate-{:016x}", u64::from_be_bytes(id)))
    }

    /// Whether a request was here before, or came through too many hops to be going anywhere.
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

    /// Adds this hop at the end of Via, which becomes one line.
    pub fn append(&self, fields: &mut HeaderMap) {
        let mut line = Vec::new();
        for before in fields.get_all(header::VIA) {
            line.extend_from_slice(before.as_bytes());
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(format!("1.1 {}", self.0).as_bytes());
        // Made of values that were good, and of a name that is.
        if let Ok(line) = HeaderValue::from_bytes(&line) {
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
