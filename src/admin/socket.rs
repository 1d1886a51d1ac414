//! The unix socket of the admin service: only the proxy's user can open its file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Nobody but the user may read or write.
const OWN: u32 = 0o600;

/// A unix socket that listens.
#[derive(Debug)]
pub struct UnixDoor(UnixListener);

/// The file of a unix socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// The file, which another process may have replaced.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens on `path`. A file that a dead process left there is replaced. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If another process listens there, if the file is not a socket, or if the folder can't be written to.
    pub fn bind(path: &Path) -> io::Result<(Self, UnixDoor)> {
        match fs::symlink_metadata(path) {
            Ok(found) if !is_socket(&found) => {
                let why = "the file is not a socket; remove it, or choose another path";
                return Err(io::Error::other(why));
            }
            Ok(_) if Probe::connect(path).is_ok() => {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            Ok(_) | Err(_) => {}
        }
        // Under another name first, so that nobody can open it before its permissions are set.
        let mut unready = path.as_os_str().to_owned();
        unready.push(format!(".{}", std::process::id() % 100_000));
        let unready = PathBuf::from(unready);
        let _ = fs::remove_file(&unready);
        let listener = UnixListener::bind(&unready)?;
        let placed = fs::set_permissions(&unready, Permissions::from_mode(OWN))
            .and_then(|()| fs::rename(&unready, path))
            .and_then(|()| fs::symlink_metadata(path));
        match placed {
            Ok(file) => {
                let file = Self {
                    path: path.to_owned(),
                    identity: (file.dev(), file.ino()),
                };
                Ok((file, UnixDoor(listener)))
            }
            Err(error) => {
                let _ = fs::remove_file(&unready);
                Err(error)
            }
        }
    }

    /// Whether the file is still there, and is this one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let file = fs::symlink_metadata(&self.path);
        file.is_ok_and(|file| (file.dev(), file.ino()) == self.identity)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl UnixDoor {
    /// The next connection, and who it is from.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(super) async fn accept(&self) -> io::Result<(UnixStream, String)> {
        let (stream, _) = self.0.accept().await?;
        let user = stream.peer_cred().map(|peer| peer.uid());
        let from = match user {
            Ok(user) => format!("user {user} on this machine"),
            Err(_) => "this machine".to_owned(),
        };
        Ok((stream, from))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_socket(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    file.file_type().is_socket()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_file_is_private_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (file, door) = SocketFile::bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, OWN);
        // It is in use.
        let error = SocketFile::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let _client = Probe::connect(&path).unwrap();
        let (_, from) = door.accept().await.unwrap();
        assert!(from.starts_with("user "), "{from}");
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn only_what_a_dead_process_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = SocketFile::bind(&path).unwrap();
        // Somebody else put a socket there; it is not ours to remove.
        fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        let file = folder.path().join("notes");
        fs::write(&file, "text").unwrap();
        assert!(SocketFile::bind(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        assert!(SocketFile::bind(&folder.path().join("none/admin.sock")).is_err());
    }
}
