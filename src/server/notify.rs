//! What the service manager is told (sd_notify(3)): that the proxy is ready, reloads or stops, how far it is, and that it
//! still runs. Without `NOTIFY_SOCKET` in the environment nothing is told to anybody.

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

/// How often a status that has changed is told.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// No watchdog is answered more often, whatever it asks for.
const LEAST: Duration = Duration::from_millis(10);

/// How long a manager may have no room for a message.
const SENDING: Duration = Duration::from_secs(1);

/// Tells that all listeners are bound, or that a reload is over, also one that changed nothing.
pub async fn ready() {
    send(&[NotifyState::Ready], Untold::Warned).await;
}

/// Tells that the configuration is being read again, and gives whether that was taken; [`ready`] has to follow. The time
/// that goes with it tells the manager which of its requests is answered (`Type=notify-reload`).
pub async fn reloading() -> bool {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now], Untold::Warned).await,
        Err(error) => {
            tracing::warn!(%error, "the service manager is not told of the reload");
            false
        }
    }
}

/// Tells how far the process is until dropped: that it is ready, the first line of `state` whenever that has changed,
/// that the process ends once `leaving` is cancelled, and WATCHDOG=1 at least twice in the time that the manager wants
/// it in. A drain that ends nothing changes the line only: after STOPPING=1 the manager would count the time to stop.
pub(super) async fn tell(state: State, leaving: CancellationToken) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    let every = watchdog.map_or(STATUS_EVERY, |half| half.clamp(LEAST, STATUS_EVERY));
    let mut told = String::new();
    // What was not taken is told again, with one warning for all of it.
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

/// Whether it is said on standard error that a message was not taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Untold {
    Warned,
    Quiet,
}

/// Sends one message; gives whether it was taken, or there is nobody to take it.
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

/// Waits, unlike the library's own way, without a thread: a manager that reads nothing holds up nobody.
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
