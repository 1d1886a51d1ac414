//! The library's server inside the test's process, for what can't be done to a program from outside.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use wsgate::config::{ClientAddress, Log, LogFormat};
use wsgate::metrics::Text;
use wsgate::reason::Level;
use wsgate::record::{Settings, Sink, StageHook};
use wsgate::server::{Inherited, Plan, Purpose, Server};

use super::proxy::is_terminal;
use super::scrape::Scrape;
use super::{Line, PATIENCE, Setup};

/// An output for records, whose lines can be waited for.
#[derive(Clone, Default)]
pub struct Records(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().unwrap().extend_from_slice(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Records {
    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        parse(&self.0.0.lock().unwrap())
    }

    /// Waits for `count` terminal records; gives all that exist.
    #[track_caller]
    pub fn terminals(&self, count: usize) -> Vec<Line> {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = self.0.0.lock().unwrap();
        loop {
            let mut lines = parse(&bytes);
            lines.retain(is_terminal);
            if lines.len() >= count {
                return lines;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{count} terminal records did not come: {lines:#?}"
            );
            bytes = self.0.1.wait_timeout(bytes, left).unwrap().0;
        }
    }
}

fn parse(bytes: &[u8]) -> Vec<Line> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| Line(serde_json::from_str(line).unwrap()))
        .collect()
}

/// The settings of a test's sink, with a hook.
pub fn settings(hook: Option<Arc<StageHook>>) -> Settings {
    Settings {
        log: Log {
            level: Level::Debug,
            format: LogFormat::Auto,
            query_keep: Vec::new(),
            client_address: ClientAddress::Full,
        },
        is_terminal: false,
        instance: "test".to_owned(),
        hook,
    }
}

/// A server on a runtime with one worker.
pub struct Inside {
    runtime: Option<Runtime>,
    sink: Sink,
    stop: UnboundedSender<()>,
    address: SocketAddr,
    pub records: Records,
    _folder: TempDir,
}

impl Inside {
    /// Serves `setup`; each connection calls `hook` at each stage.
    pub fn start(setup: &Setup, hook: Arc<StageHook>) -> Self {
        let folder = setup.folder();
        let yaml = setup.yaml();
        // The test's working directory is not the configuration's folder, so relative names can't be used.
        let file = folder.path().join("proxy.yaml");
        std::fs::write(&file, yaml).unwrap();
        let plan = Plan::load(&file, Purpose::Run).unwrap();
        let records = Records::default();
        let sink = Sink::start(records.clone(), settings(Some(hook))).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, mut stops) = unbounded_channel();
        let server = {
            let _inside = runtime.enter();
            Server::bind(plan, sink.clone(), Inherited::default()).unwrap()
        };
        let address = server.addresses().next().unwrap();
        let signal = async move || {
            stops.recv().await;
            "a test"
        };
        runtime.spawn(server.run(signal, async || std::future::pending().await));
        Self {
            runtime: Some(runtime),
            sink,
            stop,
            address,
            records,
            _folder: folder,
        }
    }

    /// The metrics so far.
    pub fn metrics(&self) -> Scrape {
        let mut text = Text::default();
        let routes = [("/ws".to_owned(), true)].into();
        self.sink.metrics().write(&mut text, 1, &routes);
        Scrape::read(text.into_string())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until every task that could run has run: the only worker runs a new task after all others.
    pub fn settle(&self) {
        let runtime = self.runtime.as_ref().unwrap();
        for _ in 0..4 {
            runtime.block_on(runtime.spawn(async {})).unwrap();
        }
    }

    /// Drops the runtime with all its tasks, without waiting.
    pub fn cancel(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Waits for `count` terminal records and closes the output; gives all terminal records that were written.
    #[track_caller]
    pub fn ended(self, count: usize) -> Vec<Line> {
        self.records.terminals(count);
        self.sink.close("a test", PATIENCE);
        self.records.terminals(count)
    }

    /// Stops the server cleanly; gives all lines.
    #[track_caller]
    pub fn stop(mut self) -> Vec<Line> {
        self.stop.send(()).unwrap();
        let lines = super::eventually("the last record", || {
            let lines = self.records.lines();
            let is_over = lines
                .last()
                .is_some_and(|line| line.text("event") == "stopped");
            is_over.then_some(lines)
        });
        self.runtime
            .take()
            .unwrap()
            .shutdown_timeout(Duration::from_secs(1));
        lines
    }
}
