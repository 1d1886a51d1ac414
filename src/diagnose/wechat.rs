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

/// The User-Agent of a device.
pub const USER_AGENT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Mobile/15E148 MicroMessenger/8.0.50";

/// What a platform sends in another way than the first request, which has [`ORIGIN`] and [`USER_AGENT`].
struct Platform {
    /// A stable name.
    name: &'static str,
    origin: Option<String>,
    user_agent: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

const ANDROID: &str = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 MicroMessenger/8.0.50";

/// A mini game does not name WeChat.
const IOS_GAME: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";

const IOS_GAME_FIELDS: &[(&str, &str)] = &[
    ("Accept", "*/*"),
    ("Accept-Language", "zh-CN,zh-Hans;q=0.9"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
];

fn platforms(target: &Target) -> [Platform; CONNECTIONS] {
    [
        Platform {
            name: "wechat_android",
            origin: None,
            user_agent: ANDROID,
            fields: &[],
        },
        Platform {
            name: "wechat_ios",
            origin: Some(target.own_origin()),
            user_agent: USER_AGENT,
            fields: &[],
        },
        Platform {
            name: "wechat_ios_game",
            origin: Some(GAME.to_owned()),
            user_agent: IOS_GAME,
            fields: IOS_GAME_FIELDS,
        },
    ]
}

impl Platform {
    /// What it sends instead of `first`. Fields that the caller chose stay.
    fn request(&self, first: &Request) -> Request {
        let mut request = Request {
            origin: self.origin.clone(),
            // Mini programs don't compress unless they ask for it.
            deflate: false,
            user_agent: self.user_agent.to_owned(),
            ..first.clone()
        };
        for (name, value) in self.fields {
            if !request.has(name) {
                request
                    .fields
                    .push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        request
    }
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
        for platform in platforms(target) {
            let request = platform.request(&self.options.request);
            let attempt = self.walk(platform.name, address, &request, false);
            if attempt.finding != Finding::Works {
                refused.push(format!("{} ({})", platform.name, attempt.detail));
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
            // The others were refused there.
            stage: match finding {
                Finding::WechatRefused => "http",
                _ => main.stage,
            },
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
    fn platforms_send_their_own_fields_but_not_instead_of_chosen_ones() {
        let target = Target::parse("wss://a.example/").unwrap();
        let mut first = Request {
            origin: Some(ORIGIN.to_owned()),
            subprotocols: Vec::new(),
            deflate: true,
            user_agent: USER_AGENT.to_owned(),
            fields: Vec::new(),
            upgrade: true,
        };
        let [android, _, game] = platforms(&target);
        let sent = android.request(&first);
        assert_eq!((sent.origin, sent.deflate), (None, false));
        assert_eq!(sent.user_agent, ANDROID);
        first.fields = vec![("pragma".to_owned(), "mine".to_owned())];
        let sent = game.request(&first).fields;
        assert_eq!(sent[0].1, "mine");
        assert!(sent.iter().all(|(name, _)| name != "Pragma"), "{sent:?}");
        assert!(sent.iter().any(|(name, _)| name == "Accept"), "{sent:?}");
    }

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
