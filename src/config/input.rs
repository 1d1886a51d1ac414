//! Where the text of a configuration comes from: a file, standard input or a pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::awaited::AwaitedFile;
use super::problem::{Problem, Severity};
use super::syntax;

/// Largest file: far larger than any configuration needs, and small enough to parse again for each problem.
const LARGEST_FILE: u64 = 1024 * 1024;

/// How long the first byte of a pipe or of standard input may take: a template engine may have to start.
const FIRST_BYTE: Duration = Duration::from_secs(5);

/// How long each further piece may take.
const NEXT_BYTE: Duration = Duration::from_secs(30);

/// Names of standard input.
const STANDARD_INPUT: [&str; 4] = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/// Whether `path` can be read only once, and later changes are not visible: standard input, and anything else that is
/// neither a regular file nor a folder, such as a pipe. Relative paths in it start from the working directory.
#[must_use]
pub fn is_read_once(path: &Path) -> bool {
    is_standard_input(path)
        || fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn is_standard_input(path: &Path) -> bool {
    STANDARD_INPUT.iter().any(|name| path == Path::new(name))
}

/// The text at `path`.
///
/// # Errors
/// If it can't be read, is not UTF-8, or has more than 1 MiB.
pub(super) fn text_of(path: &Path) -> Result<String, Box<Problem>> {
    let refuse = |(line, column), message: &str, help: Option<&str>| {
        Box::new(Problem {
            severity: Severity::Error,
            file: path.to_owned(),
            line,
            column,
            site: String::new(),
            message: message.to_owned(),
            help: help.map(str::to_owned),
        })
    };
    let bytes = bytes_of(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => refuse(
            (1, 1),
            "found no such file",
            Some("name the file with --config"),
        ),
        ErrorKind::IsADirectory => refuse(
            (1, 1),
            "found a folder, expected a file",
            Some("name the file in it with --config"),
        ),
        ErrorKind::TimedOut => refuse(
            (1, 1),
            &format!("cannot read the configuration: {error}"),
            Some("check that the command at the other end of the pipe writes the configuration and ends"),
        ),
        _ => refuse((1, 1), &format!("cannot read the file: {error}"), None),
    })?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(refuse(
            (1, 1),
            "found more than 1 MiB, the limit for a configuration",
            None,
        ));
    }
    if bytes.is_empty() && is_read_once(path) {
        return Err(refuse(
            (1, 1),
            "found nothing: the input ended without a byte",
            Some("check that the command that writes the configuration succeeds"),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let before = String::from_utf8_lossy(before);
        refuse(
            syntax::position(&before, before.len()),
            "found a byte that is not UTF-8",
            Some("save the file as UTF-8"),
        )
    })
}

/// At most one byte more than the largest file has, so that a larger file is noticed.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let _awaited = AwaitedFile::begin(path);
    if is_standard_input(path) {
        // Not the buffered handle: `poll` does not see bytes in its buffer.
        return drained(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    }
    let found = fs::metadata(path)?;
    if found.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if found.is_file() {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let mut options = OpenOptions::new();
    options.read(true);
    if found.file_type().is_fifo() {
        // Otherwise opening a pipe waits for its writer, without a deadline.
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    }
    drained(options.open(path)?)
}

/// Reads to the end, and waits a bounded time for each piece.
fn drained(mut input: impl Read + AsFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while bytes.len() as u64 <= LARGEST_FILE {
        let patience = match bytes.is_empty() {
            true => FIRST_BYTE,
            false => NEXT_BYTE,
        };
        if !is_readable(&input, patience)? {
            let seconds = patience.as_secs();
            let what = match bytes.is_empty() {
                true => format!("no byte came within {seconds} s"),
                false => format!(
                    "nothing came for {seconds} s after {} bytes, and the input has not ended",
                    bytes.len()
                ),
            };
            return Err(io::Error::new(ErrorKind::TimedOut, what));
        }
        match input.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Whether a read gives bytes or the end within `patience`.
fn is_readable(input: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut fds = [PollFd::new(input, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&patience)) {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome? > 0),
        }
    }
}
