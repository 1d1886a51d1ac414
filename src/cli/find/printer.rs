//! Prints records on a thread of its own, because writing their text takes as long as reading them.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::Format;
use crate::cli::records::safe;
use crate::record::line;

/// How many bytes of records are handed over at once.
const PIECE: usize = 64 * 1024;

/// How many pieces may wait.
const WAITING: usize = 8;

/// Standard output for records.
pub(super) struct Printer {
    /// Records in JSON, each with a line end.
    piece: String,
    pieces: SyncSender<Piece>,
    thread: JoinHandle<io::Result<()>>,
}

enum Piece {
    Records(String),
    /// Everything before it is printed when this is told.
    Told(SyncSender<()>),
}

/// Nothing more can be written; [`Printer::finish`] says why.
#[derive(Debug)]
pub(super) struct Broken;

impl Printer {
    pub(super) fn start(format: Format, layout: line::Layout) -> Self {
        let (pieces, receiver) = sync_channel(WAITING);
        Self {
            piece: String::new(),
            pieces,
            thread: thread::spawn(move || print(&receiver, format, layout)),
        }
    }

    /// Prints a record.
    pub(super) fn print(&mut self, json: &str) -> Result<(), Broken> {
        // Between the fields there may be line ends, which mean nothing.
        match memchr::memchr2(b'\n', b'\r', json.as_bytes()) {
            None => self.piece.push_str(json),
            Some(_) => self.piece.push_str(&json.replace(['\n', '\r'], " ")),
        }
        self.piece.push('\n');
        match self.piece.len() < PIECE {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Prints what was held back.
    pub(super) fn flush(&mut self) -> Result<(), Broken> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.pieces.send(Piece::Records(piece)).map_err(|_| Broken)
    }

    /// Waits until everything so far is printed.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        self.flush()?;
        let (told, done) = sync_channel(1);
        self.pieces.send(Piece::Told(told)).map_err(|_| Broken)?;
        done.recv().map_err(|_| Broken)
    }

    /// Waits until everything is printed.
    ///
    /// # Errors
    /// Why the output is not complete.
    pub(super) fn finish(mut self) -> io::Result<()> {
        // The thread tells what is wrong.
        let _ = self.flush();
        drop(self.pieces);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the printing thread panicked")))
    }
}

fn print(pieces: &Receiver<Piece>, format: Format, layout: line::Layout) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(PIECE, io::stdout().lock());
    for piece in pieces {
        let piece = match piece {
            Piece::Records(piece) => piece,
            Piece::Told(done) => {
                // Who asked may have gone.
                let _ = done.send(());
                continue;
            }
        };
        for json in piece.lines() {
            let text = match format {
                Format::Json => Cow::Borrowed(json),
                Format::Text => Cow::Owned(line::text(json, layout).unwrap_or_default()),
            };
            output.write_all(safe(&text).as_bytes())?;
            output.write_all(b"\n")?;
        }
        output.flush()?;
    }
    Ok(())
}
