//! Where records go: the counters, the limit for floods, a bounded queue and the writing thread.

mod writer;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::count::count;
use super::flood::Floods;
use super::line::{self, Layout};
use super::live::Tunnels;
use super::memory::Memory;
use super::{Event, Record, SCHEMA, stamp};
use crate::config::{ClientAddress, Log, LogFormat};
use crate::metrics::Metrics;
use crate::reason::{Level, Reason, Stage};
use crate::text;
use writer::Writer;

/// How many lines may wait for the writer: about 8 MiB at 1 KiB each, several seconds of a busy proxy.
const QUEUE: usize = 8192;

/// Most lines are shorter.
const LINE: usize = 1024;

/// Called for each stage that a connection enters. Tests use it to panic or to wait there.
pub type StageHook = dyn Fn(Stage) + Send + Sync;

/// What is written, and in which form.
#[derive(Clone)]
pub struct Settings {
    /// The configured settings; [`Sink::set_log`] replaces them.
    pub log: Log,
    /// Whether the output is a terminal. Unless the configuration says otherwise, it then gets text on several lines.
    pub is_terminal: bool,
    /// The name of this process among its replicas.
    pub instance: String,
    /// Called for each stage; for tests.
    pub hook: Option<Arc<StageHook>>,
}

/// A handle to the output of records; clones are cheap.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

struct Shared {
    settings: Settings,
    log: RwLock<Arc<Log>>,
    queue: SyncSender<Message>,
    writer: Mutex<Option<Receiver<()>>>,
    started: Instant,
    process: u32,
    metrics: Arc<Metrics>,
    tunnels: Arc<Tunnels>,
    memory: Arc<Memory>,
    floods: Floods,
}

enum Message {
    Line(Vec<u8>),
    /// Write the summary of the suppressed records, then this record, then end.
    Close(Box<Record>),
}

impl Sink {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub fn start(output: impl Write + Send + 'static, settings: Settings) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let (done, writer) = sync_channel(1);
        let sink = Self {
            shared: Arc::new(Shared {
                log: RwLock::new(Arc::new(settings.log.clone())),
                settings,
                queue,
                writer: Mutex::new(Some(writer)),
                started: Instant::now(),
                process: random_u32(),
                metrics: Arc::default(),
                tunnels: Arc::default(),
                memory: Arc::default(),
                floods: Floods::default(),
            }),
        };
        let shared = Arc::clone(&sink.shared);
        std::thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || {
                Writer::new(shared, output).run(&lines);
                // The receiver may be gone.
                let _ = done.send(());
            })?;
        Ok(sink)
    }

    /// Counts a record and queues its line, unless its level or a flood suppresses it. Never blocks.
    pub fn emit(&self, mut record: Record) {
        let shared = &self.shared;
        count(&shared.metrics, &record);
        if shared.memory.is_kept() {
            shared.memory.count(&record);
        }
        let is_written = shared.is_written(&record);
        if !is_written && !shared.memory.wants(&record) {
            return;
        }
        if let Some(reason) = record.reason {
            let second = shared.started.elapsed().as_secs();
            if record.event == Event::Refused && !shared.floods.admit(reason, record.source, second)
            {
                if is_written {
                    shared.metrics.suppressed(reason);
                    shared.floods.keep_back(reason, &record);
                }
                return;
            }
        }
        record.complete();
        let line = shared.line(&mut record);
        if is_written && shared.queue.try_send(Message::Line(line)).is_err() {
            shared.metrics.dropped(1);
        }
    }

    /// Writes the queued lines, then `stopped` with the totals; gives up after `patience` if the output is blocked.
    pub fn close(&self, detail: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut last = Record::lifecycle(Event::Stopped, Level::Info, detail);
        last.counts = Some(self.counts());
        let mut message = Message::Close(Box::new(last));
        while let Err(TrySendError::Full(back)) = self.shared.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // At the deadline the output is blocked; waiting longer would keep the process from ending.
            let _ = writer.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// How often each reason occurred, written or not, and the totals `records_suppressed` and `records_dropped`.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let metrics = &self.shared.metrics;
        let mut counts: BTreeMap<_, _> = Reason::ALL
            .iter()
            .map(|reason| (reason.code(), metrics.total(*reason)))
            .filter(|(_, total)| *total > 0)
            .collect();
        counts.insert("records_suppressed", metrics.suppressed_total());
        counts.insert("records_dropped", metrics.dropped_total());
        counts
    }

    /// The metrics, which also count the records.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// What is remembered of the records.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.shared.memory
    }

    /// The name of this process among its replicas.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.shared.settings.instance
    }

    /// The table of open tunnels.
    #[must_use]
    pub fn tunnels(&self) -> &Arc<Tunnels> {
        &self.shared.tunnels
    }

    /// The next connection's number and its id, which is unique in this process and unlikely to occur in others.
    pub(crate) fn next_conn(&self) -> (u64, String) {
        let number = self.shared.metrics.connection();
        (number, format!("{:08x}{number:08x}", self.shared.process))
    }

    /// Calls the hook of tests for a connection that enters `stage`.
    pub(crate) fn entered(&self, stage: Stage) {
        if let Some(hook) = &self.shared.settings.hook {
            hook(stage);
        }
    }

    /// Applies new settings, also to the records of connections that are already open.
    pub fn set_log(&self, log: &Log) {
        let mut current = self
            .shared
            .log
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let shows = |log: &Log| match log.client_address {
            ClientAddress::Full => 2,
            ClientAddress::Truncated => 1,
            ClientAddress::Off => 0,
        };
        if shows(log) < shows(&current) {
            self.shared.memory.forget_clients();
        }
        *current = Arc::new(log.clone());
    }

    /// The current settings.
    pub(crate) fn log(&self) -> Arc<Log> {
        self.shared.log()
    }

    /// An address that a record has, in the form that `log.client_address` asks for now.
    pub(crate) fn shown_address(&self, written: &str) -> Option<String> {
        if self.log().client_address == ClientAddress::Full {
            return Some(written.to_owned());
        }
        if let Ok(ip) = written.parse::<IpAddr>() {
            return self.address(ip, None);
        }
        let with_port = written.parse::<std::net::SocketAddr>().ok()?;
        self.address(with_port.ip(), Some(with_port.port()))
    }

    /// Brings the addresses of a record that was made earlier into the form that `log.client_address` asks for now.
    pub(crate) fn shorten(&self, record: &mut Record) {
        for address in [&mut record.client, &mut record.peer] {
            *address = address
                .take()
                .and_then(|written| self.shown_address(&written));
        }
    }

    /// An address in the form that `log.client_address` asks for.
    pub(crate) fn address(&self, ip: IpAddr, port: Option<u16>) -> Option<String> {
        let ip = ip.to_canonical();
        match (self.shared.log().client_address, port) {
            (ClientAddress::Full, Some(port)) => {
                Some(text::short(&std::net::SocketAddr::new(ip, port)))
            }
            (ClientAddress::Full, None) => Some(text::short(&ip)),
            (ClientAddress::Truncated, _) => Some(text::short(&truncated(ip))),
            (ClientAddress::Off, _) => None,
        }
    }
}

impl Shared {
    /// Whether the current level allows a record.
    fn is_written(&self, record: &Record) -> bool {
        record.event.is_lifecycle() || record.level >= Some(self.log().level)
    }

    fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The line of a record, which is also remembered if it may be asked for later.
    fn line(&self, record: &mut Record) -> Vec<u8> {
        record.time = stamp(SystemTime::now());
        record.schema = SCHEMA;
        record.version = env!("CARGO_PKG_VERSION");
        record.instance.clone_from(&self.settings.instance);
        let is_text = match self.log().format {
            LogFormat::Auto => self.settings.is_terminal,
            LogFormat::Json => false,
            LogFormat::Text => true,
        };
        let layout = match self.settings.is_terminal {
            true => Layout::Terminal,
            false => Layout::OneLine,
        };
        let is_remembered = self.memory.wants(record);
        let mut json = Vec::new();
        if is_remembered || !is_text {
            json.reserve(LINE);
            // A record is plain data with string keys: serialising it can't fail.
            let _ = serde_json::to_writer(&mut json, record);
        }
        if is_remembered {
            self.memory.add(record, &json);
        }
        let mut line = match is_text {
            true => line::line(record, layout).into_bytes(),
            false => json,
        };
        line.push(b'\n');
        line
    }
}

fn truncated(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

/// Enough to tell the connections of two processes apart; not a secret.
fn random_u32() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let hash = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    u32::try_from(hash & 0xffff_ffff).unwrap_or_default()
}
