//! A sidecar reverse proxy for WebSocket backends that says why every handshake failed and every tunnel ended.

pub mod config;
pub mod policy;
pub mod reason;
