//! Routes that no request reaches, and paths that look like patterns but are not.

use super::super::Config;
use super::Notes;
use crate::policy::{Route, Serves, Shadows};

/// Statuses of an answer that names another place (RFC 9110 section 15.4), which `respond` can't do.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    let mut shadows = Shadows::default();
    for (index, route) in config.routes.iter().enumerate() {
        if let Some(first) = shadows.add(index, route) {
            shadowed(config, first, index, notes);
        }
        if let Some(what) = looks_like(&route.path.to_string()) {
            notes.warn(
                &format!("routes[{index}].path"),
                format!(
                    "found {what} in {}, but paths are compared as they are written",
                    route.path
                ),
                "write the exact path, or a prefix such as /rooms/*",
            );
        }
        if let Some(help) = joined(&route.path.to_string()) {
            notes.warn(
                &format!("routes[{index}].path"),
                format!("found a comma in {}, which is one path", route.path),
                help,
            );
        }
        if let Serves::Respond(respond) = &route.serves
            && REDIRECTS.contains(&respond.status)
        {
            notes.warn(
                &format!("routes[{index}].respond.status"),
                format!(
                    "found {}, which needs a Location field, but respond sends none: clients can't follow it",
                    respond.status
                ),
                "let an upstream answer with the redirect, or write another status",
            );
        }
    }
}

fn shadowed(config: &Config, first: usize, later: usize, notes: &mut Notes<'_, '_>) {
    let (Some(own), Some(other)) = (config.routes.get(later), config.routes.get(first)) else {
        return;
    };
    let mut message = format!(
        "never matches: routes[{first}] ({other}) comes before it and matches all of its requests"
    );
    let has_websocket = |route: &Route| route.websocket().is_some();
    if has_websocket(own) && !has_websocket(other) {
        message.push_str("; its handshakes are refused there (websocket_not_allowed)");
    }
    let help = format!("move it up, before routes[{first}]");
    notes.warn(&format!("routes[{later}].path"), message, help);
}

/// What to do about a comma that separates paths or ends the text. Any other comma may be part of a path.
fn joined(path: &str) -> Option<&'static str> {
    if path.contains(",/") {
        Some("write one route for each path")
    } else {
        path.ends_with(',').then_some("remove the comma at the end")
    }
}

/// What a path has of another router's language or of regular expressions.
fn looks_like(path: &str) -> Option<&'static str> {
    let is_parameter = |segment: &str| {
        let name = segment.strip_prefix(':');
        name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
    };
    if path.split('/').any(is_parameter) {
        return Some("a parameter (`:`)");
    }
    let is_class = |path: &str| path.contains('[') && path.contains(']');
    // A path may contain brackets, as in /wiki/Rust_(language), and a plus, as in /c++.
    let is_group = |path: &str| {
        let inside = path
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        inside.is_some_and(|(inside, after)| {
            inside.contains(['.', '+', '?', '[', '\\']) || after.starts_with(['+', '?'])
        })
    };
    let is_expression = is_class(path)
        || is_group(path)
        || path.contains(['|', '^'])
        || path.contains(".+")
        || path.ends_with('$');
    is_expression.then_some("a regular expression")
}
