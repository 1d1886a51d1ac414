//! The record of an open tunnel. It takes little memory until the tunnel ends.

use std::task::Context;
use std::time::SystemTime;

use super::live::Kept;
use super::packed::Packed;
use super::{Event, Record, Sink, aborted, millis, stamp};
use crate::metrics::Traffic;
use crate::moment::Moment;
use crate::reason::{Failure, Level, Stage};

/// A record that waits for the end of its tunnel. If it is dropped before that end, it reports `internal_aborted`.
#[derive(Debug)]
pub struct Resting {
    /// Empty after the end of the tunnel.
    kept: Kept,
    opened: Moment,
    sink: Sink,
}

impl Resting {
    /// Writes `opened`, for a tunnel that opened at `opened`. The record of the tunnel's end will have the same fields.
    #[must_use]
    pub fn open(mut record: Record, opened: Moment, sink: &Sink) -> Self {
        let packed = Packed::new(&record);
        record.event = Event::Opened;
        record.stage = Some(Stage::Tunnel);
        record.level = Some(Level::Info);
        record.status = Some(status(&record));
        sink.emit(record);
        Self {
            kept: sink.tunnels().add(packed, opened),
            opened,
            sink: sink.clone(),
        }
    }

    /// Notes what has passed so far, for whoever looks at the open tunnels.
    pub fn passed(&self, traffic: Traffic) {
        if let Kept::Listed(live) = &self.kept {
            live.passed(traffic);
        }
    }

    /// Who asked to close the tunnel since the last call. The task of `cx` is woken when somebody does.
    pub fn asked_to_close(&self, cx: &Context<'_>) -> Option<String> {
        match &self.kept {
            Kept::Alone(_) => None,
            Kept::Listed(live) => self.sink.tunnels().asked_to_close(live, cx),
        }
    }

    /// Writes `closed`. `describe` adds what is known about the end, and returns the reason.
    pub fn close(mut self, describe: impl FnOnce(&mut Record) -> Failure) {
        self.end(describe);
    }

    fn end(&mut self, describe: impl FnOnce(&mut Record) -> Failure) {
        if self.kept.packed().is_none() {
            return;
        }
        let mut record = self.kept.packed().unpack();
        self.sink.shorten(&mut record);
        let failure = describe(&mut record);
        // Before the record, so that its reader does not find the tunnel.
        self.sink.tunnels().remove(&self.kept);
        self.kept = Kept::Alone(Packed::default());
        record.fail(failure, Stage::Tunnel);
        record.event = Event::Closed;
        record.status = Some(status(&record));
        let lasted = self.opened.elapsed();
        record.lasted_ms.get_or_insert_with(|| millis(lasted));
        record
            .ended_at
            .get_or_insert_with(|| stamp(SystemTime::now()));
        record.close_wait_ms.get_or_insert(0);
        self.sink.emit(record);
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.end(|_| aborted(Stage::Tunnel));
    }
}

/// The status that the client of a tunnel received: 101, or over HTTP/2 200 (RFC 8441 section 5).
fn status(record: &Record) -> u16 {
    match record.stream_id {
        None => 101,
        Some(_) => 200,
    }
}
