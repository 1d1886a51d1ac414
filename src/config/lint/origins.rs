//! Entries of `origins` that admit too many, or nobody.

use std::collections::HashSet;

use super::super::Config;
use super::Notes;
use crate::policy::{Enforcement, OriginRule, WebSocketRules};

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    for (index, route) in config.routes.iter().enumerate() {
        if let Some((_, rules)) = route.websocket() {
            entries(&format!("routes[{index}].websocket"), rules, notes);
        }
    }
}

fn entries(site: &str, rules: &WebSocketRules, notes: &mut Notes<'_, '_>) {
    let has_wechat = rules.origins.contains(&OriginRule::Wechat);
    let mut seen = HashSet::new();
    for (index, rule) in rules.origins.iter().enumerate() {
        let OriginRule::Listed(pattern) = rule else {
            continue;
        };
        let text = pattern.to_string();
        let site = &format!("{site}.origins[{index}]");
        if !seen.insert(text.clone()) {
            notes.warn(site, format!("found {text} a second time"), "remove it");
        } else if pattern.is_wechat() && has_wechat {
            let message = format!("found {text} next to wechat, which already includes it");
            notes.warn(site, message, "remove it");
        } else if pattern.is_wechat() && rules.enforcement == Enforcement::Enforce {
            let message = format!(
                "found {text}, which every mini program sends, and app ids are not checked; phones often send no \
                 Origin at all"
            );
            let help =
                "write wechat instead, and the app ids of your mini programs in wechat_app_ids";
            notes.warn(site, message, help);
        } else if let Some(bare) = with_path(&text) {
            let message =
                format!("found {text}, which never matches: no client sends an Origin with a path");
            notes.warn(site, message, format!("write {bare}"));
        }
    }
}

/// An origin of another scheme, cut after the host, if it has more than scheme and host.
fn with_path(text: &str) -> Option<&str> {
    let start = text.find("://")? + 3;
    let end = text.get(start..)?.find(['/', '?', '#'])?;
    text.get(..start + end)
}
