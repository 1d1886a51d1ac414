//! The keys of the whole file by their paths: `limits.connections`, `upstreams.*.connect_timeout`.

use super::blocks::RootKeys;
use super::key::{AnyKey, Block};

/// Names that fit many mappings. Whoever writes one in the wrong place hardly meant the mapping that has it, unless that
/// one is around the place.
const COMMON: &[&str] = &["name", "interval", "timeout", "path"];

/// Whether `key_path` is a key of this version: `limits.connections`, `upstreams.*.connect_timeout`,
/// `listeners[].tls.certificates[].cert`. An item of a list (`trusted_proxies[]`) and a named entry (`upstreams.*`)
/// count too.
#[must_use]
pub fn resolves(key_path: &str) -> bool {
    let mut block = Some(RootKeys::BLOCK);
    let mut segments = key_path.split('.').peekable();
    while let Some(segment) = segments.next() {
        let (name, is_item) = match segment.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (segment, false),
        };
        let Some(key) = block.and_then(|block| block.key(name)) else {
            return false;
        };
        let (suffix, inner) = key.shape().below();
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

/// Every key with its path, in the order of the reference.
pub fn keys() -> Vec<(String, &'static dyn AnyKey)> {
    let mut found = Vec::new();
    collect("", RootKeys::BLOCK, &mut found);
    found
}

/// Where else than at `site`, a path in the file, the key `name` has its place: the path of the first mapping that has it.
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

fn collect(prefix: &str, block: &'static Block, found: &mut Vec<(String, &'static dyn AnyKey)>) {
    for key in block.keys {
        let path = format!("{prefix}{}", key.name());
        found.push((path.clone(), *key));
        if let (suffix, Some(inner)) = key.shape().below() {
            collect(&format!("{path}{suffix}."), inner, found);
        }
    }
}
