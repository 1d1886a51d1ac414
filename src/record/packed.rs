//! A record in little memory while its tunnel is open: JSON in which single bytes replace phrases that most records
//! have.
//!
//! A usual record takes 237 bytes in this form, 697 as JSON, and 1224 as a [`Record`] without its strings. Over HTTP/2 it
//! takes 254 bytes in this form, and 729 as JSON.

use super::Record;

/// The phrases for the bytes 1 to 31. JSON does not contain these bytes, because it escapes them in strings.
const PHRASES: [&str; 31] = [
    r#"{"time":"","schema":0,"version":"","event":"refused","conn":""#,
    r#"","stream_id":"#,
    r#","request_id":""#,
    r#"","notes":[{"code":""#,
    r#"","client":""#,
    r#"","peer":""#,
    r#"","listener":""#,
    r#"","sni":""#,
    r#"","tls_version":"1."#,
    r#","alpn":"http/1.1""#,
    r#","http_version":"1.1","method":"GET","host":""#,
    r#","http_version":"2","method":"CONNECT","host":""#,
    r#"","path":""#,
    r#"","origin":"https://"#,
    r#"","referer_app_id":"wx"#,
    r#"","user_agent":""#,
    r#"","route":""#,
    r#"","upstream":""#,
    r#"","attempts":[{"endpoint":"http://127.0.0.1:"#,
    r#"","attempts":[{"endpoint":""#,
    r#"","outcome":"connected","ms":"#,
    r#"}],"generation":"#,
    r#","tls_ms":"#,
    r#","head_ms":"#,
    r#","policy_ms":"#,
    r#","connect_ms":"#,
    r#","handshake_ms":"#,
    "Mozilla/5.0 (",
    ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
    " Safari/537.36",
    " MicroMessenger/",
];

/// A packed [`Record`]; the default is none.
#[derive(Debug, Default)]
pub(super) struct Packed(Box<str>);

impl Packed {
    /// Packs a record without the fields that are set when it is written (time, version).
    pub fn new(record: &Record) -> Self {
        // Plain data with string keys can always be written, and read back.
        let text = serde_json::to_string(record).unwrap_or_default();
        let mut packed = String::with_capacity(text.len() / 2);
        let mut rest = text.as_str();
        while let Some((before, from)) = split_at_start(rest) {
            packed.push_str(before);
            let length = match phrase_at(from) {
                Some((byte, length)) => {
                    packed.push(char::from(byte));
                    length
                }
                None => {
                    packed.extend(from.chars().next());
                    1
                }
            };
            rest = from.get(length..).unwrap_or_default();
        }
        packed.push_str(rest);
        Self(packed.into())
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text without phrases may be in it.
    pub fn may_contain(&self, text: &str) -> bool {
        self.0.contains(text)
    }

    /// Restores the record.
    pub fn unpack(&self) -> Record {
        let mut text = String::with_capacity(1024);
        for character in self.0.chars() {
            let phrase = (character as usize)
                .checked_sub(1)
                .and_then(|at| PHRASES.get(at));
            match phrase {
                Some(phrase) => text.push_str(phrase),
                None => text.push(character),
            }
        }
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// The bytes with which phrases begin.
const STARTS: [char; 7] = ['"', '}', ',', '{', ' ', ')', 'M'];

/// The text before the next place where a phrase may begin, and from there on.
fn split_at_start(text: &str) -> Option<(&str, &str)> {
    text.find(STARTS).and_then(|at| text.split_at_checked(at))
}

/// The byte for the phrase at the beginning of `text`, and the phrase's length.
fn phrase_at(text: &str) -> Option<(u8, usize)> {
    // Phrases differ in their fourth byte, or soon after it.
    let fourth = text.as_bytes().get(3);
    let mut phrases = (1..).zip(PHRASES);
    let (byte, phrase) = phrases
        .find(|(_, phrase)| phrase.as_bytes().get(3) == fourth && text.starts_with(phrase))?;
    Some((byte, phrase.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::{By, Level, Note, NoteCode, Stage};
    use crate::record::{Attempt, Event, Outcome};

    fn record() -> Record {
        let text = |text: &str| Some(text.to_owned());
        Record {
            conn: text("4a075b1400000001"),
            request_id: text("4a075b1400000001"),
            client: text("203.0.113.7"),
            peer: text("203.0.113.7:51234"),
            listener: text("0.0.0.0:8443"),
            sni: text("app.example.com"),
            tls_version: Some("1.3".into()),
            http_version: Some("1.1".into()),
            method: text("GET"),
            host: text("app.example.com"),
            path: text("/api/realtime-voice/stream"),
            origin: text("https://app.example.com"),
            user_agent: text(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
            ),
            route: text("/api/realtime-voice/stream"),
            upstream: text("app"),
            attempts: vec![Attempt {
                endpoint: "http://127.0.0.1:3000".to_owned(),
                outcome: Outcome::Connected,
                detail: None,
                ms: 0,
            }],
            generation: Some(1),
            tls_ms: Some(2),
            head_ms: Some(0),
            policy_ms: Some(0),
            connect_ms: Some(0),
            handshake_ms: Some(1),
            ..Record::default()
        }
    }

    fn json(record: &Record) -> String {
        serde_json::to_string(record).unwrap()
    }

    /// The same over HTTP/2.
    fn of_stream() -> Record {
        Record {
            stream_id: Some(15),
            request_id: Some("4a075b1400000001-15".to_owned()),
            alpn: Some("h2".to_owned()),
            http_version: Some("2".into()),
            method: Some("CONNECT".to_owned()),
            ..record()
        }
    }

    #[test]
    fn a_packed_record_loses_nothing() {
        let full = Record {
            level: Some(Level::Info),
            event: Event::Opened,
            stage: Some(Stage::Tunnel),
            by: Some(By::Proxy),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
            alpn: Some("http/1.1".to_owned()),
            path: Some("/\"path\":\"\\x00\u{1}\u{1f}\u{7f}é".to_owned()),
            notes: NoteCode::ALL
                .iter()
                .map(|code| Note::new(*code, "d"))
                .collect(),
            tls_ms: Some(u64::MAX),
            ..record()
        };
        for record in [full, record(), of_stream(), Record::default()] {
            let packed = Packed::new(&record);
            assert_eq!(json(&packed.unpack()), json(&record));
        }
    }

    #[test]
    fn every_phrase_is_found() {
        for (byte, phrase) in (1..).zip(PHRASES) {
            assert!(!phrase.contains(|c: char| c.is_ascii_control()));
            assert_eq!(phrase_at(phrase), Some((byte, phrase.len())));
            assert!(phrase.starts_with(STARTS));
        }
        for record in [record(), of_stream()] {
            let size = Packed::new(&record).0.len();
            assert!(size < 260, "{size} bytes");
            assert!(json(&record).len() > 600);
        }
    }
}
