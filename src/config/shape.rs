//! The keys of `proxy.yaml`: one table for the reader, the reference in `docs/configuration.md` and the hints.

mod foreign;
mod keys;
mod schema;

pub use foreign::equivalent;
pub use schema::schema;

pub use keys::{
    ADMIN, CERTIFICATE, CLIENT_AUTH, HEALTH_CHECK, HTTP, LIMITS, LISTENER, LOAD_BALANCER, LOG,
    PING, PROBES, RESPOND, ROOT, ROUTE, SHUTDOWN, TLS, UPSTREAM, UPSTREAM_TLS, WEBSOCKET,
};

/// Names that fit many mappings: who writes one in the wrong place hardly meant the mapping that has it, unless that
/// is one around the place.
const COMMON: &[&str] = &["name", "interval", "timeout", "path"];

/// A mapping of the file.
#[derive(Debug)]
pub struct Block {
    /// The keys it may have.
    pub keys: &'static [Key],
    /// Keys that are designed and that this version does not have: no typos.
    pub planned: &'static [&'static str],
}

/// A key of a [`Block`].
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What stands behind it.
    pub kind: Kind,
    /// Whether leaving it out is an error.
    pub required: bool,
    /// What leaving it out means; empty for required keys.
    pub default: &'static str,
    /// One line for the reference.
    pub about: &'static str,
}

/// What stands behind a [`Key`].
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Something without keys of its own, in words.
    Value(&'static str),
    /// A list of such things.
    Values(&'static str),
    /// A mapping.
    Block(&'static Block),
    /// A mapping, or `off`.
    BlockOrOff(&'static Block),
    /// A list of mappings.
    Blocks(&'static Block),
    /// A mapping from names of the operator's choice to mappings.
    Named(&'static Block),
}

impl Kind {
    /// The type as the reference spells it.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Value(words) => words.to_owned(),
            Self::Values(words) => format!("list: {words}"),
            Self::Block(_) => "mapping".to_owned(),
            Self::BlockOrOff(_) => "mapping or `off`".to_owned(),
            Self::Blocks(_) => "list of mappings".to_owned(),
            Self::Named(_) => "mapping from names to mappings".to_owned(),
        }
    }

    /// How a path goes on below a key of this kind, and the keys there.
    fn below(self) -> (&'static str, Option<&'static Block>) {
        match self {
            Self::Value(_) => ("", None),
            Self::Values(_) => ("[]", None),
            Self::Block(block) | Self::BlockOrOff(block) => ("", Some(block)),
            Self::Blocks(block) => ("[]", Some(block)),
            Self::Named(block) => (".*", Some(block)),
        }
    }
}

impl Block {
    /// The key called `name`.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of all keys, for a report.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        names.join(", ")
    }
}

/// Whether `key_path` is a key of this version: `limits.connections`, `upstreams.*.connect_timeout`,
/// `listeners[].tls.certificates[].cert`. An item of a list (`trusted_proxies[]`) and a named entry
/// (`upstreams.*`) count too.
#[must_use]
pub fn resolves(key_path: &str) -> bool {
    let mut block = Some(&ROOT);
    let mut segments = key_path.split('.').peekable();
    while let Some(segment) = segments.next() {
        let (name, is_item) = match segment.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (segment, false),
        };
        let Some(key) = block.and_then(|block| block.key(name)) else {
            return false;
        };
        let (suffix, inner) = key.kind.below();
        let is_last = segments.peek().is_none();
        let fits = match suffix {
            "[]" => is_item || is_last,
            ".*" => !is_item && (is_last || segments.next() == Some("*")),
            _ => !is_item,
        };
        if !fits {
            return false;
        }
        block = inner;
    }
    true
}

/// Every key's path, in the order of the tables, with the key.
#[must_use]
pub fn keys() -> Vec<(String, &'static Key)> {
    let mut found = Vec::new();
    collect("", &ROOT, &mut found);
    found
}

/// Where else than at `site`, a path in the file, the key `name` is at home: the path of the first mapping that has it.
#[must_use]
pub fn home(name: &str, site: &str) -> Option<String> {
    let is_around = |block: &str| {
        let first = block.split('[').next().unwrap_or(block);
        block.ends_with("[]")
            && site
                .strip_prefix(first)
                .is_some_and(|rest| rest.starts_with('[') && rest.contains('.'))
    };
    keys().into_iter().find_map(|(path, _)| {
        let (block, last) = path.rsplit_once('.')?;
        let fits = last == name && (!COMMON.contains(&name) || is_around(block));
        fits.then(|| block.to_owned())
    })
}

fn collect(prefix: &str, block: &'static Block, found: &mut Vec<(String, &'static Key)>) {
    for key in block.keys {
        let path = format!("{prefix}{}", key.name);
        found.push((path.clone(), key));
        if let (suffix, Some(inner)) = key.kind.below() {
            collect(&format!("{path}{suffix}."), inner, found);
        }
    }
}
