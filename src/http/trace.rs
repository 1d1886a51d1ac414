//! Reads the trace that a request belongs to (W3C Trace Context, level 1, section 3.2).
//!
//! The fields themselves are forwarded unchanged, valid or not.

use http::header::HeaderMap;

/// The length of version, trace-id, parent-id and flags, with the dashes between them.
const LENGTH: usize = 55;

/// The trace-id in a request's `traceparent`: 32 lowercase hexadecimal digits. `None` if the field is absent, repeated
/// or invalid.
#[must_use]
pub fn trace_id(fields: &HeaderMap) -> Option<&str> {
    let mut values = fields.get_all("traceparent").iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (known, more) = value.split_at_checked(LENGTH)?;
    let parts: Vec<_> = known.split('-').collect();
    let [version, trace, parent, flags] = *parts.as_slice() else {
        return None;
    };
    let is_hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    // Later versions may append to these parts, but not drop any.
    let is_version = match version {
        "ff" => false,
        "00" => more.is_empty(),
        later => is_hex(later, 2) && (more.is_empty() || more.starts_with('-')),
    };
    (is_version && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn only_a_valid_traceparent_names_a_trace() {
        let at = |version: &str, rest: &str| format!("{version}-{TRACE}-00f067aa0ba902b7-01{rest}");
        for valid in [
            at("00", ""),
            at("01", ""),
            at("cc", "-what-the-future-will-be-like"),
            format!("00-{TRACE}-00f067aa0ba902b7-00"),
        ] {
            let fields = HeaderMap::from_iter([(
                "traceparent".parse().unwrap(),
                HeaderValue::from_str(&valid).unwrap(),
            )]);
            assert_eq!(trace_id(&fields), Some(TRACE), "{valid}");
        }
        for invalid in [
            String::new(),
            at("ff", ""),
            at("00", "-more"),
            at("01", "more"),
            at("0x", ""),
            at("00", "").to_uppercase(),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-0"),
            format!("00-{TRACE}-00f067aa0ba902b7-0g"),
            format!("00-{TRACE}0-0f067aa0ba902b7-01"),
            format!(" {}", at("00", "")),
            "-".repeat(55),
            "é".repeat(55),
        ] {
            let fields = HeaderMap::from_iter([(
                "traceparent".parse().unwrap(),
                HeaderValue::from_bytes(invalid.as_bytes()).unwrap(),
            )]);
            assert_eq!(trace_id(&fields), None, "{invalid}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append("traceparent", HeaderValue::from_str(&at("00", "")).unwrap());
        }
        assert_eq!(trace_id(&twice), None);
        assert_eq!(trace_id(&HeaderMap::new()), None);
    }
}
