//! One configuration as the process serves with it: what was resolved, and what lives only while it is in use.
//!
//! A reload makes the next one. Connections keep the one that admitted them until they end, so that nothing under way is
//! touched; what both have in common (an upstream's kept connections, its counts, its health) is shared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::tls::Certificate;
use crate::upstream::Group;

/// A configuration in use.
#[derive(Debug)]
pub struct Generation {
    /// Counts the configurations that this process has served with, from 1. A renewed certificate makes no new number.
    pub number: u64,
    /// What the file says.
    pub config: Arc<Config>,
    /// Its upstreams, by name.
    pub upstreams: BTreeMap<String, Arc<Group>>,
    /// The certificates that its TLS listeners serve, each file once.
    pub certificates: Vec<Certificate>,
}
