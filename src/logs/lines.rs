//! The lines of a file, and what of a line is shown.

use super::{Kept, LINE_BYTES_MAX, Logged, REQUESTS_MAX};

/// The most characters of foreign text in a message.
const SHOWN_CHARS_MAX: usize = 80;

/// A file's lines, numbered from 1, without the white space around them.
pub(super) fn of(text: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let ends = memchr::memchr_iter(b'\n', text).chain(std::iter::once(text.len()));
    let mut start = 0;
    (1..).zip(ends.map(move |end| {
        let line = &text[start..end];
        start = end + 1;
        line.trim_ascii()
    }))
}

/// Whether a line has something in it and not too much.
pub(super) fn is_readable(line: &[u8]) -> bool {
    !line.is_empty() && line.len() <= LINE_BYTES_MAX
}

/// Reads each line of a file that is not blank.
pub(super) fn read(text: &[u8], parse: fn(&str) -> Result<Logged, String>) -> Kept {
    read_most(text, parse, REQUESTS_MAX)
}

/// The same, with another bound.
pub(super) fn read_most(
    text: &[u8],
    parse: fn(&str) -> Result<Logged, String>,
    most: usize,
) -> Kept {
    let mut kept = Kept::new(most);
    for (number, line) in of(text).filter(|(_, line)| !line.is_empty()) {
        if kept.is_full() {
            kept.pass(number);
        } else if !is_readable(line) {
            kept.skip(number, || format!("it is longer than {LINE_BYTES_MAX} bytes"));
        } else {
            kept.take(number, parse(&String::from_utf8_lossy(line)));
        }
    }
    kept
}

/// The beginning of a text, fit for a message: short and without control characters.
pub(super) fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String = chars
        .by_ref()
        .take(SHOWN_CHARS_MAX)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}
