//! Which records and tunnels are wanted: the query of the document, and the form that changes it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::cells::{is_plain, safe};

/// The most tunnels and records that are asked for.
const LIMIT: u16 = 100;

/// The longest value of a filter.
const LONGEST: usize = 200;

/// The order of the tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Newest,
    Oldest,
    Idle,
    Bytes,
}

impl Sort {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Newest => Self::Oldest,
            Self::Oldest => Self::Idle,
            Self::Idle => Self::Bytes,
            Self::Bytes => Self::Newest,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Idle => "idle",
            Self::Bytes => "bytes",
        }
    }
}

/// Empty texts mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub route: String,
    pub reason: String,
    pub client: String,
    /// 1 to 60.
    pub minutes: String,
    pub sort: Sort,
    /// Whether ordinary ends are wanted, too.
    pub is_all: bool,
}

impl Wanted {
    /// The filters with their names, as in the query.
    pub(super) fn filters(&self) -> [(&'static str, &str); 4] {
        [
            ("route", &self.route),
            ("reason", &self.reason),
            ("client", &self.client),
            ("minutes", &self.minutes),
        ]
    }

    /// The filters that are set, as they may be shown.
    pub(super) fn shown(&self) -> Vec<String> {
        let filters = self.filters().into_iter();
        let set = filters.filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| format!("{name}={}", safe(value, LONGEST)))
            .collect()
    }

    /// The path of the document, with its query.
    pub(super) fn path(&self) -> String {
        let mut path = format!("/status.json?limit={LIMIT}&sort={}", self.sort.name());
        if self.is_all {
            path.push_str("&all=1");
        }
        for (name, value) in self.filters() {
            if !value.is_empty() {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        path
    }
}

/// A value in a query (RFC 3986 section 2.1).
pub(super) fn encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'*'
            | b'/'
            | b':'
            | b',' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The form for the filters.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub values: [String; 4],
    /// The value that is edited.
    pub at: usize,
    /// Whether the minutes are not a number from 1 to 60.
    pub is_wrong: bool,
}

/// What a key made of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Going,
    Cancelled,
    Chosen(Wanted),
}

impl Form {
    pub(super) fn new(wanted: &Wanted) -> Self {
        Self {
            values: wanted.filters().map(|(_, value)| value.to_owned()),
            at: 0,
            is_wrong: false,
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Outcome {
        let count = self.values.len();
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return Outcome::Cancelled,
            KeyCode::Enter => return self.choose(),
            KeyCode::Tab | KeyCode::Down => self.at = (self.at + 1) % count,
            KeyCode::BackTab | KeyCode::Up => self.at = (self.at + count - 1) % count,
            code => {
                let Some(value) = self.values.get_mut(self.at) else {
                    return Outcome::Going;
                };
                match code {
                    KeyCode::Char('u') if is_control => value.clear(),
                    KeyCode::Backspace => {
                        value.pop();
                    }
                    KeyCode::Char(c) if !is_control && is_plain(c) && value.len() < LONGEST => {
                        value.push(c);
                    }
                    _ => {}
                }
            }
        }
        Outcome::Going
    }

    fn choose(&mut self) -> Outcome {
        let [route, reason, client, minutes] =
            self.values.each_ref().map(|value| value.trim().to_owned());
        let is_number = minutes.is_empty()
            || minutes
                .parse()
                .is_ok_and(|minutes: u8| (1..=60).contains(&minutes));
        if !is_number {
            self.is_wrong = true;
            self.at = self.values.len() - 1;
            return Outcome::Going;
        }
        Outcome::Chosen(Wanted {
            route,
            reason,
            client,
            minutes,
            ..Wanted::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(form: &mut Form, text: &str) {
        for c in text.chars() {
            assert_eq!(form.key(KeyCode::Char(c).into()), Outcome::Going);
        }
    }

    #[test]
    fn a_filter_is_edited_and_becomes_the_query() {
        let mut form = Form::new(&Wanted::default());
        typed(&mut form, "/ws x");
        form.key(KeyCode::Backspace.into());
        typed(&mut form, "&limit=9\u{1b}\u{202e}");
        form.key(KeyCode::Tab.into());
        typed(&mut form, "upstream_*,idle_timeout");
        form.key(KeyCode::Down.into());
        typed(&mut form, "203.0.113.0/24");
        form.key(KeyCode::BackTab.into());
        assert_eq!(form.at, 1);
        form.key(KeyCode::Up.into());
        form.key(KeyCode::Up.into());
        typed(&mut form, "61");
        assert_eq!(form.key(KeyCode::Enter.into()), Outcome::Going);
        assert!(form.is_wrong);
        form.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        typed(&mut form, "15");
        let Outcome::Chosen(wanted) = form.key(KeyCode::Enter.into()) else {
            panic!("{form:?}");
        };
        assert_eq!(
            wanted.path(),
            "/status.json?limit=100&sort=newest&route=/ws%20%26limit%3D9&reason=upstream_*,idle_timeout&client=203.0.113.0/24&minutes=15"
        );
        assert_eq!(form.key(KeyCode::Esc.into()), Outcome::Cancelled);
        typed(&mut form, &"9".repeat(1000));
        assert!(form.values[3].len() <= LONGEST);
    }
}
