//! What is asked of the proxy, on a thread of its own: an answer may take its time, and keys are not to wait for it.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use super::cells::safe;
use super::document::Document;
use super::wanted::encoded;
use crate::cli::ask::{NoAnswer, Request, Target, fetch, one_line, split};
use crate::text::Language;

/// How long one answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// The most characters of a message.
const MESSAGE: usize = 500;

/// The page's element with the token.
const TOKEN: &str = "<meta name=\"wsgate-token\" content=\"";

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Get the document at a path.
    Poll(String),
    /// Get what is known of a connection, or of a stream.
    Look(String),
    MayClose(String),
    Close {
        conn: String,
        stream_id: Option<i64>,
        name: String,
    },
}

/// What came of it. All texts may be shown.
#[derive(Debug)]
pub(super) enum Done {
    Polled(String, Result<Box<Document>, String>),
    Looked(String, Box<Document>),
    MayClose(String, Result<(), String>),
    /// What the proxy said.
    Closed(String),
}

/// Does one task after the other, until there are no more.
pub(super) fn work(
    target: &Target,
    language: Language,
    tasks: &Receiver<Task>,
    done: &Sender<impl From<Done>>,
) {
    let mut waiting = VecDeque::new();
    while let Some(task) = waiting.pop_front().or_else(|| tasks.recv().ok()) {
        waiting.extend(tasks.try_iter());
        // Only the last question is still of interest.
        let is_poll = |task: &Task| matches!(task, Task::Poll(_));
        if is_poll(&task) && waiting.iter().any(is_poll) {
            continue;
        }
        let outcome = match task {
            Task::Poll(path) => {
                let document = poll(target, &path);
                Done::Polled(path, document.map(Box::new))
            }
            Task::Look(id) => {
                let path = format!("/status.json?all=1&limit=20&id={}", encoded(&id));
                match poll(target, &path) {
                    Ok(document) => Done::Looked(id, Box::new(document)),
                    // The story goes without it.
                    Err(_) => continue,
                }
            }
            Task::MayClose(id) => {
                let token = token(target, language).map(|_| ());
                Done::MayClose(id, token)
            }
            Task::Close {
                conn,
                stream_id,
                name,
            } => {
                let said = close(target, language, (&conn, stream_id), &name);
                Done::Closed(said.unwrap_or_else(|error| error))
            }
        };
        if done.send(outcome.into()).is_err() {
            break;
        }
    }
}

/// Gets a document.
///
/// # Errors
/// Why there is none.
pub(super) fn poll(target: &Target, path: &str) -> Result<Document, String> {
    let request = Request {
        method: "GET",
        path,
        field: None,
        longest: LONGEST,
    };
    match send(target, request)? {
        (200, body) => Document::read(&body).map_err(|error| safe(&error, MESSAGE)),
        (status, body) => Err(refusal(status, &body)),
    }
}

/// Sends a request. Gives the status and the body of the answer.
fn send(target: &Target, request: Request<'_>) -> Result<(u16, Vec<u8>), String> {
    let said = |error: NoAnswer| safe(&error.to_string(), MESSAGE);
    let mut bytes = fetch(target, request, TIMEOUT).map_err(said)?;
    if bytes.len() >= request.longest {
        return Err(format!(
            "the answer is longer than {} MiB",
            request.longest / (1024 * 1024)
        ));
    }
    let (status, body) = split(&bytes).ok_or_else(|| said(NoAnswer::Foreign))?;
    let head = bytes.len() - body.len();
    // Megabytes are not copied.
    bytes.drain(..head);
    Ok((status, bytes))
}

fn refusal(status: u16, body: &[u8]) -> String {
    let said = safe(&one_line(body.get(..MESSAGE).unwrap_or(body)), MESSAGE);
    match said.is_empty() {
        true => format!("the answer is {status}"),
        false => format!("the answer is {status}: {said}"),
    }
}

/// The token without which no tunnel is closed.
fn token(target: &Target, language: Language) -> Result<String, String> {
    let request = Request {
        method: "GET",
        path: "/",
        field: None,
        longest: LONGEST,
    };
    let page = match send(target, request)? {
        (200, body) => body,
        (status, body) => return Err(refusal(status, &body)),
    };
    let page = String::from_utf8_lossy(&page);
    let token = page
        .split_once(TOKEN)
        .and_then(|(_, rest)| rest.split_once('"'));
    match token {
        Some(("", _)) => Err(language
            .pick(
                "closing is off, because the admin listener does not listen on a loopback address",
                "不能关闭隧道，因为 admin 监听的不是回环地址",
            )
            .to_owned()),
        // Nothing else may get into the head of the request.
        Some((token, _))
            if token.len() <= 256 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            Ok(token.to_owned())
        }
        _ => Err(language
            .pick(
                "tunnels can't be closed: the page of the proxy has no token",
                "不能关闭隧道：代理的页面中没有令牌",
            )
            .to_owned()),
    }
}

/// Closes a tunnel. The token is asked for anew: the process may be another one by now.
fn close(
    target: &Target,
    language: Language,
    (conn, stream_id): (&str, Option<i64>),
    name: &str,
) -> Result<String, String> {
    let token = token(target, language)?;
    let path = closing((conn, stream_id), name);
    let request = Request {
        method: "POST",
        path: &path,
        field: Some(("X-Wsgate-Token", &token)),
        longest: LONGEST,
    };
    match send(target, request)? {
        (200..300, body) => Ok(match safe(&one_line(&body), MESSAGE) {
            said if said.is_empty() => language
                .pick("the tunnel is being closed", "正在关闭隧道")
                .to_owned(),
            said => said,
        }),
        (status, body) => Err(refusal(status, &body)),
    }
}

/// The path that closes the tunnel of a connection, or over HTTP/2 of one of its streams.
fn closing((conn, stream_id): (&str, Option<i64>), name: &str) -> String {
    let stream = stream_id.map_or_else(String::new, |id| format!("&stream_id={id}"));
    format!(
        "/close?conn={}{stream}&name={}",
        encoded(conn),
        encoded(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_over_http_2_is_named_by_its_connection_and_stream() {
        assert_eq!(closing(("c", None), "a b"), "/close?conn=c&name=a%20b");
        let with_stream = closing(("c", Some(3)), "ann");
        assert_eq!(with_stream, "/close?conn=c&stream_id=3&name=ann");
    }
}
