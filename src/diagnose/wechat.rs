//! WeChat mini programs: what each platform sends, the platform's own rules, and the texts that devices show.

use std::net::SocketAddr;
use std::time::Instant;

use super::exchange::Request;
use super::finding::Finding;
use super::report::Outcome;
use super::target::Target;
use super::walk::{At, Attempt, Walk};

/// The Origin of mini programs in the developer tools, in previews and on most devices.
pub const ORIGIN: &str = "https://servicewechat.com";

/// The Origin of mini games on iOS.
const GAME: &str = "weapp://wechat-game-runtime";

/// What other platforms send instead of [`ORIGIN`]: a stable name, and the Origin.
fn platforms(target: &Target) -> [(&'static str, Option<String>); 3] {
    [
        ("wechat_android", None),
        ("wechat_ios", Some(target.own_origin())),
        ("wechat_ios_game", Some(GAME.to_owned())),
    ]
}

/// How many connections the platforms take.
pub const CONNECTIONS: usize = 3;

/// The Referer of a mini program: version 0 is a development, trial or review version.
pub fn referer(app_id: &str) -> String {
    format!("https://servicewechat.com/{app_id}/0/page-frame.html")
}

/// Whether a text has the form of an app id.
pub fn is_app_id(text: &str) -> bool {
    let rest = text.strip_prefix("wx").unwrap_or_default();
    rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Walk<'_> {
    /// Tries what the other platforms send, and checks the platform's rules, if the first request has worked.
    pub(super) fn wechat(&mut self, main: Attempt, address: SocketAddr) -> Attempt {
        if main.finding != Finding::Works {
            return main;
        }
        let target = &self.options.target;
        let mut refused = Vec::new();
        for (name, origin) in platforms(target) {
            let request = Request {
                origin,
                ..self.options.request.clone()
            };
            let attempt = self.walk(name, address, &request, false);
            if attempt.finding != Finding::Works {
                refused.push(format!("{name} ({})", attempt.detail));
            }
        }
        let (finding, detail) = if !refused.is_empty() {
            (
                Finding::WechatRefused,
                format!("refused: {}", refused.join(", ")),
            )
        } else if let Some(rule) = broken_rule(target) {
            let at = At {
                stage: "tcp",
                probe: "wechat_rules",
                address: None,
                begun: Instant::now(),
            };
            self.say(&at, Outcome::Failed, Some(Finding::WechatRule), rule);
            (Finding::WechatRule, rule.to_owned())
        } else {
            return main;
        };
        Attempt {
            finding,
            detail,
            ..main
        }
    }
}

/// The platform's rule that a URL breaks.
fn broken_rule(target: &Target) -> Option<&'static str> {
    if !target.is_tls {
        return Some("only wss:// is allowed on devices");
    }
    if target.address().is_some() || target.host == "localhost" {
        return Some("addresses and localhost are not allowed, except in the same local network");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_are_recognised() {
        assert!(is_app_id("wx0123456789abcdef"));
        for wrong in [
            "",
            "wx",
            "wx0123456789abcde",
            "wx0123456789abcdeg",
            "xx0123456789abcdef",
        ] {
            assert!(!is_app_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn devices_may_use_only_wss_and_names() {
        for (url, is_allowed) in [
            ("wss://api.example.com/x", true),
            ("ws://api.example.com/x", false),
            ("wss://192.0.2.1/x", false),
            ("wss://localhost/x", false),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(broken_rule(&target).is_none(), is_allowed, "{url}");
        }
    }
}
