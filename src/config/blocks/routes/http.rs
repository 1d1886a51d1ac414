//! `routes[].http`: the rules for plain requests.

use std::time::Duration;

use super::super::super::fields::Fields;
use super::super::super::key::{Is, Key, keys};
use super::super::super::problem::{Complaint, quoted};
use super::super::super::report::Report;
use super::super::super::value::{List, OrOff, Size, Text, Timer};
use super::{ROUTE, is_token};
use crate::policy::{HttpRules, METHODS as DEFAULT_METHODS};

keys! {
    pub(super) static HTTP: HttpKeys {
        /// The methods that are admitted. GET includes HEAD; CONNECT and TRACE are never forwarded.
        methods: Key<Vec<String>> = &List::of(Text::parsed("method", METHOD, method)).not_empty().distinct(),
            Is(|| DEFAULT_METHODS.map(str::to_owned).into());
        /// The largest body of a request, up to 1TiB.
        // Bodies are not kept: an upload may have any size.
        max_body: Key<Option<u64>> = &OrOff(Size(1..=1 << 40)), Is(|| Some(10 << 20));
        /// The time from the end of a request's head to the end of its body.
        request_timeout: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(300));
        /// The time from the end of the request to the head of the answer.
        response_timeout: Key<Duration> = &Timer::Positive, Is(|| Duration::from_secs(60));
        /// How long the upstream may stay silent in the middle of an answer.
        idle_timeout: Key<Option<Duration>> = &OrOff(Timer::Positive), Is(|| Some(Duration::from_secs(300)));
    }
}

const METHOD: &str = "a method such as GET or POST";

/// The rules of the route with these fields, if it has any.
pub(super) fn read(route: &Fields<'_>, report: &mut Report<'_>) -> Option<HttpRules> {
    let fields = route.open(&ROUTE.http, report)?;
    Some(HttpRules {
        methods: fields.read(&HTTP.methods, report),
        max_body: fields.read(&HTTP.max_body, report),
        request_timeout: fields.read(&HTTP.request_timeout, report),
        response_timeout: fields.read(&HTTP.response_timeout, report),
        idle_timeout: fields.read(&HTTP.idle_timeout, report),
    })
}

fn method(text: &str) -> Result<String, Complaint> {
    let found = quoted(text);
    let expected = || Complaint::new(format!("found {found}, expected {METHOD}"));
    let upper = text.to_ascii_uppercase();
    if matches!(text, "CONNECT" | "TRACE") {
        let wrong = Complaint::new(format!("found {found}, which is never forwarded"));
        Err(wrong.help("remove it"))
    } else if !is_token(text) {
        Err(expected())
    } else if DEFAULT_METHODS.contains(&upper.as_str()) && upper != text {
        // Methods are case-sensitive (RFC 9110 section 9.1), but nobody means `get`.
        Err(expected().help(format!("write {upper}")))
    } else {
        Ok(text.to_owned())
    }
}
