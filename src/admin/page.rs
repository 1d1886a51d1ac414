//! The page of the admin service: its files, which are part of the program, and what its codes mean.

use std::collections::BTreeMap;

use http::header::{CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::reason::{By, NoteCode, Reason, Stage, Trouble, zh};
use crate::text::Language;

/// Nothing is loaded from elsewhere, text never becomes script or markup, and no other page may show this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub path: &'static str,
    /// Its type.
    pub kind: &'static str,
    content: &'static str,
}

/// Lists the scripts of the page.
macro_rules! files {
    ($($script:literal)+) => {
        /// All files of the page.
        pub(super) static FILES: &[File] = &[
            File { path: "/", kind: HTML, content: include_str!("page/index.html") },
            File { path: "/page.css", kind: STYLE, content: include_str!("page/page.css") },
            $(File {
                path: concat!("/", $script, ".js"),
                kind: SCRIPT,
                content: include_str!(concat!("page/", $script, ".js")),
            },)+
        ];
    };
}

files! {
    "bars" "chart" "closing" "details" "dom" "fill" "filters" "language" "live" "now" "page" "panel" "problem" "proxy" "records" "state" "story" "tables" "tunnels" "values" "vocabulary" "words"
}

impl File {
    /// The content. The page gets the token, if it may close tunnels.
    pub fn content(&self, token: Option<&str>) -> String {
        self.content
            .replacen("{{token}}", token.unwrap_or_default(), 1)
    }
}

/// Adds the fields that confine the page.
pub(super) fn confine(fields: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
}

/// What every code means, in one language.
#[derive(Serialize)]
struct Vocabulary {
    reasons: BTreeMap<&'static str, Meaning>,
    troubles: BTreeMap<&'static str, Meaning>,
    notes: BTreeMap<&'static str, &'static str>,
    stages: BTreeMap<&'static str, &'static str>,
    parties: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct Meaning {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<Stage>,
    cause: &'static str,
    fix: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_sees: Option<String>,
}

/// What every code means, as JSON.
pub(super) fn vocabulary(language: Language) -> String {
    let reasons = Reason::ALL.iter().map(|reason| {
        let meaning = Meaning {
            stage: Some(reason.spec().stage),
            cause: reason.cause(language),
            fix: reason.fix(language),
            client_sees: Some(match language {
                Language::En => reason.client_sees(),
                Language::Zh => zh::client_sees(*reason),
            }),
        };
        (reason.code(), meaning)
    });
    let troubles = Trouble::ALL.iter().map(|trouble| {
        let (cause, fix) = trouble.texts(language);
        let meaning = Meaning {
            stage: None,
            cause,
            fix,
            client_sees: None,
        };
        (trouble.code(), meaning)
    });
    let notes = NoteCode::ALL.iter().map(|note| {
        let meaning = match language {
            Language::En => note.meaning(),
            Language::Zh => zh::meaning(*note),
        };
        (note.code(), meaning)
    });
    let stages = Stage::ALL.iter().map(|stage| {
        let name = match language {
            Language::En => stage.name(),
            Language::Zh => zh::stage(*stage),
        };
        (stage.name(), name)
    });
    let parties = [By::Client, By::Upstream, By::Proxy, By::Network].map(|by| {
        let name = match language {
            Language::En => by.name(),
            Language::Zh => zh::by(by),
        };
        (by.name(), name)
    });
    let vocabulary = Vocabulary {
        reasons: reasons.collect(),
        troubles: troubles.collect(),
        notes: notes.collect(),
        stages: stages.collect(),
        parties: parties.into(),
    };
    // Plain data can always be written.
    serde_json::to_string(&vocabulary).unwrap_or_default()
}
