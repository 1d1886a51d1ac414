//! The ids of connections, and of their streams over HTTP/2.

use std::borrow::Cow;

/// The id that stands for one request: `CONN`, or over HTTP/2 `CONN-STREAM`, such as `4a075b1400000001-5`.
#[must_use]
pub fn full(conn: &str, stream_id: Option<u32>) -> Cow<'_, str> {
    match stream_id {
        None => Cow::Borrowed(conn),
        Some(stream_id) => Cow::Owned(format!("{conn}-{stream_id}")),
    }
}

/// Whether `id` names this stream of the connection, or the whole connection.
#[must_use]
pub fn names(id: &str, conn: &str, stream_id: Option<u32>) -> bool {
    if conn.is_empty() || !id.starts_with(conn) {
        return false;
    }
    id == conn || stream_id.is_some() && id == full(conn, stream_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_a_connection_or_one_of_its_streams() {
        for (id, conn, stream_id, is_named) in [
            ("c1", "c1", None, true),
            ("c1", "c1", Some(5), true),
            ("c1-5", "c1", Some(5), true),
            ("c1-5", "c1", Some(3), false),
            ("c1-5", "c1", Some(55), false),
            ("c1-55", "c1", Some(5), false),
            ("c1-05", "c1", Some(5), false),
            ("c1-", "c1", Some(5), false),
            ("c1-5", "c1", None, false),
            ("c1-5", "c", Some(5), false),
            ("c", "c1", Some(5), false),
            ("-5", "", Some(5), false),
            ("", "", None, false),
        ] {
            let found = names(id, conn, stream_id);
            assert_eq!(found, is_named, "{id} {conn} {stream_id:?}");
        }
        assert_eq!(full("c1", None), "c1");
        assert_eq!(full("c1", Some(5)), "c1-5");
    }
}
