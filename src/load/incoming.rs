//! An answer as it arrives, piece by piece: RFC 9112, without any socket.
//!
//! Nothing of a body is kept here, and of a head no more than [`HEAD_BYTES_MAX`]. What is
//! malformed, ambiguous or endless where it must not be ends in [`Malformed`].

use std::mem::MaybeUninit;

use crate::plan::Budget;
use httparse::{Header, ParserConfig, Response, Status};

/// The longest head of an answer, and the longest trailer and chunk extensions of a body.
const HEAD_BYTES_MAX: usize = Budget::ANSWER_HEAD;
/// The most header lines of an answer.
const HEADERS_MAX: usize = Budget::ANSWER_HEADERS;

/// What arrives is no HTTP/1.x answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes what an answer consists of.
pub(super) trait Sink {
    /// The head of the final answer; earlier ones (1xx) are not shown.
    fn head(&mut self, status: u16, headers: &[Header<'_>]);
    /// A piece of the body, without any coding for the transfer.
    fn body(&mut self, bytes: &[u8]);
}

/// One answer on its way.
#[derive(Debug)]
pub(super) struct Incoming {
    state: State,
    /// The head as far as it has come, where it doesn't come in one piece.
    head: Vec<u8>,
    bodiless: bool,
    may_switch: bool,
    persists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of the body are to come.
    Counted(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// Where in a chunked body the next byte belongs (RFC 9112, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chunked {
    at: Part,
    /// The size of the present chunk as far as it was read, and then what is left of it.
    left: u64,
    /// Bytes that are neither sizes nor data.
    overhead: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before the first digit of a size.
    Size,
    Digits,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line of the trailer.
    Trailer,
    TrailerLine,
    TrailerEnd,
    LastLf,
}

impl Incoming {
    /// An answer to come; to a HEAD request it is `bodiless`, whatever its head says. It
    /// `may_switch` to another protocol only where the request asks for that.
    pub(super) const fn new(bodiless: bool, may_switch: bool) -> Self {
        Self { state: State::Head, head: Vec::new(), bodiless, may_switch, persists: false }
    }

    /// Takes in what has arrived; tells whether the answer is whole.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<bool, Malformed> {
        let mut rest = bytes;
        let joined;
        if self.state == State::Head && !self.head.is_empty() {
            self.head.extend_from_slice(bytes);
            if !bytes.contains(&b'\n') {
                return self.bounded();
            }
            joined = std::mem::take(&mut self.head);
            rest = &joined;
        }
        while !rest.is_empty() && self.state != State::Done {
            rest = match self.state {
                State::Head => match self.read_head(rest, sink)? {
                    Some(used) => &rest[used..],
                    None => {
                        self.head = rest.to_vec();
                        return self.bounded();
                    }
                },
                State::Counted(left) => self.counted(left, rest, sink),
                State::Chunked(chunked) => self.chunked(chunked, rest, sink)?,
                State::UntilClose => {
                    sink.body(rest);
                    &[]
                }
                State::Done => rest,
            };
        }
        // Bytes that nobody asked for: whatever comes next would be misread.
        self.persists &= rest.is_empty();
        Ok(self.state == State::Done)
    }

    /// The peer sends no more; tells whether that makes the answer whole.
    pub(super) fn ends(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Whether the connection can carry another request after this answer.
    pub(super) fn persists(&self) -> bool {
        self.state == State::Done && self.persists
    }

    const fn bounded(&self) -> Result<bool, Malformed> {
        if self.head.len() > HEAD_BYTES_MAX { Err(Malformed) } else { Ok(false) }
    }

    /// Reads a head; gives its length, or none where more is to come.
    fn read_head(
        &mut self,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<Option<usize>, Malformed> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut answer = Response::new(&mut []);
        let read = ParserConfig::default().parse_response_with_uninit_headers(
            &mut answer,
            bytes,
            &mut headers,
        );
        let used = match read {
            Ok(Status::Complete(used)) if used <= HEAD_BYTES_MAX => used,
            Ok(Status::Complete(_)) | Err(_) => return Err(Malformed),
            Ok(Status::Partial) => return Ok(None),
        };
        let (Some(status), Some(version)) = (answer.code, answer.version) else {
            return Err(Malformed);
        };
        match status {
            ..100 => return Err(Malformed),
            // RFC 9110, 15.2.2: only who sends an upgrade header is told to switch.
            101 if !self.may_switch => return Err(Malformed),
            100 | 102..200 => return Ok(Some(used)),
            101 | 200.. => {}
        }
        let framing = Framing::of(answer.headers)?;
        self.persists = status != 101 && (framing.keep_alive || version == 1 && !framing.close);
        self.state = match framing {
            _ if self.bodiless || matches!(status, 101 | 204 | 304) => State::Done,
            Framing { coding: Coding::Chunked, .. } => State::Chunked(Chunked::START),
            Framing { coding: Coding::Other, .. } | Framing { length: None, .. } => {
                State::UntilClose
            }
            Framing { length: Some(0), .. } => State::Done,
            Framing { length: Some(length), .. } => State::Counted(length),
        };
        sink.head(status, answer.headers);
        Ok(Some(used))
    }

    fn counted<'a>(&mut self, left: u64, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        sink.body(&bytes[..here]);
        let left = left - here as u64;
        self.state = if left == 0 { State::Done } else { State::Counted(left) };
        &bytes[here..]
    }

    fn chunked<'a>(
        &mut self,
        mut chunked: Chunked,
        mut bytes: &'a [u8],
        sink: &mut impl Sink,
    ) -> Result<&'a [u8], Malformed> {
        while let Some(&byte) = bytes.first() {
            if chunked.at == Part::Data {
                let here = usize::try_from(chunked.left).unwrap_or(usize::MAX).min(bytes.len());
                sink.body(&bytes[..here]);
                chunked.left -= here as u64;
                if chunked.left == 0 {
                    chunked.at = Part::DataCr;
                }
                bytes = &bytes[here..];
                continue;
            }
            bytes = &bytes[1..];
            if chunked.at == Part::LastLf {
                self.state = State::Done;
                return if byte == b'\n' { Ok(bytes) } else { Err(Malformed) };
            }
            chunked.step(byte)?;
        }
        self.state = State::Chunked(chunked);
        Ok(bytes)
    }
}

impl Chunked {
    const START: Self = Self { at: Part::Size, left: 0, overhead: 0 };

    /// Takes in a byte that is no data.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        let digit = char::from(byte).to_digit(16);
        self.at = match (self.at, byte) {
            (Part::Size | Part::Digits, _) if digit.is_some() => {
                let digit = u64::from(digit.unwrap_or(0));
                self.left = self.left.checked_mul(16).ok_or(Malformed)? + digit;
                Part::Digits
            }
            (Part::Digits | Part::Extension, b'\r') => Part::SizeEnd,
            (Part::Digits, b';' | b' ' | b'\t') => Part::Extension,
            (Part::Extension, byte) if byte != b'\n' => self.idle(Part::Extension)?,
            (Part::SizeEnd, b'\n') if self.left == 0 => Part::Trailer,
            (Part::SizeEnd, b'\n') => Part::Data,
            (Part::DataCr, b'\r') => Part::DataLf,
            (Part::DataLf, b'\n') => Part::Size,
            (Part::Trailer, b'\r') => Part::LastLf,
            (Part::Trailer | Part::TrailerLine, byte) if byte != b'\r' && byte != b'\n' => {
                self.idle(Part::TrailerLine)?
            }
            (Part::TrailerLine, b'\r') => Part::TrailerEnd,
            (Part::TrailerEnd, b'\n') => Part::Trailer,
            _ => return Err(Malformed),
        };
        Ok(())
    }

    /// Goes on to `part` by a byte that counts for nothing, of which there may not be many.
    const fn idle(&mut self, part: Part) -> Result<Part, Malformed> {
        self.overhead += 1;
        if self.overhead > HEAD_BYTES_MAX { Err(Malformed) } else { Ok(part) }
    }
}

/// The transfer coding that was applied last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    Other,
}

/// What a head says of the body's end and the connection's.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    coding: Coding,
    close: bool,
    keep_alive: bool,
}

impl Framing {
    fn of(headers: &[Header<'_>]) -> Result<Self, Malformed> {
        let mut framing = Self::default();
        for header in headers {
            // By length first: nearly all headers are others.
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    framing.add_length(header.value)?;
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    let chunked = last_token_is(header.value, "chunked");
                    framing.coding = if chunked { Coding::Chunked } else { Coding::Other };
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    framing.close |= tokens(header.value).any(|token| is(token, "close"));
                    framing.keep_alive |= tokens(header.value).any(|token| is(token, "keep-alive"));
                }
                _ => {}
            }
        }
        framing.keep_alive &= !framing.close;
        Ok(framing)
    }

    /// Several lengths must be the same (RFC 9112, 6.3).
    fn add_length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for token in tokens(value) {
            let digits = !token.is_empty() && token.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(token).ok().filter(|_| digits);
            let length = text.and_then(|text| text.parse().ok()).ok_or(Malformed)?;
            if self.length.replace(length).is_some_and(|other| other != length) {
                return Err(Malformed);
            }
        }
        Ok(())
    }
}

fn tokens(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn last_token_is(value: &[u8], wanted: &str) -> bool {
    tokens(value).next_back().is_some_and(|token| is(token, wanted))
}

fn is(token: &[u8], wanted: &str) -> bool {
    token.eq_ignore_ascii_case(wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        status: Option<u16>,
        headers: usize,
        body: Vec<u8>,
    }

    impl Sink for Seen {
        fn head(&mut self, status: u16, headers: &[Header<'_>]) {
            assert_eq!(self.status.replace(status), None, "one head only");
            self.headers = headers.len();
        }
        fn body(&mut self, bytes: &[u8]) {
            assert!(self.status.is_some(), "a body has a head");
            self.body.extend_from_slice(bytes);
        }
    }

    /// Status, body, whether whole, whether another may follow.
    type Read = (Option<u16>, Vec<u8>, bool, bool);

    fn read(pieces: &[&[u8]], bodiless: bool) -> Result<Read, Malformed> {
        let mut incoming = Incoming::new(bodiless, false);
        let (mut seen, mut whole) = (Seen::default(), false);
        for piece in pieces {
            whole = incoming.feed(piece, &mut seen)?;
        }
        Ok((seen.status, seen.body, whole, incoming.persists()))
    }

    fn whole(text: &str) -> Result<Read, Malformed> {
        read(&[text.as_bytes()], false)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
    fn good(status: u16, body: &str, whole: bool, persists: bool) -> Result<Read, Malformed> {
        Ok((Some(status), body.as_bytes().to_vec(), whole, persists))
    }

    #[test]
    fn answers_of_every_framing() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", good(200, "ok", true, true)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", good(200, "", true, true)),
            ("HTTP/1.1 204 No\r\n\r\n", good(204, "", true, true)),
            ("HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nok", good(200, "ok", false, false)),
            ("HTTP/1.1 200 OK\r\n\r\nok", good(200, "ok", false, false)),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", good(200, "a", true, false)),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
                good(200, "a", true, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na",
                good(200, "a", true, false),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nafterwards", good(200, "a", true, false)),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\n\
                 HTTP/1.1 201 Made\r\ncontent-length: 1\r\n\r\na",
                good(201, "a", true, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3;a=b\r\nabc\r\nA \r\n0123456789\r\n0\r\ntrailer: x\r\n\r\n",
                good(200, "abc0123456789", true, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 7\r\n\r\n\
                 0\r\n\r\n",
                good(200, "", true, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1, 1\r\n\r\na",
                good(200, "a", true, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nabc",
                good(200, "abc", false, false),
            ),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for text in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 99 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
        ] {
            assert_eq!(whole(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn only_who_asks_for_another_protocol_is_switched() {
        let text = "HTTP/1.1 101 Switch\r\nupgrade: x\r\n\r\nabc";
        assert_eq!(whole(text), Err(Malformed));
        let (mut incoming, mut seen) = (Incoming::new(false, true), Seen::default());
        assert_eq!(incoming.feed(text.as_bytes(), &mut seen), Ok(true));
        assert_eq!((seen.status, incoming.persists()), (Some(101), false));
    }

    #[test]
    fn an_answer_to_head_has_no_body_whatever_it_says() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        assert_eq!(read(&[text], true), good(200, "", true, true));
    }

    #[test]
    fn heads_trailers_and_extensions_that_never_end_are_given_up() {
        let line = format!("a: {}\r\n", "b".repeat(1000));
        for start in [
            "HTTP/1.1 200 OK\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n".to_owned(),
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{}",
                "c".repeat(HEAD_BYTES_MAX)
            ),
        ] {
            let (mut incoming, mut seen) = (Incoming::new(false, false), Seen::default());
            let mut fed = incoming.feed(start.as_bytes(), &mut seen);
            for _ in 0..200 {
                fed = fed.and_then(|_| incoming.feed(line.as_bytes(), &mut seen));
            }
            assert_eq!(fed, Err(Malformed));
        }
    }

    fn answer() -> impl Strategy<Value = (String, Vec<u8>)> {
        let body = proptest::collection::vec(any::<u8>(), 0..300);
        (body, proptest::collection::vec(1_usize..50, 0..10), any::<bool>()).prop_map(
            |(body, sizes, chunked)| {
                let mut text = b"HTTP/1.1 200 OK\r\nServer: x\r\n".to_vec();
                if chunked {
                    text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                    let mut rest = body.as_slice();
                    for size in sizes.into_iter().chain([usize::MAX]) {
                        let (chunk, later) = rest.split_at(size.min(rest.len()));
                        rest = later;
                        if !chunk.is_empty() {
                            text.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                            text.extend_from_slice(chunk);
                            text.extend_from_slice(b"\r\n");
                        }
                    }
                    text.extend_from_slice(b"0\r\n\r\n");
                } else {
                    text.extend_from_slice(
                        format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                    );
                    text.extend_from_slice(&body);
                }
                (text.iter().map(|byte| char::from(*byte)).collect(), body)
            },
        )
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_answer_is_the_same(
            (text, body) in answer(),
            cuts in proptest::collection::vec(0.0..1.0, 0..8),
        ) {
            let bytes: Vec<u8> =
                text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let mut at: Vec<usize> =
                cuts.iter().map(|cut: &f64| (cut * bytes.len() as f64) as usize).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces, false), Ok((Some(200), body, true, true)));
        }

        #[test]
        fn whatever_arrives_is_taken_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            (text, _) in answer(),
            place in 0_usize..400,
            is_answer: bool,
        ) {
            if is_answer {
                let mut mutated: Vec<u8> =
                    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
                let place = place.min(mutated.len());
                mutated.splice(place..(place + bytes.len() / 20).min(mutated.len()), bytes.drain(..).take(3));
                bytes = mutated;
            }
            let at_once = read(&[&bytes], false);
            let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
            if let (Ok(at_once), Ok(by_bytes)) = (at_once, read(&pieces, false)) {
                prop_assert_eq!(at_once.0, by_bytes.0);
                prop_assert!(by_bytes.1.starts_with(&at_once.1) || at_once.1.starts_with(&by_bytes.1));
            }
        }
    }
}
