//! Methods and paths: what of them can be sent again.

use std::fmt::Write;

use super::lines::cut;

/// What RFC 3986 forbids in a path or query though it is visible; `{` and `}` among it, so that
/// no recorded path looks like a template.
const FORBIDDEN: &[u8] = b"\"<>\\^`{|}";

/// The longest method, in bytes.
const METHOD_BYTES_MAX: usize = 32;

/// Reads `GET /a?b HTTP/1.0`, of which the protocol may be missing, as method and path.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) fn request_line(line: &[u8]) -> Result<(String, String), String> {
    let shown = || cut(&String::from_utf8_lossy(line));
    let mut parts = line.trim_ascii().splitn(2, |byte| *byte == b' ');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let method = std::str::from_utf8(first)
        .ok()
        .and_then(method)
        .ok_or_else(|| format!("`{}` is no request line", shown()))?;
    let target = match memchr::memmem::rfind(rest, b" HTTP/") {
        Some(end) => &rest[..end],
        None => rest,
    };
    let path = path(target).ok_or_else(|| format!("`{}` asks for no path", shown()))?;
    Ok((method, path))
}

/// A method in capitals; none where it is none.
pub(super) fn method(text: &str) -> Option<String> {
    let is_name = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    let fits = (1..=METHOD_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name);
    (fits && text.starts_with(|c: char| c.is_ascii_alphabetic())).then(|| text.to_ascii_uppercase())
}

/// The path and query of a request's target, be it a path or a whole address, without fragment.
/// None: it has none, as `*` and `host:443`.
pub(super) fn path(target: &[u8]) -> Option<String> {
    let target = target.trim_ascii();
    let target = target.split(|byte| *byte == b'#').next().unwrap_or_default();
    if target.starts_with(b"/") {
        return Some(encode(target));
    }
    let host = after(target, b"https://").or_else(|| after(target, b"http://"))?;
    match host.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(start) if host[start] == b'/' => Some(encode(&host[start..])),
        Some(start) => Some(format!("/{}", encode(&host[start..]))),
        None => Some("/".to_owned()),
    }
}

/// What follows a scheme, in whatever case it is written.
fn after<'a>(target: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Percent-encodes the bytes that can't be sent; what is encoded already stays so.
fn encode(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_graphic() && !FORBIDDEN.contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_become_paths() {
        for (target, expected) in [
            ("/", Some("/")),
            ("/a?b=c#d", Some("/a?b=c")),
            ("http://host/x", Some("/x")),
            ("HTTPS://host:8443?q=1", Some("/?q=1")),
            ("http://host", Some("/")),
            ("/a b/{é}%20", Some("/a%20b/%7B%C3%A9%7D%20")),
            ("*", None),
            ("host:443", None),
            ("", None),
        ] {
            assert_eq!(path(target.as_bytes()).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn request_lines() {
        let read = |line: &str| request_line(line.as_bytes());
        let is = |method: &str, path: &str| Ok((method.to_owned(), path.to_owned()));
        assert_eq!(read("GET /a HTTP/1.1"), is("GET", "/a"));
        assert_eq!(read("GET /a"), is("GET", "/a"));
        assert_eq!(read("PUT /a b HTTP/2.0"), is("PUT", "/a%20b"));
        assert_eq!(read("-"), Err("`-` is no request line".to_owned()));
        assert_eq!(
            read("OPTIONS * HTTP/1.1"),
            Err("`OPTIONS * HTTP/1.1` asks for no path".to_owned())
        );
        assert!(request_line(b"\x16\x03\x01").is_err());
    }
}
