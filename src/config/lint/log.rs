//! Records that a level silences.

use super::super::Config;
use super::Notes;
use crate::reason::Level;

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    let silenced = match config.log.level {
        Level::Debug | Level::Info => return,
        Level::Warn => {
            "no record is written of the refusals that clients cause, such as origin_not_allowed and path_not_allowed, of \
             plain requests, and of tunnels that end in order"
        }
        Level::Error => {
            "no record is written of refusals, of plain requests and of the ends of tunnels, also where the upstream or \
             the network caused them: only those of the proxy's own faults are"
        }
    };
    notes.warn(
        "log.level",
        format!("at {} {silenced}; they are only counted", config.log.level.name()),
        "write info, under which a flood of refusals is shortened by itself, or watch the metrics and switch to info to \
         find a cause; a reload is enough for that",
    );
}
