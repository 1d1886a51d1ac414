//! Levels that leave out important records.

use super::super::Config;
use super::Notes;
use crate::reason::Level;

pub(super) fn lint(config: &Config, notes: &mut Notes<'_, '_>) {
    let silenced = match config.log.level {
        Level::Debug | Level::Info => return,
        Level::Warn => {
            "there are no records of refusals that clients cause (such as origin_not_allowed and path_not_allowed), \
             of plain requests, or of tunnels that end normally"
        }
        Level::Error => {
            "only faults of the proxy itself are recorded: there are no records of refusals, plain requests and ends \
             of tunnels, even if the upstream or the network caused them"
        }
    };
    notes.warn(
        "log.level",
        format!("at {} {silenced}; they are only counted", config.log.level.name()),
        "write info, which limits the records of a flood of refusals automatically; or watch the metrics, and reload \
         with info to find a cause",
    );
}
