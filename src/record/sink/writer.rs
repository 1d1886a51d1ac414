//! The thread that writes the queued lines.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Message, QUEUE, Shared};
use crate::reason::{Level, Reason};
use crate::record::flood::{COMMON_SHARE, OWN_SHARE};
use crate::record::{Event, Record};

/// How often suppressed and dropped records are reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long the writer lets further lines come after the first one. Each time it is woken, a connection pays for a
/// system call and the machine for two context switches, which together cost more than the line.
const COLLECT: Duration = Duration::from_millis(5);

/// Lines are written together up to about this many bytes, which fit in a pipe.
const BATCH: usize = 32 * 1024;

/// Writes lines, many at a time.
pub(super) struct Writer<W> {
    shared: Arc<Shared>,
    output: W,
    batch: Vec<u8>,
    /// Where each line of the batch ends.
    ends: Vec<usize>,
    /// Whether the last batch could not be written.
    failed: bool,
    /// How many of the dropped records were reported.
    dropped_reported: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(shared: Arc<Shared>, output: W) -> Self {
        Self {
            shared,
            output,
            batch: Vec::new(),
            ends: Vec::new(),
            failed: false,
            dropped_reported: 0,
        }
    }

    /// Writes what is queued until [`Message::Close`].
    pub fn run(mut self, queue: &Receiver<Message>) {
        let mut next_report = Instant::now() + REPORT_EVERY;
        loop {
            let wait = next_report.saturating_duration_since(Instant::now());
            let first = match queue.recv_timeout(wait) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Some(Message::Line(_)) = first {
                sleep(COLLECT);
            }
            // At most what the queue can hold, so that reports are not late.
            for message in first.into_iter().chain(queue.try_iter()).take(QUEUE) {
                match message {
                    Message::Line(line) => self.push(&line),
                    Message::Close(mut last) => {
                        self.report();
                        let last = self.shared.line(&mut last);
                        self.push(&last);
                        self.write();
                        return;
                    }
                }
            }
            if Instant::now() >= next_report {
                next_report = Instant::now() + REPORT_EVERY;
                self.report();
            }
            self.write();
        }
    }

    fn push(&mut self, line: &[u8]) {
        self.batch.extend_from_slice(line);
        self.ends.push(self.batch.len());
        if self.batch.len() >= BATCH {
            self.write();
        }
    }

    /// Writes the batch. A failing output must not end the proxy: what it does not take is counted, and the failure is
    /// reported once, on standard error.
    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        // Separates the rest of a line that was cut from the next line.
        let separated = match self.failed {
            true => self.write_all(b"\n", &mut 0),
            false => Ok(()),
        };
        let batch = std::mem::take(&mut self.batch);
        let mut written = 0;
        let done = separated
            .and_then(|()| self.write_all(&batch, &mut written))
            .and_then(|()| self.output.flush());
        if let Err(error) = &done {
            let lost = self.ends.iter().filter(|end| **end > written).count();
            self.shared.metrics.dropped(lost.max(1) as u64);
            if !self.failed {
                tracing::error!(%error, "records can't be written to standard output; they are lost, but counted");
            }
        }
        self.failed = done.is_err();
        self.ends.clear();
        self.batch = batch;
        self.batch.clear();
    }

    /// Writes all of `bytes`; `written` says how many were written before an error.
    fn write_all(&mut self, bytes: &[u8], written: &mut usize) -> io::Result<()> {
        while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody who shares the output made it non-blocking. It is full now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(COLLECT),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reports what was suppressed or lost since the last report.
    fn report(&mut self) {
        for reason in Reason::ALL {
            if let Some(tally) = self.shared.floods.summary(*reason) {
                let mut record = Record::lifecycle(
                    Event::RecordsSuppressed,
                    // The level of the suppressed records.
                    reason.spec().level,
                    format!(
                        "more than {OWN_SHARE} refusals of this reason by one client in a second, and more than \
                         {COMMON_SHARE} others in total; these were counted, not written"
                    ),
                );
                record.reason = Some(*reason);
                record.count = Some(tally.count);
                record.top_clients = tally.clients.named();
                record.top_origins = tally.origins.named();
                record.top_paths = tally.paths.named();
                self.push_record(record);
            }
        }
        let dropped = self.shared.metrics.dropped_total();
        if dropped > self.dropped_reported {
            let mut record = Record::lifecycle(
                Event::RecordsDropped,
                Level::Warn,
                "the output failed, or was blocked while the queue was full",
            );
            record.count = Some(dropped - self.dropped_reported);
            self.dropped_reported = dropped;
            self.push_record(record);
        }
    }

    fn push_record(&mut self, mut record: Record) {
        if self.shared.memory.is_kept() {
            self.shared.memory.count(&record);
        }
        if self.shared.is_written(&record) {
            let line = self.shared.line(&mut record);
            self.push(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, sync_channel};

    use super::*;
    use crate::config::{ClientAddress, Log, LogFormat};
    use crate::record::{Settings, Sink};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// An output that shows each call of `write`, and takes everything unless it has another answer.
    struct Output {
        calls: mpsc::Sender<String>,
        answers: Vec<io::Result<usize>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls
                .send(String::from_utf8_lossy(bytes).into_owned())
                .unwrap();
            match self.answers.is_empty() {
                true => Ok(bytes.len()),
                false => self.answers.remove(0),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(answers: Vec<io::Result<usize>>) -> (Output, Receiver<String>) {
        let (calls, seen) = mpsc::channel();
        (Output { calls, answers }, seen)
    }

    fn sink(output: impl Write + Send + 'static) -> Sink {
        let settings = Settings {
            log: Log {
                level: Level::Info,
                format: LogFormat::Json,
                query_keep: Vec::new(),
                client_address: ClientAddress::Full,
            },
            is_terminal: false,
            instance: String::new(),
            hook: None,
        };
        Sink::start(output, settings).unwrap()
    }

    fn writer(answers: Vec<io::Result<usize>>) -> (Writer<Output>, Receiver<String>) {
        let (output, seen) = output(answers);
        let shared = Arc::clone(&sink(io::sink()).shared);
        (Writer::new(shared, output), seen)
    }

    fn lifecycle(detail: &str) -> Record {
        Record::lifecycle(Event::Stopped, Level::Info, detail)
    }

    #[test]
    fn a_lone_record_is_written_without_waiting_for_another_one() {
        let (output, seen) = output(Vec::new());
        let sink = sink(output);
        for detail in ["first", "second"] {
            sink.emit(lifecycle(detail));
            assert!(seen.recv_timeout(PATIENCE).unwrap().contains(detail));
        }
    }

    #[test]
    fn queued_lines_are_written_together_and_in_order() {
        let (writer, seen) = writer(Vec::new());
        let (sender, queue) = sync_channel(QUEUE);
        let lines: Vec<_> = (0..1000).map(|number| format!("{number}\n")).collect();
        for line in &lines {
            sender.send(Message::Line(line.clone().into())).unwrap();
        }
        let last = Box::new(lifecycle("last"));
        sender.send(Message::Close(last)).unwrap();
        writer.run(&queue);
        let writes: Vec<_> = seen.iter().collect();
        assert_eq!(writes.len(), 1);
        assert!(writes[0].starts_with(&lines.concat()));
        assert!(writes[0].ends_with("}\n"));
    }

    #[test]
    fn a_batch_has_a_bound() {
        let (mut writer, seen) = writer(Vec::new());
        for _ in 0..10 {
            writer.push(&[b'x'; BATCH / 4]);
        }
        writer.write();
        drop(writer);
        let lengths: Vec<_> = seen.iter().map(|call| call.len()).collect();
        assert_eq!(lengths, [BATCH, BATCH, BATCH / 2]);
    }

    #[test]
    fn only_lines_that_were_cut_or_not_written_count_as_dropped() {
        let full = || Err(io::ErrorKind::StorageFull.into());
        let (mut writer, seen) = writer(vec![Ok(6), full()]);
        for line in [b"one\n", b"two\n", b"six\n"] {
            writer.push(line);
        }
        writer.write();
        assert_eq!(writer.shared.metrics.dropped_total(), 2);
        writer.push(b"ten\n");
        writer.write();
        drop(writer);
        // The rest of the cut line is lost, and the next line begins on a line of its own.
        let calls: Vec<_> = seen.iter().collect();
        assert_eq!(calls, ["one\ntwo\nsix\n", "o\nsix\n", "\n", "ten\n"]);
    }

    #[test]
    fn an_output_that_does_not_block_gets_everything_later() {
        let later = || Err(io::ErrorKind::WouldBlock.into());
        let (mut writer, seen) = writer(vec![later(), Ok(1), later()]);
        writer.push(b"ab\n");
        writer.write();
        assert_eq!(writer.shared.metrics.dropped_total(), 0);
        drop(writer);
        let calls: Vec<_> = seen.iter().collect();
        assert_eq!(calls, ["ab\n", "ab\n", "b\n", "b\n"]);
    }
}
