//! A sidecar reverse proxy for WebSocket backends that says why every handshake failed and every tunnel ended.
//!
//! A connection passes through the stages in one direction. Only `connection` knows their order:
//!
//! ```text
//! accept -> tls -> http -> policy -> upstream -> tunnel -> record
//! ```
//!
//! Each stage's output is the only way to make the next stage's input, and each fails with a
//! [`reason::Failure`]. Whatever happens, each request ends in exactly one terminal [`record`], and so does a
//! connection without a request.
//!
//! Only `cli` is for the program. The other public modules are for tests and fuzz targets.

mod admin;
pub mod cli;
pub mod config;
mod connection;
mod diagnose;
mod generation;
pub mod http;
pub mod http2;
mod limits;
pub mod listener;
pub mod metrics;
pub mod moment;
mod policy;
pub mod reason;
pub mod record;
pub mod secrets;
pub mod server;
mod stream;
pub mod text;
mod tls;
pub mod tunnel;
mod upstream;
