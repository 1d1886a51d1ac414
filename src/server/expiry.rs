//! Reports certificates that expire soon, early enough and not too often.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::text::counted;
use crate::tls::Certificate;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What was reported about each certificate.
#[derive(Debug, Default)]
pub(super) struct Expiry(BTreeMap<PathBuf, (SystemTime, Left)>);

/// How long a certificate is still valid, in steps. A shorter time is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Enough,
    Month,
    Week,
    Day,
    Nothing,
}

impl Left {
    fn of(expires: SystemTime, now: SystemTime) -> Self {
        match expires.duration_since(now) {
            Err(_) => Self::Nothing,
            Ok(left) if left <= DAY => Self::Day,
            Ok(left) if left <= 7 * DAY => Self::Week,
            Ok(left) if left <= 30 * DAY => Self::Month,
            Ok(_) => Self::Enough,
        }
    }
}

impl Expiry {
    /// What must be reported now: once for each certificate when it has 30, 7 and 1 days left, and when it has expired.
    pub fn due(&mut self, certificates: &[Certificate], now: SystemTime) -> Vec<String> {
        self.0.retain(|file, _| {
            certificates
                .iter()
                .any(|certificate| certificate.file == *file)
        });
        let mut due = Vec::new();
        for Certificate {
            file,
            expires,
            shown_to,
            ..
        } in certificates
        {
            let left = Left::of(*expires, now);
            let told = self.0.insert(file.clone(), (*expires, left));
            let is_told = told.is_some_and(|(then, told)| then == *expires && told >= left);
            if left == Left::Enough || is_told {
                continue;
            }
            let day = humantime::format_rfc3339_seconds(*expires);
            let file = file.display();
            due.push(match expires.duration_since(now) {
                Err(_) => format!("the certificate in {file} expired at {day}; {shown_to} refuse it: renew it"),
                Ok(left) => format!(
                    "the certificate in {file} expires at {day}, in {}; renew it, and it reloads without a restart",
                    remaining(left)
                ),
            });
        }
        due
    }
}

/// A remaining time in the largest unit that fits.
fn remaining(left: Duration) -> String {
    let hours = usize::try_from(left.as_secs() / 3600).unwrap_or(usize::MAX);
    match (hours / 24, hours) {
        (0, 0) => "less than an hour".to_owned(),
        (0, hours) => counted(hours, "hour"),
        (days, _) => counted(days, "day"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::tls::{Leaf, ShownTo};

    fn certificate(expires: SystemTime) -> Certificate {
        Certificate {
            file: "a.pem".into(),
            begins: UNIX_EPOCH,
            expires,
            shown_to: ShownTo::Clients,
            leaf: Leaf::default(),
        }
    }

    #[test]
    fn each_mark_is_told_once() {
        let mut expiry = Expiry::default();
        let expires = UNIX_EPOCH + 1000 * DAY;
        let certificates = [certificate(expires)];
        let mut told = Vec::new();
        for hour in 0..24 * 40 {
            let now = expires - 31 * DAY + Duration::from_secs(hour * 3600);
            for text in expiry.due(&certificates, now) {
                told.push((hour / 24, text));
            }
        }
        let days: Vec<_> = told.iter().map(|(day, _)| *day).collect();
        assert_eq!(days, [1, 24, 30, 31]);
        for ((_, text), part) in
            told.iter()
                .zip(["in 30 days", "in 7 days", "in 1 day;", "expired"])
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_new_certificate_is_looked_at_anew() {
        let mut expiry = Expiry::default();
        let now = UNIX_EPOCH + 1000 * DAY;
        let with = |expires| [certificate(expires)];
        assert_eq!(expiry.due(&with(now + DAY), now).len(), 1);
        assert_eq!(expiry.due(&with(now + DAY), now).len(), 0);
        assert_eq!(expiry.due(&with(now + 90 * DAY), now).len(), 0);
        assert_eq!(
            expiry.due(&with(now + DAY), now).len(),
            1,
            "it was put back"
        );
        assert_eq!(expiry.due(&[], now).len(), 0);
        assert!(expiry.0.is_empty());
    }
}
