//! A scrape of /metrics, parsed as Prometheus parses it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::OnceLock;

use super::proxy::HOST;
use super::services::{get, probes, start};
use super::upstream::Nobody;
use super::{Client, Proxy, Setup, eventually, handshake};

/// One scrape.
#[derive(Debug)]
pub struct Scrape {
    /// The text as received.
    pub text: String,
    /// Each family's type.
    pub kinds: BTreeMap<String, String>,
    /// Name, labels, value.
    pub samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scrape {
    /// Takes a scrape.
    #[track_caller]
    pub fn of(address: SocketAddr) -> Self {
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        Self::read(text)
    }

    /// Parses a text.
    ///
    /// # Panics
    /// If it violates the format.
    #[track_caller]
    pub fn read(text: String) -> Self {
        let mut scrape = Self {
            text: text.clone(),
            kinds: BTreeMap::new(),
            samples: Vec::new(),
        };
        let mut helped = String::new();
        let mut seen = BTreeSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(!words.is_empty(), "{line}");
                helped = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, helped, "{line}");
                let twice = scrape.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(twice, None, "{name} comes twice");
            } else {
                let (name, labels, value) = sample(line);
                assert!(seen.insert((name.clone(), labels.clone())), "twice: {line}");
                assert_eq!(scrape.family(&name), helped, "{line}");
                scrape.samples.push((name, labels, value));
            }
        }
        scrape
    }

    /// The family of a sample's name.
    pub fn family(&self, name: &str) -> String {
        let stems = ["_bucket", "_sum", "_count"];
        let mut stems = stems.iter().filter_map(|suffix| name.strip_suffix(suffix));
        let histogram = stems.find(|stem| {
            self.kinds
                .get(*stem)
                .is_some_and(|kind| kind == "histogram")
        });
        histogram.unwrap_or(name).to_owned()
    }

    /// The sum of all samples of `name` with these labels, whatever other labels they have; 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let own = self.samples.iter().filter(|(of, has, _)| {
            let has = |(label, value): &(&str, &str)| {
                has.get(*label).map_or("", String::as_str) == *value
            };
            of == name && labels.iter().all(has)
        });
        own.map(|(.., value)| value).sum()
    }

    /// The value of the only sample of `name`.
    #[track_caller]
    pub fn one(&self, name: &str) -> f64 {
        let own: Vec<_> = self.samples.iter().filter(|(of, ..)| of == name).collect();
        assert_eq!(own.len(), 1, "{name}: {own:?}");
        own[0].2
    }

    /// All labels of a family's samples.
    pub fn labels(&self, family: &str) -> BTreeSet<&str> {
        let own = self
            .samples
            .iter()
            .filter(|(name, ..)| self.family(name) == family);
        own.flat_map(|(_, labels, _)| labels.keys().map(String::as_str))
            .collect()
    }
}

#[track_caller]
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    while let Some(label) = rest.strip_prefix(['{', ',']) {
        let (label, text) = label.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut characters = text.char_indices();
        let end = loop {
            match characters.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(label.to_owned(), value);
        rest = &text[end + 1..];
    }
    let value = rest.trim_start_matches('}').trim_start();
    (name.to_owned(), labels, value.parse().unwrap())
}

/// Repeats the scrape until the sum of `name` with these labels is `value`.
#[track_caller]
pub fn until(proxy: &Proxy, name: &str, labels: &[(&str, &str)], value: f64) -> Scrape {
    let mut last = None;
    let come = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("a metric", || {
            let scrape = Scrape::of(probes(proxy));
            let is = scrape.sum(name, labels);
            last = Some(is);
            (is == value).then_some(scrape)
        })
    }));
    come.unwrap_or_else(|_| panic!("{name}{labels:?} is {last:?}, not {value}"))
}

/// A scrape in which every metric has a sample. All tests compare it with files, so they can share it.
pub fn full() -> &'static Scrape {
    static FULL: OnceLock<Scrape> = OnceLock::new();
    FULL.get_or_init(|| {
        let closed = Nobody::new();
        let proxy = start(&Setup {
            endpoints: "\"builtin:echo\"".to_owned(),
            upstream: format!(
                ", max_tunnels: 100 }}\n  away: {{ endpoints: [{}]",
                closed.url()
            ),
            routes: "  - path: /away\n    websocket: { origins: [https://app.example.com] }\n    upstream: away\n  - \
                     path: /text\n    respond: { status: 200, body: x }\n"
                .to_owned(),
            ..Setup::tls("")
        });
        let send = |bytes: &str| {
            let mut client = Client::tls(proxy.address());
            let status = client.send(bytes).response().status;
            (client, status)
        };
        let plain = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        assert_eq!(send(&plain("/text")).1, 200);
        assert_eq!(send(&plain("/none")).1, 404);
        assert_eq!(send(&handshake("/away", &[])).1, 502);
        let (tunnel, status) = send(&handshake("/ws", &[]));
        assert_eq!(status, 101);
        drop(tunnel);
        until(&proxy, "wsgate_tunnels_open", &[], 0.0);
        // More refusals of one kind than are written.
        eventually("a suppressed record", || {
            for _ in 0..200 {
                Client::plain(proxy.address()).send("\r\n?\r\n");
            }
            let scrape = Scrape::of(probes(&proxy));
            (scrape.sum("wsgate_records_suppressed_total", &[]) > 0.0).then_some(scrape)
        })
    })
}
