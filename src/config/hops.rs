//! Hops in front of proxies, and when each of them ends a tunnel if nobody changed its timers.
//!
//! The linter, the suspects in records, and docs/idle-timeouts.md use this table. A test compares it with the page.

use std::time::Duration;

/// A product that is put in front of proxies.
#[derive(Debug)]
pub struct Hop {
    /// As its vendor writes it.
    pub name: &'static str,
    /// The same in Latin letters, for records.
    pub label: &'static str,
    /// Words in `load_balancer.name` that mean it: lower case, one space between words.
    pub aliases: &'static [&'static str],
    /// What it does to tunnels.
    pub habit: Habit,
    /// What it does in some places, or with some settings: which, and when.
    pub others: &'static [(&'static str, Habit)],
    /// Where that is written; `None`: users report it.
    pub source: Option<&'static str>,
    /// How long it keeps a connection to the proxy that no request uses.
    pub keeps: Option<Duration>,
}

impl Hop {
    const fn keeping(mut self, secs: u64) -> Self {
        self.keeps = Some(Duration::from_secs(secs));
        self
    }

    const fn labelled(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    const fn or(mut self, others: &'static [(&'static str, Habit)]) -> Self {
        self.others = others;
        self
    }
}

/// What a hop does to tunnels by default. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Ends a connection after so much silence.
    Idle(u64),
    /// Ends a connection at this age, even if it is busy.
    Lifetime(u64),
    /// Ends silent connections after a time that is not published; its vendor asks for a heartbeat this often.
    Heartbeat(u64),
}

impl Habit {
    /// The timeout, the age or the interval, whichever this is.
    #[must_use]
    pub const fn time(self) -> Duration {
        match self {
            Self::Idle(secs) | Self::Lifetime(secs) | Self::Heartbeat(secs) => {
                Duration::from_secs(secs)
            }
        }
    }
}

const fn hop(
    name: &'static str,
    aliases: &'static [&'static str],
    habit: Habit,
    source: &'static str,
) -> Hop {
    Hop {
        source: Some(source),
        ..reported(name, aliases, habit)
    }
}

const fn reported(name: &'static str, aliases: &'static [&'static str], habit: Habit) -> Hop {
    Hop {
        name,
        label: name,
        aliases,
        habit,
        others: &[],
        source: None,
        keeps: None,
    }
}

/// The hops whose defaults are known.
pub static HOPS: &[Hop] = &[
    hop(
        "AWS ALB",
        &["aws alb", "aws application load balancer"],
        Habit::Idle(60),
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
    )
    .keeping(60),
    hop(
        "AWS NLB",
        &["aws nlb", "aws network load balancer"],
        Habit::Idle(350),
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/network/update-idle-timeout.html",
    ),
    hop(
        "AWS Classic ELB",
        &["aws elb", "aws classic elb", "classic load balancer"],
        Habit::Idle(60),
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-idle-timeout.html",
    )
    .keeping(60),
    reported("Amazon CloudFront", &["cloudfront"], Habit::Idle(600)).labelled("CloudFront"),
    hop(
        "Google Cloud Application Load Balancer",
        &[
            "gclb",
            "gcp alb",
            "gcp application load balancer",
            "gcp load balancer",
            "gke ingress",
            "google cloud load balancing",
            "google cloud load balancer",
            "gce ingress",
            "google cloud application load balancer",
        ],
        Habit::Lifetime(30),
        "https://pkg.go.dev/github.com/kubernetes/ingress-gce/examples/websocket",
    )
    .labelled("GCP Application Load Balancer")
    .keeping(600),
    hop(
        "Google Cloud Run",
        &["cloud run", "google cloud run", "gcp cloud run"],
        Habit::Lifetime(300),
        "https://cloud.google.com/run/docs/triggering/websockets",
    )
    .labelled("Cloud Run")
    .or(&[("longest request timeout", Habit::Lifetime(3600))]),
    hop(
        "Azure Load Balancer",
        &["azure load balancer", "azure lb"],
        Habit::Idle(240),
        "https://learn.microsoft.com/azure/load-balancer/load-balancer-tcp-idle-timeout",
    ),
    hop(
        "Azure Application Gateway",
        &["azure application gateway", "application gateway"],
        Habit::Lifetime(20),
        "https://learn.microsoft.com/azure/application-gateway/application-gateway-websocket",
    ),
    hop(
        "Azure Front Door",
        &["azure front door", "front door"],
        Habit::Idle(300),
        "https://learn.microsoft.com/azure/frontdoor/standard-premium/websocket",
    )
    .or(&[("whole connection", Habit::Lifetime(14_400))]),
    reported("Cloudflare", &["cloudflare"], Habit::Idle(100)).keeping(900)
    .or(&[("toward clients", Habit::Idle(400)), ("toward the origin", Habit::Idle(900))]),
    hop(
        "腾讯云 CLB",
        &[
            "腾讯云clb",
            "腾讯云负载均衡",
            "tencent clb",
            "tencent cloud clb",
        ],
        Habit::Idle(60),
        "https://www.tencentcloud.com/document/product/214/32427",
    )
    .keeping(75)
    .labelled("Tencent CLB")
    .or(&[("keep-alive", Habit::Idle(75))]),
    hop(
        "微信云托管",
        &[
            "云托管",
            "wechat cloud hosting",
            "cloudbase",
            "cloudbase run",
        ],
        Habit::Heartbeat(10),
        "https://docs.cloudbase.net/en/run/faq/gw",
    )
    .labelled("WeChat Cloud Hosting"),
    reported(
        "阿里云 CLB",
        &["阿里云clb", "阿里云slb", "阿里云负载均衡", "alibaba clb", "alibaba cloud clb", "aliyun clb", "aliyun slb"],
        Habit::Idle(60),
    )
    .labelled("Alibaba CLB")
    .or(&[("layer 4", Habit::Idle(900))]),
    hop(
        "华为云 ELB",
        &["华为云elb", "华为云弹性负载均衡", "huawei elb", "huawei cloud elb"],
        Habit::Idle(60),
        "https://support.huaweicloud.com/intl/en-us/usermanual-elb/elb_ug_jt_0014.html",
    )
    .labelled("Huawei ELB"),
    reported(
        "Oracle Cloud Load Balancer",
        &["oracle lb", "oci lb", "oracle load balancer", "oci load balancer", "oracle cloud load balancer"],
        Habit::Idle(300),
    ),
    hop(
        "nginx",
        &["nginx"],
        Habit::Idle(60),
        "https://nginx.org/en/docs/http/websocket.html",
    ),
    hop(
        "ingress-nginx",
        &["ingress nginx", "nginx ingress", "tke"],
        Habit::Idle(60),
        "https://kubernetes.github.io/ingress-nginx/user-guide/miscellaneous/",
    )
    .or(&[("after a reload", Habit::Idle(240))]),
    hop(
        "Envoy",
        &["envoy"],
        Habit::Idle(300),
        "https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts",
    ),
];

/// The hops that an operator calls `name`, such as both of `nginx behind Cloudflare`: those with an alias in it as whole
/// words that are not part of a longer alias. Case, and what is between the words, do not matter.
#[must_use]
pub fn known(name: &str) -> Vec<&'static Hop> {
    let name = folded(name);
    let fits = |alias: &str| {
        // Chinese has no spaces between words.
        match alias.is_ascii() {
            true => format!(" {name} ").contains(&format!(" {alias} ")),
            false => name.replace(' ', "").contains(alias),
        }
    };
    let all = || {
        let all = HOPS
            .iter()
            .flat_map(|hop| hop.aliases.iter().map(move |alias| (*alias, hop)));
        all.filter(|(alias, _)| fits(alias))
    };
    let is_whole = |alias: &str| all().all(|(other, _)| other == alias || !other.contains(alias));
    let mut found: Vec<_> = all()
        .filter(|(alias, _)| is_whole(alias))
        .map(|(_, hop)| hop)
        .collect();
    found.dedup_by_key(|hop| hop.name);
    found
}

/// Lower case, with one space for what is neither letter nor digit.
fn folded(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}
