//! Checks that the proxy does the work that is compared: it serves what is allowed, and refuses everything else.

use rustls::HandshakeKind::Full;

use super::connection::Dialer;
use super::workers::{Handshakes, Worker};
use crate::{Failure, wire};

/// Makes one connection of each kind. The first one verifies the proxy's certificate.
///
/// # Errors
/// If the proxy refuses what is allowed, or, unless it is `unchecked`, serves anything else.
pub async fn run(dialer: &Dialer, verifying: Dialer, unchecked: bool) -> Result<(), Failure> {
    Handshakes::new(verifying, Full).operate().await?;
    if unchecked {
        return Ok(());
    }
    let mut connection = dialer.dial(Full).await?;
    connection.send(&wire::get(wire::STATE)).await?;
    match connection.answer(wire::JSON.as_bytes()).await? {
        (Some(200), true) => {}
        (status, _) => return Err(format!("a plain request was answered with {status:?}").into()),
    }
    let refused = [
        (
            "another Origin",
            wire::opening(wire::STREAM, Some("https://app.example.org")),
        ),
        ("no Origin", wire::opening(wire::STREAM, None)),
        (
            "another path",
            wire::opening("/stream/", Some(wire::ORIGIN)),
        ),
        ("another path of a plain request", wire::get("/api/states")),
    ];
    for (what, request) in refused {
        let mut connection = dialer.dial(Full).await?;
        connection.send(&request).await?;
        let status = connection.status().await?;
        if !status.is_some_and(|status| (400..500).contains(&status)) {
            return Err(format!("{what} was answered with {status:?} instead of a refusal").into());
        }
    }
    Ok(())
}
