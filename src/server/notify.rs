//! Messages to the service manager (sd_notify(3)): that the proxy is ready, reloads or stops, its state, and that it
//! still runs. Without `NOTIFY_SOCKET` in the environment nothing is sent.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use humantime::format_duration;
use sd_notify::NotifyState;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::admin::State;

/// How often a changed status is sent.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// The watchdog is answered at most this often, whatever it asks for.
const LEAST: Duration = Duration::from_millis(10);

/// How long to wait if the manager has no room for a message.
const SENDING: Duration = Duration::from_secs(1);

/// Says that all listeners are bound, or that a reload has ended, even if it changed nothing.
pub async fn ready() {
    send(&[NotifyState::Ready], Untold::Warned).await;
}

/// Says that the configuration is being read again. Returns whether the message was accepted; [`ready`] must then
/// follow. The time in the message tells the manager which of its requests is answered (`Type=notify-reload`).
pub async fn reloading() -> bool {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now], Untold::Warned).await,
        Err(error) => {
            tracing::warn!(%error, "the service manager is not told of the reload");
            false
        }
    }
}

/// Reports the state until dropped: that the process is ready, the first line of `state` when it changes, that the
/// process ends after `leaving` is cancelled, and WATCHDOG=1 at least twice in the manager's interval. A drain that
/// does not end the process only changes the line: after STOPPING=1 the manager would count the time to stop.
pub(super) async fn tell(state: State, leaving: CancellationToken) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    let every = watchdog.map_or(STATUS_EVERY, |half| half.clamp(LEAST, STATUS_EVERY));
    let mut told = String::new();
    // A message that was not accepted is sent again, with one warning for all attempts.
    let (mut has_told_ready, mut has_told_end) = (false, false);
    let mut untold = Untold::Warned;
    loop {
        let is_ending = leaving.is_cancelled();
        let status = state.to_string();
        let mut message = Vec::new();
        if !has_told_ready {
            message.push(NotifyState::Ready);
        }
        if watchdog.is_some() {
            message.push(NotifyState::Watchdog);
        }
        if is_ending && !has_told_end {
            message.push(NotifyState::Stopping);
        }
        if status != told {
            message.push(NotifyState::Status(&status));
        }
        if message.is_empty() || send(&message, untold).await {
            (has_told_ready, has_told_end) = (true, is_ending);
            told = status;
            untold = Untold::Warned;
        } else {
            untold = Untold::Quiet;
        }
        tokio::select! {
            () = sleep(every) => {}
            () = leaving.cancelled(), if !is_ending => {}
        }
    }
}

/// Whether standard error already says that a message was not accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Untold {
    Warned,
    Quiet,
}

/// Sends one message. Returns whether it was accepted, or there is no manager.
async fn send(states: &[NotifyState<'_>], untold: Untold) -> bool {
    let Some(to) = env::var_os("NOTIFY_SOCKET") else {
        return true;
    };
    let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
    let message = lines.join("\n");
    let why = match timeout(SENDING, deliver(&to, message.as_bytes())).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took no message for {}", format_duration(SENDING)),
    };
    if untold == Untold::Warned {
        tracing::warn!(
            message,
            "the service manager at NOTIFY_SOCKET {to:?} was not told: {why}"
        );
    }
    false
}

/// Waits without a thread, unlike the library: a manager that reads nothing delays nobody.
async fn deliver(to: &OsStr, message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let address = match to.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(to)?,
    };
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UnixDatagram::from_std(socket)?;
    socket.send(message).await.map(drop)
}
