//! Plain requests and their answers. A request is sent to an endpoint over a connection that is kept for the next one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until};

use super::answer;
use super::connect::Dialling;
use super::group::{Busy, Group, Member};
use super::line::{Line, Seen, Unanswered};
use super::outgoing::Outgoing;
use super::pool::{self, Idle};
use super::relay::{BodyDeadline, BodyOutcome, RelayBody};
use super::request;
use super::upload::Upload;
use crate::http::Body;
use crate::policy::{HttpRules, Permit};
use crate::reason::{Failure, Note, Reason};
use crate::record::{Attempt, Outcome, millis};
use crate::text;

/// The answer to a plain request.
pub struct Served {
    /// Its head, and its body as it arrives.
    pub response: Response<Body>,
    /// What happens to the body on its way to the client.
    pub passed: Arc<BodyOutcome>,
    /// Remarks for the record.
    pub notes: Vec<Note>,
    /// The time from sending the request to the head of the answer.
    pub waited: Duration,
}

/// Sends a plain request to the endpoints in turn until one answers. The next endpoint is tried only if the client
/// can't notice: if nothing was sent, or if the method may be repeated (RFC 9110 section 9.2.2), none of the body was
/// read and no byte of an answer came.
///
/// # Errors
/// The reasons for an upstream that can't be reached, or whose answer does not come or can't be passed on; those of
/// [`Upload::failure`].
pub async fn forward(
    group: &Arc<Group>,
    permit: &Permit<'_, HttpRules>,
    client: IpAddr,
    request: Parts,
    upload: &Upload,
    head_limit: usize,
    dialling: &mut Dialling,
) -> Result<Served, Failure> {
    let mut last = None;
    let is_idempotent = is_idempotent(&request.method);
    let is_login = pool::is_login(&request.headers, &AUTHORIZATION);
    let request = Outgoing::new(request, !upload.is_over()).await;
    let mut request = Some(request.map_err(|error| answer::failure(&error, &[]))?);
    let members = group.candidates(client)?;
    let mut left = members.len();
    for member in members {
        left -= 1;
        // The upstream may just have closed its kept connection, so the same endpoint is tried again over a new one.
        for fresh in [false, true] {
            let begun = Instant::now();
            let seen = Seen::default();
            let kept = if fresh { None } else { member.idle().take() };
            let (line, busy) = match kept {
                Some(line) => {
                    dialling.attempts.push(Attempt {
                        endpoint: text::short(&member.endpoint),
                        outcome: Outcome::Reused,
                        detail: None,
                        ms: 0,
                    });
                    (line, member.busy())
                }
                None if fresh => {
                    match dial(group, &member, permit, head_limit, &seen, dialling).await {
                        Ok(dialled) => dialled,
                        Err(failure) => {
                            last = Some(failure);
                            break;
                        }
                    }
                }
                None => continue,
            };
            let asking = Asking {
                line,
                busy,
                idle: Arc::clone(member.idle()),
                rules: permit.rules(),
                is_login,
            };
            // After the last attempt nobody needs the request, so no copy of it is kept during the wait for the answer.
            let sent = match fresh && left == 0 {
                true => request.take(),
                false => request.clone(),
            };
            let Some(sent) = sent else { break };
            let failed = match asking.ask(sent, upload).await {
                Ok(served) => return Ok(served),
                Err(failed) => failed,
            };
            if let Some(failure) = upload.failure() {
                return Err(failure);
            }
            let repeatable =
                failed.unsent || (is_idempotent && upload.is_whole() && failed.unheard);
            if !repeatable {
                return Err(failed.failure);
            }
            if let Some(attempt) = dialling.attempts.last_mut() {
                attempt.outcome = Outcome::Failed(failed.failure.reason);
                attempt.detail.clone_from(&failed.failure.detail);
                attempt.ms = millis(begun.elapsed());
            }
            last = Some(failed.failure);
        }
    }
    Err(last
        .unwrap_or_else(|| Failure::new(Reason::UpstreamRefused, "the upstream has no endpoint")))
}

async fn dial(
    group: &Arc<Group>,
    member: &Arc<Member>,
    permit: &Permit<'_, HttpRules>,
    head_limit: usize,
    seen: &Seen,
    dialling: &mut Dialling,
) -> Result<(Line, Busy), Failure> {
    let connected = group.dial(member, permit, &[], dialling).await?;
    let line = Line::open(connected.stream, head_limit, seen)
        .await
        .map_err(|error| answer::failure(&error, &seen.lock()))?;
    Ok((line, connected.busy))
}

/// Whether a method may be repeated (RFC 9110 section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::PUT,
        Method::DELETE,
    ]
    .contains(method)
}

/// One request on one connection.
struct Asking<'a> {
    line: Line,
    busy: Busy,
    idle: Arc<Idle>,
    rules: &'a HttpRules,
    /// Whether the request logs in for the whole connection.
    is_login: bool,
}

/// Why a request got no answer.
struct NoAnswer {
    failure: Failure,
    /// Whether nothing of the request was sent.
    unsent: bool,
    /// Whether no byte of an answer came.
    unheard: bool,
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            unsent: false,
            unheard: false,
        }
    }
}

impl Asking<'_> {
    async fn ask(mut self, request: Outgoing, upload: &Upload) -> Result<Served, NoAnswer> {
        let begun = Instant::now();
        let body = upload.body(self.line.pace());
        let seen = self.line.seen().clone();
        let answered = tokio::select! {
            biased;
            answered = self.line.send(request, body) => answered,
            () = silence(upload, begun, self.rules.response_timeout) => {
                let waited = humantime::format_duration(self.rules.response_timeout).to_string();
                let detail = answer::nothing(&seen.lock(), &waited);
                return Err(Failure::new(Reason::UpstreamResponseTimeout, detail).into());
            }
        };
        let (response, interim) = answered.map_err(|Unanswered { error, unsent }| {
            let seen = seen.lock();
            NoAnswer {
                failure: answer::failure(&error, &seen),
                unsent,
                unheard: seen.is_empty(),
            }
        })?;
        let waited = begun.elapsed();
        let (head, body) = response.into_parts();
        answer::plain(&head)?;
        let Self {
            line,
            busy,
            idle,
            rules,
            is_login,
        } = self;
        let lifetime = pool::lifetime(is_login, &head.headers);
        let home = Box::new(move |line| {
            drop(busy);
            if let Some(lifetime) = lifetime {
                idle.keep(line, lifetime);
            }
        });
        let patience = BodyDeadline::Between(rules.idle_timeout);
        let is_tls = line.is_tls();
        let (mut body, passed) =
            RelayBody::new(body, line, patience, Some(upload.clone()), Some(home));
        if !is_tls && head.status == StatusCode::BAD_REQUEST {
            answer::check_tls_wanted(&body.peek().await)?;
        }
        let head = request::relayed(head, false);
        Ok(Served {
            response: Response::from_parts(head, body.boxed_unsync()),
            passed,
            notes: answer::interim(&interim).into_iter().collect::<Vec<Note>>(),
            waited,
        })
    }
}

/// Completes when the upstream has neither answered nor accepted more of the body for `patience`, counted from `begun`
/// or from the last piece that it accepted. Time spent waiting for the client does not count; it has a deadline of its
/// own.
async fn silence(upload: &Upload, begun: Instant, patience: Duration) {
    loop {
        let until = upload.waits_since().max(begun) + patience;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}
