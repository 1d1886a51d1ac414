//! Origins (RFC 6454): compared as tuples, never as substrings.
