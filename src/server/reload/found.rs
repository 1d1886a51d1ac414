//! Compares the current content of the files with what is in use.

use std::sync::Arc;

use crate::server::files::Contents;
use crate::server::materials::Piece;
use crate::server::materials::Purpose;
use crate::server::plan::{Plan, Refused};

/// Why the files are read again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Because {
    Signal,
    Change,
    /// A certificate has waited for this moment.
    Time,
}

impl Because {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::Change => "files changed",
            Self::Time => "a certificate was due",
        }
    }
}

/// What was found in the files.
pub struct Found {
    pub file: File,
    /// The current configuration with its other files, if it stays.
    pub others: Option<(Plan, Vec<Piece>)>,
    /// Everything that was read.
    pub looked: Contents,
}

/// What was found in the configuration file.
pub enum File {
    Same,
    /// The same that was rejected before.
    StillRefused(Contents),
    Refused(Refused),
    /// A configuration with the outcome for the other files.
    New(Arc<Plan>, Vec<Piece>),
}

impl Found {
    /// Reads again the files of `plan`, and of what was `refused` last if that file is still the same.
    pub fn at(plan: &Plan, refused: Option<&Contents>, because: Because) -> Self {
        let text = Contents::of(plan.text.files().cloned());
        let again = refused.map(|refused| Contents::of(refused.files().cloned()));
        let is_still = because != Because::Signal && again.as_ref() == refused;
        let (file, looked) = if text == plan.text {
            (File::Same, text)
        } else if let Some(again) = again.filter(|_| is_still) {
            (File::StillRefused(again.clone()), text.with(&again))
        } else {
            match Plan::read(&plan.file, Purpose::Run, Some(plan)) {
                Ok((new, pieces)) => {
                    let looked = new.text.clone().with(&new.materials.contents);
                    (File::New(Arc::new(new), pieces), looked)
                }
                Err(refused) => {
                    let looked = refused.contents.clone();
                    (File::Refused(refused), looked)
                }
            }
        };
        let others = match file {
            File::New(..) => None,
            _ => Some(plan.renewed()),
        };
        // A file that is in both was read twice. The first content is kept, so that a later change is noticed.
        let looked = match &others {
            Some((renewed, _)) => renewed.materials.contents.clone().with(&looked),
            None => looked,
        };
        Self {
            file,
            others,
            looked,
        }
    }
}
