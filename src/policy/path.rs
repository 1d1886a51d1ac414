//! Paths: compared as raw bytes; what can be read in two ways is refused.
