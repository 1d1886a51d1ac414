//! A terminal for programs that behave differently on one.

use std::fs::File;
use std::io::Read;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Both ends of a terminal.
pub struct Terminal {
    screen: File,
    name: String,
}

impl Terminal {
    pub fn open() -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        Self {
            screen: File::from(screen),
            name: name.into_string().unwrap(),
        }
    }

    /// A program's end.
    pub fn end(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).open(&self.name).unwrap()
    }

    /// Where to write what a user types. Only `wsgate top` reads keys.
    #[cfg(feature = "top")]
    pub fn keyboard(&self) -> File {
        self.screen.try_clone().unwrap()
    }

    /// What programs have shown, until the last of them has closed its end. `saw` is called whenever there is more.
    pub fn watch(mut self, mut saw: impl FnMut(&str)) -> String {
        let mut shown = Vec::new();
        let mut piece = [0; 4096];
        // Reading fails when the last program has closed the terminal.
        while let Ok(count @ 1..) = self.screen.read(&mut piece) {
            shown.extend_from_slice(&piece[..count]);
            saw(&String::from_utf8_lossy(&shown));
        }
        String::from_utf8(shown).unwrap()
    }
}
