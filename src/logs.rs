//! Recorded traffic: access logs and browser recordings, read so that they can be replayed or
//! their sizes drawn from.
//!
//! [`parse()`] takes the bytes of a file, tells its format from its content and gives the requests
//! in the order of their times. It promises never to panic, whatever the bytes are, and to keep at
//! most [`REQUESTS_MAX`] requests; lines that are longer than [`LINE_BYTES_MAX`] or that it can't
//! read are skipped, counted, and the first of them is explained. How large a file may be, and
//! where it comes from, is left to the caller. [`label()`] groups paths, [`quantiles()`] condenses
//! sizes.

mod common;
mod error;
mod har;
mod json_lines;
mod label;
mod lines;
mod names;
mod quantiles;
mod target;
mod time;

use std::time::Duration;

pub use error::Error;
pub use label::label;
pub use quantiles::quantiles;

/// The most requests that are kept of a file.
pub const REQUESTS_MAX: usize = 5_000_000;

/// The longest line that is read, in bytes, without its end; a HAR file has no lines.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// One request as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// When, since the file's earliest request. Servers that log at a request's end mean that.
    /// None: the record has no time that can be read.
    pub at: Option<Duration>,
    /// The method, in capitals.
    pub method: String,
    /// The path with query: starts with `/`, and what may not stand in a request line is
    /// percent-encoded.
    pub path: String,
    /// The size of the request's body in bytes, where known.
    pub request_bytes: Option<u64>,
    /// The size of the answer's body in bytes, where known.
    pub response_bytes: Option<u64>,
    /// The answer's status, where known.
    pub status: Option<u16>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Common Log Format, the combined one and what else begins like them.
    Common,
    /// One JSON object a line.
    JsonLines,
    /// An HTTP Archive 1.2.
    Har,
}

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How it is written.
    pub format: Format,
    /// Its requests, earliest first, those without time last; else in the file's order.
    pub requests: Vec<Logged>,
    /// How many of its lines (of a HAR file: entries) were not kept. Blank lines don't count.
    pub skipped: u64,
    /// The first of these, counted from 1, and what is wrong with it.
    pub first_fault: Option<(u64, String)>,
}

/// Reads recorded traffic, whose format is told from the content.
///
/// # Errors
///
/// Fails if there is nothing in `text`, or no request in any known format.
pub fn parse(text: &[u8]) -> Result<Log, Error> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let Some(first) = lines::of(text).find(|(_, line)| !line.is_empty()) else {
        return Err(Error::Empty);
    };
    let har_fault = match har_of(text, first.1) {
        Some(Ok(kept)) if !kept.requests.is_empty() => return Ok(kept.finish(Format::Har)),
        Some(Ok(kept)) => return Err(Error::Har { fault: kept.why_none() }),
        Some(Err(fault)) => Some(fault),
        None => None,
    };
    let format = guess(text);
    let kept = match format {
        Format::JsonLines => lines::read(text, json_lines::parse),
        Format::Common | Format::Har => lines::read(text, common::parse),
    };
    match (kept.requests.is_empty(), har_fault) {
        (false, _) => Ok(kept.finish(format)),
        (true, Some(fault)) if har::looks_like(text) => Err(Error::Har { fault }),
        (true, _) => Err(Error::foreign(first.0, first.1, kept.why_none())),
    }
}

/// What comes of reading a file as HAR; none where it can't be one.
fn har_of(text: &[u8], first_line: &[u8]) -> Option<Result<Kept, String>> {
    first_line.starts_with(b"{").then(|| har::parse(&String::from_utf8_lossy(text)))
}

/// Which lines a file has: asks the first hundred, for servers print other things at their start.
fn guess(text: &[u8]) -> Format {
    let (mut json, mut common) = (0_u32, 0_u32);
    let mut objects = 0_u32;
    for (_, line) in lines::of(text).filter(|(_, line)| lines::is_readable(line)).take(100) {
        let line = String::from_utf8_lossy(line);
        objects += u32::from(line.starts_with('{'));
        json += u32::from(json_lines::parse(&line).is_ok());
        common += u32::from(common::parse(&line).is_ok());
    }
    if (json, objects) > (common, 0) { Format::JsonLines } else { Format::Common }
}

/// What a reader keeps; times are since 1970 until [`Kept::finish`].
#[derive(Debug)]
struct Kept {
    /// The most requests that are kept.
    most: usize,
    requests: Vec<Logged>,
    skipped: u64,
    first_fault: Option<(u64, String)>,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self { most, requests: Vec::new(), skipped: 0, first_fault: None }
    }

    /// Whether no further request is kept.
    fn is_full(&self) -> bool {
        self.requests.len() >= self.most
    }

    /// Takes what was read at `place`, from 1; its caller sees to it that there is room.
    fn take(&mut self, place: u64, read: Result<Logged, String>) {
        match read {
            Ok(request) => self.requests.push(request),
            Err(fault) => self.skip(place, || fault),
        }
    }

    /// Counts what came when no further request is kept.
    fn pass(&mut self, place: u64) {
        let most = self.most;
        self.skip(place, || format!("no more than {most} requests are kept"));
    }

    fn skip(&mut self, place: u64, fault: impl FnOnce() -> String) {
        self.skipped += 1;
        if self.first_fault.is_none() {
            self.first_fault = Some((place, fault()));
        }
    }

    /// Why there is no request.
    fn why_none(self) -> String {
        self.first_fault.map_or_else(|| "it has no entries".to_owned(), |(_, fault)| fault)
    }

    /// Orders the requests and counts their times from the earliest.
    fn finish(mut self, format: Format) -> Log {
        self.requests.sort_by_key(|request| (request.at.is_none(), request.at));
        if let Some(start) = self.requests.first().and_then(|request| request.at) {
            for at in self.requests.iter_mut().filter_map(|request| request.at.as_mut()) {
                *at = at.saturating_sub(start);
            }
        }
        let Self { requests, skipped, first_fault, .. } = self;
        Log { format, requests, skipped, first_fault }
    }
}

#[cfg(test)]
mod tests;
