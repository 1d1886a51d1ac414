//! Calls one function of the proxy many times, so that `bench/instructions` can count its instructions.
//!
//! Its arguments are the name of a function and the number of calls.

use std::hint::black_box;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::Instant;
use wsgate::config::{ClientAddress, Log, LogFormat};
use wsgate::http::head;
use wsgate::reason::Level;
use wsgate::record::{Record, Settings, Sink};
use wsgate::tunnel::frame::{Extensions, Reader, Sender};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The program's own allocator, because its instructions count.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A browser's opening handshake.
const OPENING: &[u8] = b"GET /stream HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: https://app.example.com\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// A browser's plain request.
const GET: &[u8] = b"GET /api/state HTTP/1.1\r\nHost: app.example.com\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 \
    (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\nAccept: application/json\r\n\
    Referer: https://app.example.com/\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n";

/// The record of a tunnel that ended.
const CLOSED: &str = include_str!("closed.json");

/// The most bytes that the proxy reads at once.
const PIECE: usize = 16 * 1024;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(function), Some(calls)) = (arguments.next(), arguments.next()) else {
        return Err("expected the name of a function and the number of calls".into());
    };
    let calls = calls.parse()?;
    match function.as_str() {
        "head-opening" => heads(OPENING, calls),
        "head-get" => heads(GET, calls),
        "frames-small" => frames(128, calls),
        "frames-large" => frames(64 * 1024, calls),
        "record" => records(calls, true),
        // What `record` needs in addition to the function.
        "record-copy" => records(calls, false),
        _ => Err(format!("no function {function}").into()),
    }
}

/// Reads a request's head from one piece of bytes.
fn heads(bytes: &'static [u8], calls: usize) -> Result<(), Failure> {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_secs(3600);
        for _ in 0..calls {
            let mut stream = black_box(bytes);
            let mut read = Vec::new();
            let head = head::read(&mut stream, PIECE, deadline, &mut read).await;
            black_box(head.map_err(|error| format!("{error:?}"))?);
        }
        Ok(())
    })
}

/// Reads a client's frames with payloads of `size` bytes, in pieces as the proxy does.
fn frames(size: usize, calls: usize) -> Result<(), Failure> {
    let mut frame = match u16::try_from(size) {
        Ok(short) => [&[0x82, 0x80 | 126][..], &short.to_be_bytes()].concat(),
        Err(_) => [&[0x82, 0x80 | 127][..], &(size as u64).to_be_bytes()].concat(),
    };
    frame.extend([1, 2, 3, 4]);
    frame.resize(frame.len() + size, b'x');
    let mut reader = Reader::new(Sender::Client, Extensions::None);
    for _ in 0..calls {
        for piece in black_box(&frame).chunks(PIECE) {
            let mut rest = piece;
            loop {
                let (count, event) = reader.read(rest).map_err(|error| error.words())?;
                rest = rest.get(count..).unwrap_or_default();
                if black_box(event).is_none() {
                    break;
                }
            }
        }
    }
    let read = reader.messages();
    match usize::try_from(read)? == calls {
        true => Ok(()),
        false => Err(format!("{read} messages were read").into()),
    }
}

/// Writes the record of a tunnel's end as JSON, to nowhere.
fn records(calls: usize, are_written: bool) -> Result<(), Failure> {
    let record: Record = serde_json::from_str(CLOSED)?;
    let log = Log {
        level: Level::Info,
        format: LogFormat::Json,
        query_keep: Vec::new(),
        client_address: ClientAddress::Full,
    };
    let settings = Settings {
        log,
        is_terminal: false,
        instance: "app-1".to_owned(),
        hook: None,
    };
    let sink = Sink::start(std::io::sink(), settings)?;
    for _ in 0..calls {
        let record = black_box(record.clone());
        if are_written {
            sink.emit(record);
        }
    }
    sink.close("done", Duration::from_secs(60));
    Ok(())
}
