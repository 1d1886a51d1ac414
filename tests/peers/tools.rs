//! What only tests with real peers need.

pub mod browser;
pub mod held;
pub mod hops;
pub mod names;
pub mod programs;
pub mod system;
