//! The beginning of a handshake: the ClientHello, and refusals that are sent unencrypted.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use rustls::AlertDescription;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::{Failed, alert};
use crate::reason::{Failure, Reason};
use crate::stream::{Replay, Socket};

/// Reads a ClientHello. Unlike the library's own helper it sends no alert on failure, because some of the library's
/// alerts differ from the RFCs.
///
/// # Errors
/// What ended the connection, or the library's error in an `io::Error`.
pub(super) async fn read_hello(socket: &mut Replay<Socket>) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    loop {
        let count = poll_fn(|cx| {
            let mut reader = Reader {
                socket: Pin::new(&mut *socket),
                cx,
            };
            match acceptor.read_tls(&mut reader) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                read => Poll::Ready(read),
            }
        })
        .await?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, _)) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
        }
    }
}

/// Ends a handshake with an unencrypted alert.
pub(super) async fn refuse(
    mut socket: Replay<Socket>,
    failure: Failure,
    alert: AlertDescription,
    deadline: Instant,
) -> Failed {
    // The refusal is final whether or not the alert arrives.
    let written = timeout_at(deadline, alert::write(&mut socket, alert)).await;
    let failure = match written {
        Ok(Ok(())) => alert::sent(failure, alert),
        _ => failure,
    };
    let told = match is_heard(failure.reason) {
        true => Some(socket),
        false => {
            empty(&mut socket);
            None
        }
    };
    Failed {
        told,
        ..failure.into()
    }
}

/// Whether a client gets time to read its alert. A client that violates the protocol could send forever during that
/// time.
pub(super) fn is_heard(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TlsVersionUnsupported
            | Reason::TlsNoCommonCipher
            | Reason::TlsNoCommonGroup
            | Reason::TlsNoCommonSigalg
            | Reason::TlsAlpnNoOverlap
            | Reason::TlsSniUnknown
            | Reason::TlsClientCertMissing
            | Reason::TlsClientCertInvalid
    )
}

/// Reads a bounded number of bytes that have already arrived: closing a socket with unread bytes discards the alert.
fn empty(socket: &mut Replay<Socket>) {
    const PIECES: usize = 64;
    let mut piece = [0; 4096];
    for _ in 0..PIECES {
        match socket.read(&mut piece).now_or_never() {
            Some(Ok(count)) if count > 0 => {}
            _ => break,
        }
    }
}

/// Adapts a socket to the trait from which the library reads.
struct Reader<'a, 'cx> {
    socket: Pin<&'a mut Replay<Socket>>,
    cx: &'a mut Context<'cx>,
}

impl io::Read for Reader<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut bytes = ReadBuf::new(bytes);
        match self.socket.as_mut().poll_read(self.cx, &mut bytes) {
            Poll::Ready(read) => read.map(|()| bytes.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}
