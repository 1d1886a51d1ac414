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
    send(&[NotifyState::Ready]).await;
}

/// Tells that the configuration is being read again; [`ready`] has to follow. The time that goes with it tells the
/// manager which of its requests is answered (`Type=notify-reload`).
pub async fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]).await,
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
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
    let mut has_told_end = false;
    let mut first = Some(NotifyState::Ready);
    loop {
        let mut message: Vec<_> = first.take().into_iter().collect();
        if watchdog.is_some() {
            message.push(NotifyState::Watchdog);
        }
        if leaving.is_cancelled() && !has_told_end {
            has_told_end = true;
            message.push(NotifyState::Stopping);
        }
        let status = state.to_string();
        if status != told {
            message.push(NotifyState::Status(&status));
        }
        if !message.is_empty() {
            send(&message).await;
        }
        told = status;
        tokio::select! {
            () = sleep(every) => {}
            () = leaving.cancelled(), if !has_told_end => {}
        }
    }
}

/// Sends one message where there is somebody to take it.
async fn send(states: &[NotifyState<'_>]) {
    let Some(to) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
    let message = lines.join("\n");
    let why = match timeout(SENDING, deliver(&to, message.as_bytes())).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took no message for {}", format_duration(SENDING)),
    };
    tracing::warn!(
        message,
        "the service manager at NOTIFY_SOCKET {to:?} was not told: {why}"
    );
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
