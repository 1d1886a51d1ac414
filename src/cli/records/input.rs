//! Where records come from: files, also compressed ones, and standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

use crate::text::shown;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// Longer lines are not records.
const LONGEST: u64 = 1 << 20;

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The window of zstd that is accepted, as a power of two: what its levels up to 19 need, and some more.
const WINDOW: u32 = 25;

/// How content is compressed.
enum Compression {
    Gzip,
    Zstd,
    /// By a program with this name.
    Unknown(&'static str),
}

/// From the first bytes: gzip (RFC 1952), zstd with or without a skippable frame in front (RFC 8878), and others.
fn compression(first: &[u8]) -> Option<Compression> {
    match first {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(Compression::Zstd)
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some(Compression::Unknown("xz")),
        [b'B', b'Z', b'h', ..] => Some(Compression::Unknown("bzip2")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some(Compression::Unknown("lz4")),
        _ => None,
    }
}

/// A place to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Source {
    Stdin,
    File(PathBuf),
}

impl Source {
    /// The source that an argument names; `-` is standard input.
    pub(in crate::cli) fn named(path: PathBuf) -> Self {
        match path.as_os_str() == "-" {
            true => Self::Stdin,
            false => Self::File(path),
        }
    }

    /// Its name for messages.
    pub(in crate::cli) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => shown(&path.display().to_string(), 256),
        }
    }

    /// Whether it can be read more than once.
    pub(in crate::cli) fn is_regular(&self) -> bool {
        match self {
            Self::Stdin => false,
            Self::File(path) => path.metadata().is_ok_and(|found| found.is_file()),
        }
    }

    /// Opens it.
    pub(in crate::cli) fn open(&self) -> io::Result<Lines> {
        match self {
            Self::Stdin => Lines::of(io::stdin().lock()),
            Self::File(path) => Lines::of(open(path)?),
        }
    }

    /// Opens it to follow it: a file's end is not the end.
    pub(in crate::cli) fn follow(&self) -> io::Result<Lines> {
        match self {
            Self::Stdin => self.open(),
            Self::File(_) if !self.is_regular() => self.open(),
            Self::File(path) => {
                let mut file = open(path)?;
                let mut first = [0; 6];
                let read = file.read(&mut first)?;
                if compression(first.get(..read).unwrap_or_default()).is_some() {
                    return Err(io::Error::other("a compressed file can't be followed"));
                }
                file.rewind()?;
                let reader = Tail {
                    inode: file.metadata()?.ino(),
                    path: path.clone(),
                    file,
                    read: 0,
                };
                Ok(Lines(Box::new(BufReader::with_capacity(CHUNK, reader))))
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::Error::other(
            "this is a folder; name the files in it, such as records/*",
        )),
        false => Ok(file),
    }
}

/// The lines of a source.
pub(in crate::cli) struct Lines(Box<dyn Buffered>);

/// A reader that tells what it holds.
trait Buffered: BufRead {
    fn held(&self) -> &[u8];
}

impl<R: Read> Buffered for BufReader<R> {
    fn held(&self) -> &[u8] {
        self.buffer()
    }
}

/// The outcome of reading a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Line {
    Whole,
    /// It is longer than a record can be, and was left out.
    TooLong,
    /// There are no more lines.
    End,
}

impl Lines {
    /// Lines of `raw`. Compressed content is recognised by its first bytes, whatever a file's name is.
    pub(in crate::cli) fn of(raw: impl Read + 'static) -> io::Result<Self> {
        let mut raw = BufReader::with_capacity(CHUNK, raw);
        let reader: Box<dyn Read> = match compression(raw.fill_buf()?) {
            None => return Ok(Self(Box::new(raw))),
            Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(raw)),
            Some(Compression::Zstd) => {
                let mut decoder = zstd::Decoder::with_buffer(raw)?;
                decoder.window_log_max(WINDOW)?;
                Box::new(decoder)
            }
            Some(Compression::Unknown(name)) => {
                return Err(io::Error::other(format!(
                    "{name} is not supported; unpack it first, as in `{name} -dc FILE | wsgate find`"
                )));
            }
        };
        Ok(Self(Box::new(BufReader::with_capacity(CHUNK, reader))))
    }

    /// Whether the next line has already been read, so that it does not have to be waited for.
    pub(in crate::cli) fn has_next(&self) -> bool {
        memchr::memchr(b'\n', self.0.held()).is_some()
    }

    /// Reads the next line into `line`, without its end.
    pub(in crate::cli) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        if (&mut self.0).take(LONGEST).read_until(b'\n', line)? == 0 {
            return Ok(Line::End);
        }
        if line.pop_if(|last| *last == b'\n').is_some() {
            line.pop_if(|last| *last == b'\r');
            return Ok(Line::Whole);
        }
        if (line.len() as u64) < LONGEST {
            return Ok(Line::Whole);
        }
        line.clear();
        self.0.skip_until(b'\n')?;
        Ok(Line::TooLong)
    }
}

/// The content of a file that is still written, and of the one that takes its place.
struct Tail {
    path: PathBuf,
    file: File,
    inode: u64,
    read: u64,
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.file.read(buffer)?;
            if read > 0 {
                self.read = self.read.saturating_add(read as u64);
                return Ok(read);
            }
            if self.file.metadata()?.len() < self.read {
                // It was emptied, as logrotate's copytruncate does.
                self.restart(open(&self.path)?)?;
                continue;
            }
            // The file may be missing for a moment, until the next one is made.
            match open(&self.path) {
                Ok(file) if file.metadata()?.ino() != self.inode => {
                    // The last lines may have come after the last read.
                    match self.file.read(buffer)? {
                        0 => self.restart(file)?,
                        read => {
                            self.read = self.read.saturating_add(read as u64);
                            return Ok(read);
                        }
                    }
                }
                Ok(_) | Err(_) => sleep(POLL),
            }
        }
    }
}

impl Tail {
    fn restart(&mut self, file: File) -> io::Result<()> {
        self.inode = file.metadata()?.ino();
        self.file = file;
        self.read = 0;
        Ok(())
    }
}
