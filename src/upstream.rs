//! The upstream stage. An opening handshake gets a fresh connection, and the upstream's answer is verified in full. Plain
//! requests use connections that are kept for the next one.
//!
//! It takes a [`Permit`](crate::policy::Permit), because nothing of a client may reach an upstream without one. It gives a
//! switched stream or an answer to relay, and fails with the `upstream_…` reasons. A [`Group`] knows the endpoints of an
//! upstream.

pub mod answer;
mod connect;
#[cfg(feature = "echo")]
mod echo;
mod forward;
mod group;
mod handshake;
mod health;
mod line;
mod names;
mod outgoing;
mod pool;
mod relay;
mod request;
mod upload;

pub use connect::{Dialling, connect};
pub use forward::{Served, forward};
pub use group::{Busy, Group, InUse, TunnelSlot};
pub use handshake::{Answer, Opened, Refused, handshake};
pub use names::Names;
pub use relay::BodyOutcome;
pub use request::{rebuild, rebuild_plain};
pub use upload::{Upload, check_announced};
