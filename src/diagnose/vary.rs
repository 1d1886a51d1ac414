//! The same request with one thing changed at a time, to find out which ingredient is refused.

use std::net::SocketAddr;

use super::exchange::Request;
use super::finding::Finding;
use super::target::Target;
use super::walk::{Attempt, Walk};
use super::wechat;

/// A request with one thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    WithoutOrigin,
    OwnOrigin,
    WechatOrigin,
    WithoutExtensions,
    WithoutSubprotocol,
    Plain,
}

impl Variant {
    pub(super) const ALL: [Self; 6] = [
        Self::WithoutOrigin,
        Self::OwnOrigin,
        Self::WechatOrigin,
        Self::WithoutExtensions,
        Self::WithoutSubprotocol,
        Self::Plain,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::WithoutOrigin => "without_origin",
            Self::OwnOrigin => "own_origin",
            Self::WechatOrigin => "wechat_origin",
            Self::WithoutExtensions => "without_extensions",
            Self::WithoutSubprotocol => "without_subprotocol",
            Self::Plain => "plain_request",
        }
    }

    /// The changed request; `None` if nothing changes.
    pub(super) fn of(self, request: &Request, target: &Target) -> Option<Request> {
        let mut changed = request.clone();
        match self {
            Self::WithoutOrigin => {
                changed.origin.take()?;
            }
            Self::OwnOrigin => changed.origin = Some(target.own_origin()),
            Self::WechatOrigin => changed.origin = Some(wechat::ORIGIN.to_owned()),
            Self::WithoutExtensions => changed.deflate = false,
            Self::WithoutSubprotocol => changed.subprotocols.clear(),
            Self::Plain => changed.upgrade = false,
        }
        let is_same = changed.origin == request.origin
            && changed.deflate == request.deflate
            && changed.subprotocols == request.subprotocols
            && changed.upgrade == request.upgrade;
        (!is_same).then_some(changed)
    }
}

impl Walk<'_> {
    /// Changes one thing at a time, to find out what is refused.
    pub(super) fn vary(&mut self, main: Attempt, address: SocketAddr) -> Attempt {
        if matches!(main.finding, Finding::Redirect | Finding::RateLimited) || main.told.is_some() {
            // The cause is certain.
            return main;
        }
        if main.finding == Finding::GatewayError {
            // What is sent makes no difference, but one of several backends may be down.
            return self.repeat(main, address);
        }
        let (request, target) = (&self.options.request, &self.options.target);
        let mut accepted = Vec::new();
        let mut plain = None;
        let mut tried = vec![request.origin.clone()];
        for variant in Variant::ALL {
            // What follows is certain.
            if variant == Variant::Plain && !accepted.is_empty() {
                break;
            }
            let Some(changed) = variant.of(request, target) else {
                continue;
            };
            let attempt = self.walk(variant.name(), address, &changed, false);
            if !tried.contains(&changed.origin) {
                tried.push(changed.origin);
            }
            match variant {
                Variant::Plain => plain = Some((attempt.finding, attempt.status)),
                _ if attempt.finding == Finding::Works => accepted.push(variant),
                _ => {}
            }
        }
        let names: Vec<_> = accepted.iter().map(|variant| variant.name()).collect();
        let is_origin = |variant: &Variant| {
            matches!(
                variant,
                Variant::WithoutOrigin | Variant::OwnOrigin | Variant::WechatOrigin
            )
        };
        let finding = if accepted.iter().any(is_origin) {
            match request.origin {
                Some(_) => Finding::OriginNotAllowed,
                None => Finding::OriginMissing,
            }
        } else if accepted.contains(&Variant::WithoutExtensions) {
            Finding::ExtensionRefused
        } else if accepted.contains(&Variant::WithoutSubprotocol) {
            Finding::SubprotocolRefused
        } else {
            let finding = as_plain(&main, plain).unwrap_or(main.finding);
            let plain = match plain {
                Some((_, Some(status))) => format!("; a plain request gets {status}"),
                _ => String::new(),
            };
            let origins: Vec<_> = tried
                .iter()
                .map(|origin| origin.as_deref().unwrap_or("none"))
                .collect();
            let detail = format!(
                "{}{plain}; Origins tried: {}",
                main.detail,
                origins.join(", ")
            );
            return Attempt {
                finding,
                detail,
                ..main
            };
        };
        let main = self.repeat(main, address);
        if main.finding == Finding::Intermittent {
            return main;
        }
        let origin = match &request.origin {
            Some(origin) => format!("refused with Origin {}", crate::text::shown(origin, 200)),
            None => "refused without an Origin".to_owned(),
        };
        Attempt {
            finding,
            detail: format!("{}; {origin}; accepted: {}", main.detail, names.join(", ")),
            ..main
        }
    }
}

impl Walk<'_> {
    /// Sends the same request again: a refusal that does not last has another cause than the request.
    fn repeat(&mut self, main: Attempt, address: SocketAddr) -> Attempt {
        let again = self.walk("again", address, &self.options.request, false);
        match again.finding {
            Finding::Works => Attempt {
                finding: Finding::Intermittent,
                detail: format!("{} at first; accepted later", main.detail),
                ..main
            },
            _ => main,
        }
    }
}

/// What it means that a plain request gets this status, or no answer either.
fn as_plain(main: &Attempt, plain: Option<(Finding, Option<u16>)>) -> Option<Finding> {
    let (finding, status) = plain?;
    let Some(plain) = status else {
        let is_closed = main.finding == Finding::ClosedBeforeAnswer
            // A reset that comes at once may be seen while connecting.
            && matches!(finding, Finding::ClosedBeforeAnswer | Finding::Reset);
        return is_closed.then_some(Finding::ClosesEverything);
    };
    // They pass no upgrade on unless they are told to.
    let strips = [
        "nginx",
        "nginx (OpenResty)",
        "Tengine",
        "Tencent CLB",
        "Apache",
    ];
    let strips = main.answered_by.is_some_and(|who| strips.contains(&who));
    let is_same = main.status == Some(plain);
    match main.finding {
        Finding::Forbidden
            if (200..400).contains(&plain)
                && main.answered_by.is_some_and(|gateway| gateway != "Express") =>
        {
            Some(Finding::UpgradeDisabled)
        }
        Finding::UpgradeRequired if is_same && strips => Some(Finding::UpgradeStripped),
        Finding::NotUpgraded | Finding::BadRequest if is_same && strips => {
            Some(Finding::UpgradeIgnored)
        }
        Finding::BadRequest if !is_same => Some(Finding::UpgradeRefused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_request_that_is_closed_or_reset_shows_that_everything_is() {
        let main = Attempt::failed("http", (Finding::ClosedBeforeAnswer, String::new()));
        for (plain, expected) in [
            (Finding::ClosedBeforeAnswer, Some(Finding::ClosesEverything)),
            (Finding::Reset, Some(Finding::ClosesEverything)),
            (Finding::NoAnswer, None),
        ] {
            let found = as_plain(&main, Some((plain, None)));
            assert_eq!(found, expected, "{plain:?}");
        }
    }
}
