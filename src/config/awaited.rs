//! The file that the process is reading, to name it if a network file system never answers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Marks a file as being read, until this is dropped. The process reads one file at a time.
#[derive(Debug)]
pub struct AwaitedFile(());

impl AwaitedFile {
    /// To be called before the first system call for `file`.
    #[must_use]
    pub fn begin(file: &Path) -> Self {
        *lock() = Some(file.to_owned());
        Self(())
    }

    /// The file that is being read now, if any.
    #[must_use]
    pub fn current() -> Option<PathBuf> {
        lock().clone()
    }
}

impl Drop for AwaitedFile {
    fn drop(&mut self) {
        *lock() = None;
    }
}

fn lock() -> MutexGuard<'static, Option<PathBuf>> {
    FILE.lock().unwrap_or_else(PoisonError::into_inner)
}
