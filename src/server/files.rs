//! The files of a configuration: whether they have changed, and whether they are still being written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::config::{AwaitedFile, read_file};

/// What the files contained when they were read, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents(BTreeMap<PathBuf, Content>);

#[derive(Clone, Debug)]
struct Content {
    /// From before the file was read, so that a write in the meantime counts as a change; `None`: the file did not
    /// exist.
    stamp: Option<Stamp>,
    /// A hash that does not protect against an attacker who writes the file. An error: why it could not be
    /// read, or could be read only once.
    digest: Result<[u8; 20], String>,
}

/// The facts that change when a file is written, replaced or linked to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Contents are equal if the same files had the same content.
impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        let digests = |of: &Self| -> Vec<_> {
            let files = of.0.iter();
            files
                .map(|(file, content)| (file.clone(), content.digest.clone()))
                .collect()
        };
        digests(self) == digests(other)
    }
}

impl Contents {
    /// Reads all of them.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let content = |file: PathBuf| {
            let content = Content {
                stamp: stamp(&file),
                digest: read_file(&file)
                    .map(|bytes| Sha1::digest(bytes).into())
                    .map_err(|error| error.to_string()),
            };
            (file, content)
        };
        Self(files.into_iter().map(content).collect())
    }

    /// Adds the contents of `others`, which replace those of the same files.
    pub fn with(mut self, others: &Self) -> Self {
        self.0.extend(others.0.clone());
        self
    }

    /// The names of the files.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// Whether all of `files` could be read and had the same content in `other`.
    pub fn are_same<'a>(&self, other: &Self, files: impl IntoIterator<Item = &'a PathBuf>) -> bool {
        let digest = |of: &Self, file| of.0.get(file)?.digest.clone().ok();
        let mut files = files.into_iter();
        files.all(|file| digest(self, file).is_some_and(|now| digest(other, file) == Some(now)))
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let _awaited = AwaitedFile::begin(file);
    let found = fs::metadata(file).ok()?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// Looks at files at intervals, without reading them.
///
/// A name is followed through symbolic links each time. So a link that points elsewhere later, as Kubernetes does with
/// mounted config maps and secrets, counts as a change.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The files when they were read.
    read: Stamps,
    /// The files at the last look.
    seen: Stamps,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

impl Watch {
    /// Watches these files from now on. A difference from when they were read is a change.
    pub fn follow(&mut self, contents: &Contents) {
        let files = contents.0.iter();
        self.read = files
            .map(|(file, content)| (file.clone(), content.stamp))
            .collect();
        self.seen.clone_from(&self.read);
    }

    /// Whether the last look found them as they were read.
    pub fn is_quiet(&self) -> bool {
        self.seen == self.read
    }

    /// Looks again. Returns whether they differ from when they were read and have not changed since the last look: a
    /// file that is still being written is left alone.
    pub fn has_settled(&mut self) -> bool {
        let files = self.read.keys();
        let now: Stamps = files.map(|file| (file.clone(), stamp(file))).collect();
        let is_settled = now == self.seen && now != self.read;
        self.seen = now;
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::default();
        watch.follow(&Contents::of([file.clone()]));
        assert!(!watch.has_settled());
        fs::write(&file, "ab").unwrap();
        assert!(!watch.has_settled(), "it may still be written");
        fs::write(&file, "abc").unwrap();
        assert!(!watch.has_settled(), "it was");
        assert!(watch.has_settled());
        watch.follow(&Contents::of([file.clone()]));
        assert!(!watch.has_settled());
        fs::remove_file(&file).unwrap();
        assert!(!watch.has_settled());
        assert!(watch.has_settled(), "it is gone");
    }

    #[test]
    fn a_link_that_is_turned_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["..1", "..2"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("proxy.yaml"), name).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/proxy.yaml", at("proxy.yaml")).unwrap();
        let files = [at("proxy.yaml")];
        let before = Contents::of(files.clone());
        let mut watch = Watch::default();
        watch.follow(&before);
        symlink("..2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        assert!(!watch.has_settled());
        assert!(watch.has_settled());
        assert!(!Contents::of(files.clone()).are_same(&before, &files));
    }

    #[test]
    fn what_can_not_be_read_is_not_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("missing.pem")];
        let contents = Contents::of(files.clone());
        assert!(!contents.are_same(&contents, &files));
        assert!(contents.are_same(&contents, []));
    }
}
