//! HTTP Archives, as browsers and proxies export them.
//!
//! Source: the HAR 1.2 specification (`http://www.softwareishard.com/blog/har-12-spec/`). Only what
//! is needed is kept while reading: bodies, which make most of a file, are measured and passed
//! over. The specification writes -1 for sizes that aren't known; negative ones count as absent.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::lines::cut;
use super::{Kept, Logged, REQUESTS_MAX, target, time};

/// Whether a file begins as an archive does, be it readable or not.
pub(super) fn looks_like(text: &[u8]) -> bool {
    let mut rest = text.trim_ascii_start();
    [&b"{"[..], b"\"log\"", b":", b"{"].iter().all(|token| match rest.strip_prefix(*token) {
        Some(after) => {
            rest = after.trim_ascii_start();
            true
        }
        None => false,
    })
}

/// Reads an archive; faults are placed by their entry.
///
/// # Errors
///
/// Says why it is none.
pub(super) fn parse(text: &str) -> Result<Kept, String> {
    serde_json::from_str::<Archive>(text)
        .map(|archive| archive.log.entries.0)
        .map_err(|why| why.to_string())
}

#[derive(Deserialize)]
struct Archive {
    log: Content,
}

#[derive(Deserialize)]
struct Content {
    entries: Entries,
}

/// The entries, each condensed as soon as it is read.
struct Entries(Kept);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Entries, A::Error> {
        let mut kept = Kept::new(REQUESTS_MAX);
        for place in 1.. {
            if kept.is_full() {
                match entries.next_element::<IgnoredAny>()? {
                    Some(_) => kept.pass(place),
                    None => break,
                }
            } else {
                match entries.next_element::<Entry>()? {
                    Some(entry) => kept.take(place, logged(entry)),
                    None => break,
                }
            }
        }
        Ok(Entries(kept))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    started_date_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request: Request<'a>,
    #[serde(default)]
    response: Option<Response>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(default)]
    body_size: Option<f64>,
    #[serde(default)]
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: Option<TextLength>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    status: Option<f64>,
    #[serde(default)]
    body_size: Option<f64>,
    #[serde(default)]
    content: Option<Measured>,
}

#[derive(Deserialize)]
struct Measured {
    #[serde(default)]
    size: Option<f64>,
}

/// The length of a text in bytes, without the text.
struct TextLength(u64);

impl<'de> Deserialize<'de> for TextLength {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // As bytes, for a text may hold half of a surrogate pair, which is no text to Rust.
        from.deserialize_bytes(LengthVisitor)
    }
}

struct LengthVisitor;

impl Visitor<'_> for LengthVisitor {
    type Value = TextLength;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a text")
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<TextLength, E> {
        Ok(TextLength(text.len() as u64))
    }
}

/// What an entry says.
fn logged(entry: Entry<'_>) -> Result<Logged, String> {
    let Entry { started_date_time, request, response } = entry;
    let method = target::method(&request.method)
        .ok_or_else(|| format!("`{}` is no method", cut(&request.method)))?;
    let path = target::path(request.url.as_bytes())
        .ok_or_else(|| format!("`{}` is no address of HTTP", cut(&request.url)))?;
    let text_bytes = request.post_data.and_then(|data| data.text).map(|text| text.0);
    Ok(Logged {
        at: started_date_time.and_then(|text| time::any(&text)),
        method,
        path,
        // Some exporters write 0 beside a body.
        request_bytes: request.body_size.and_then(whole).max(text_bytes),
        response_bytes: response.as_ref().and_then(response_bytes),
        status: response.and_then(|response| status(response.status?)),
    })
}

/// The size of the answer's body as it came, else as it was unpacked.
fn response_bytes(response: &Response) -> Option<u64> {
    let unpacked = || whole(response.content.as_ref()?.size?);
    response.body_size.and_then(whole).or_else(unpacked)
}

fn status(status: f64) -> Option<u16> {
    let status = u16::try_from(whole(status)?).ok()?;
    (100..=999).contains(&status).then_some(status)
}

/// A number that JSON may have written as a fraction; none where it is negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole(number: f64) -> Option<u64> {
    (0.0..1e15).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rest: &str) -> Result<Logged, String> {
        logged(serde_json::from_str(rest).unwrap())
    }

    #[test]
    fn unknown_sizes_are_taken_from_elsewhere_or_none() {
        let bare = entry(r#"{"request":{"method":"GET","url":"https://h/"}}"#).unwrap();
        assert_eq!((bare.request_bytes, bare.response_bytes, bare.status), (None, None, None));
        let sized = entry(
            r#"{"request":{"method":"PUT","url":"http://h/a","bodySize":-1,
                "postData":{"mimeType":"text/plain","text":"\u00e9\n\ud800"}},
                "response":{"status":0,"bodySize":-1,"content":{"size":77,"text":"x"}}}"#,
        );
        let sized = sized.unwrap();
        assert_eq!(
            (sized.request_bytes, sized.response_bytes, sized.status),
            (Some(6), Some(77), None)
        );
    }

    #[test]
    fn what_is_not_http_is_a_fault() {
        let fault = entry(r#"{"request":{"method":"GET","url":"data:text/plain,x"}}"#);
        assert_eq!(fault.unwrap_err(), "`data:text/plain,x` is no address of HTTP");
    }

    #[test]
    fn the_beginning_tells_an_archive() {
        assert!(looks_like(b"{\n \"log\" : {\"version\""));
        assert!(!looks_like(br#"{"log":"a line"}"#));
    }
}
