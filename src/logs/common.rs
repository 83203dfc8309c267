//! The Common Log Format and the combined one: `host ident user [time] "request" status bytes`,
//! after which a referrer, an agent and anything else may follow.
//!
//! Sources: Apache's `mod_log_config` (`%h %l %u %t "%r" %>s %b`; it escapes quotes, backslashes
//! and what is not printable with a backslash, and writes `-` for an answer without a body) and
//! nginx's `ngx_http_log_module` (`combined`; it escapes as `\xHH`). What follows the bytes can't
//! be told without the server's configuration and is left alone, so the request's size is unknown.

use super::lines::cut;
use super::{Logged, target, time};

/// The longest time in brackets, in bytes.
const TIME_BYTES_MAX: usize = 40;

/// Reads a line.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) fn parse(line: &str) -> Result<Logged, String> {
    let (at, rest) = timed(line).ok_or("it has no time in brackets before its request")?;
    let (request, rest) = quoted(rest).ok_or("the quotes around its request don't close")?;
    let (method, path) = target::request_line(&unescape(request))?;
    let mut fields = rest.split_ascii_whitespace();
    let status = fields.next().ok_or("it ends before its status")?;
    let response_bytes = fields.next().map(size).transpose()?;
    Ok(Logged {
        at: Some(at),
        method,
        path,
        request_bytes: None,
        response_bytes,
        status: status_of(status)?,
    })
}

/// The time, and what follows the quote that opens the request. Host and user come before and may
/// hold brackets, so the first pair with a time in it counts.
fn timed(line: &str) -> Option<(std::time::Duration, &str)> {
    memchr::memchr_iter(b'[', line.as_bytes()).find_map(|open| {
        let rest = &line[open + 1..];
        let head = rest.as_bytes().get(..TIME_BYTES_MAX).unwrap_or(rest.as_bytes());
        let close = memchr::memchr(b']', head)?;
        let request = rest[close + 1..].trim_start().strip_prefix('"')?;
        Some((time::any(&rest[..close])?, request))
    })
}

/// Splits at the first quote that no backslash escapes.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let close = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((&text[..close], &text[close + 1..]))
}

/// Undoes `\"`, `\\`, `\n`, `\r`, `\t` and `\xHH`; other backslashes stand for themselves.
fn unescape(text: &str) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'x', high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, after),
                _ => (b'\\', &rest[1..]),
            },
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [byte @ (b'"' | b'\\'), after @ ..]) | (byte, after) => (*byte, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Reads a status; `-` and `000` stand for none.
fn status_of(text: &str) -> Result<Option<u16>, String> {
    match text {
        "-" | "000" => Ok(None),
        _ => match text.parse() {
            Ok(status @ 100..=999) => Ok(Some(status)),
            _ => Err(format!("its status `{}` is none", cut(text))),
        },
    }
}

/// Reads the size of the answer's body in bytes.
fn size(text: &str) -> Result<u64, String> {
    match text {
        "-" => Ok(0),
        _ => text.parse().map_err(|_| format!("its size `{}` is no number of bytes", cut(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> String {
        parse(line).unwrap_err()
    }

    #[test]
    fn odd_but_right_lines() {
        for (line, method, path, bytes, status) in [
            (
                r#"[::1] - a [b] c [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 304 -"#,
                "GET",
                "/",
                Some(0),
                Some(304),
            ),
            (
                r#"h - - [10/Oct/2000:13:55:36 -0700] "GET /\"x\\\xc3\xa9 HTTP/1.1" 200 5 "-" "a""#,
                "GET",
                "/%22x%5C%C3%A9",
                Some(5),
                Some(200),
            ),
            (
                r#"h - - [10/Oct/2000:13:55:36 -0700] "POST http://h/x?y HTTP/1.1" - 5 "-" "a" 0.1 9"#,
                "POST",
                "/x?y",
                Some(5),
                None,
            ),
            (
                r#"v:80 h - - [2000-10-10T13:55:36-07:00] "HEAD /" 200"#,
                "HEAD",
                "/",
                None,
                Some(200),
            ),
        ] {
            let logged = parse(line).unwrap();
            assert_eq!(logged.at, Some(std::time::Duration::from_secs(971_211_336)), "{line}");
            assert_eq!((logged.method.as_str(), logged.path.as_str()), (method, path), "{line}");
            assert_eq!((logged.response_bytes, logged.status), (bytes, status), "{line}");
            assert_eq!(logged.request_bytes, None);
        }
    }

    #[test]
    fn faults_name_what_is_wrong() {
        let with = |rest: &str| format!("h - - [10/Oct/2000:13:55:36 -0700] {rest}");
        assert_eq!(fault("hello"), "it has no time in brackets before its request");
        assert_eq!(fault(&with("GET /")), "it has no time in brackets before its request");
        assert_eq!(fault(&with("\"GET /")), "the quotes around its request don't close");
        assert_eq!(fault(&with("\"-\" 408 0")), "`-` is no request line");
        assert_eq!(fault(&with("\"GET /\"")), "it ends before its status");
        assert_eq!(fault(&with("\"GET /\" abc 0")), "its status `abc` is none");
        assert_eq!(fault(&with("\"GET /\" 200 0.5")), "its size `0.5` is no number of bytes");
    }

    #[test]
    fn many_brackets_cost_little() {
        let line = "[".repeat(64 * 1024);
        assert!(parse(&line).is_err());
        assert!(parse(&line.replace("[[", "[]")).is_err());
    }
}
