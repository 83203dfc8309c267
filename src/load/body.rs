//! Request bodies, made without copying: whole ones are shared, drawn ones are cut out of a pool
//! that is made once.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::load::draw::Draw;
use crate::plan::{Body, SizePoints};

/// Pools are at least this long, so that small bodies differ from one another.
const POOL_MIN: u64 = 64 << 10;
/// Pools are at most this long; greater bodies go round several times.
const POOL_MAX: u64 = 4 << 20;
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
const LAST_HEAD: &[u8] = br#"{"id":0,"note":""#;
const LAST_TAIL: &[u8] = br#""}]"#;

/// Where a step's bodies come from. Clones share the bytes.
#[derive(Debug, Clone)]
pub(super) struct Source(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Empty,
    Whole(Bytes),
    Text {
        sizes: SizePoints,
        pool: Bytes,
    },
    /// The pool is records, each followed by a comma; `starts` says where each one starts.
    Json {
        sizes: SizePoints,
        pool: Bytes,
        starts: Arc<[usize]>,
    },
}

/// What was drawn for one request; the same draw gives the same body again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    size: u64,
    place: u64,
}

impl Source {
    /// Makes the pool that `body` needs.
    pub(super) fn new(body: &Body, seed: u64) -> Self {
        let pool_len = |sizes: &SizePoints| {
            let len = sizes.max().get().clamp(POOL_MIN, POOL_MAX);
            usize::try_from(len).expect("a pool is a few MiB")
        };
        Self(match body {
            Body::Empty => Kind::Empty,
            Body::Literal(bytes) | Body::File { bytes, .. } => {
                Kind::Whole(Bytes::from_owner(Arc::clone(bytes)))
            }
            Body::Text(sizes) => {
                Kind::Text { sizes: sizes.clone(), pool: text_pool(pool_len(sizes), seed) }
            }
            Body::Json(sizes) => {
                let (pool, starts) = record_pool(pool_len(sizes), seed);
                Kind::Json { sizes: sizes.clone(), pool, starts }
            }
        })
    }

    /// The content type to send where the step gives none.
    pub(super) const fn content_type(&self) -> Option<&'static str> {
        match self.0 {
            Kind::Empty | Kind::Whole(_) => None,
            Kind::Text { .. } => Some("text/plain"),
            Kind::Json { .. } => Some("application/json"),
        }
    }

    /// Whether there is never a body.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    pub(super) fn draw(&self, draw: &mut Draw) -> Drawn {
        match &self.0 {
            Kind::Empty | Kind::Whole(_) => Drawn { size: 0, place: 0 },
            Kind::Text { sizes, .. } | Kind::Json { sizes, .. } => {
                Drawn { size: sizes.at(draw.unit()).get(), place: draw.next() }
            }
        }
    }

    pub(super) fn payload(&self, drawn: Drawn) -> Payload {
        match &self.0 {
            Kind::Empty => Payload::default(),
            Kind::Whole(bytes) => Payload { head: bytes.clone(), ..Payload::default() },
            Kind::Text { pool, .. } => Payload {
                from: place(drawn.place, pool.len()),
                pool: pool.clone(),
                middle: drawn.size,
                ..Payload::default()
            },
            Kind::Json { pool, starts, .. } => json_payload(pool, starts, drawn),
        }
    }
}

fn place(random: u64, len: usize) -> usize {
    let place = random % len as u64;
    usize::try_from(place).expect("less than a length")
}

fn text_pool(len: usize, seed: u64) -> Bytes {
    let mut draw = Draw::new(seed, &[0x7465_7874]);
    let mut pool = BytesMut::with_capacity(len + 8);
    while pool.len() < len {
        let letters = draw.next().to_le_bytes();
        pool.extend(letters.map(|byte| LETTERS[usize::from(byte & 63)]));
    }
    pool.truncate(len);
    pool.freeze()
}

/// Records until `len` is reached, and where each starts.
fn record_pool(len: usize, seed: u64) -> (Bytes, Arc<[usize]>) {
    let mut draw = Draw::new(seed, &[0x6a73_6f6e]);
    let text = text_pool(1 << 14, seed);
    let (mut pool, mut starts) = (String::with_capacity(len + 512), Vec::new());
    while pool.len() < len {
        starts.push(pool.len());
        let mut words = |len: usize| {
            let from = place(draw.next(), text.len() - len);
            String::from_utf8_lossy(&text[from..from + len]).into_owned()
        };
        let (name, note) = (words(16), words(120));
        let (id, price, quantity) = (draw.below(1 << 32), draw.below(100_000), draw.below(100));
        let record = format!(
            r#"{{"id":{id},"name":"{name}","price":{}.{:02},"quantity":{quantity},"in_stock":{},"note":"{note}"}},"#,
            price / 100,
            price % 100,
            quantity > 0,
        );
        pool.push_str(&record);
    }
    (Bytes::from(pool), starts.into())
}

/// `[`, whole records cut from the pool, and a last record whose text is as long as is missing.
fn json_payload(pool: &Bytes, starts: &[usize], drawn: Drawn) -> Payload {
    let around = (1 + LAST_HEAD.len() + LAST_TAIL.len()) as u64;
    let Some(room) = drawn.size.checked_sub(around) else {
        return small_json(drawn.size);
    };
    let len = pool.len() as u64;
    let from = starts[place(drawn.place, starts.len())];
    let stop = from as u64 + room;
    let within = place(stop, pool.len());
    let whole = starts[starts.partition_point(|start| *start <= within) - 1];
    let middle = stop / len * len + whole as u64 - from as u64;
    let missing = usize::try_from(room - middle).expect("less than a record");
    let mut tail = BytesMut::with_capacity(LAST_HEAD.len() + missing + LAST_TAIL.len());
    tail.put_slice(LAST_HEAD);
    tail.extend((0..missing).map(|index| LETTERS[index & 63]));
    tail.put_slice(LAST_TAIL);
    Payload {
        head: Bytes::from_static(b"["),
        pool: pool.clone(),
        from,
        middle,
        tail: tail.freeze(),
    }
}

/// The JSON of sizes that have no room for a record. Nothing at all is no JSON, but has its size.
fn small_json(size: u64) -> Payload {
    let text = match size {
        0 => String::new(),
        1 => "0".to_owned(),
        2 => "[]".to_owned(),
        3 => "[0]".to_owned(),
        _ => {
            let len = usize::try_from(size - 4).expect("less than a record");
            format!("[\"{}\"]", "x".repeat(len))
        }
    };
    Payload { head: Bytes::from(text), ..Payload::default() }
}

/// One request's body: a head, a stretch of a pool that is gone round as often as needed, a tail.
#[derive(Debug, Default)]
pub(super) struct Payload {
    head: Bytes,
    pool: Bytes,
    from: usize,
    middle: u64,
    tail: Bytes,
}

impl Payload {
    const fn left(&self) -> u64 {
        self.head.len() as u64 + self.middle + self.tail.len() as u64
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head));
        }
        if self.middle > 0 {
            let rest = (self.pool.len() - self.from) as u64;
            let len = usize::try_from(self.middle.min(rest)).expect("within the pool");
            let chunk = self.pool.slice(self.from..self.from + len);
            self.from = 0;
            self.middle -= len as u64;
            return Some(chunk);
        }
        (!self.tail.is_empty()).then(|| std::mem::take(&mut self.tail))
    }
}

impl HttpBody for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next_chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes as Size;
    use proptest::prelude::*;

    fn all(mut payload: Payload) -> Vec<u8> {
        let promised = payload.left();
        let mut whole = Vec::new();
        while let Some(chunk) = payload.next_chunk() {
            whole.extend_from_slice(&chunk);
        }
        assert_eq!(whole.len() as u64, promised);
        assert!(payload.is_end_stream());
        whole
    }

    fn sized(size: u64) -> SizePoints {
        SizePoints::fixed(Size::new(size))
    }

    #[test]
    fn whole_bodies_are_shared_not_copied() {
        let bytes: Arc<[u8]> = Arc::from(*b"hello");
        let source = Source::new(&Body::Literal(Arc::clone(&bytes)), 1);
        let payload = source.payload(source.draw(&mut Draw::new(1, &[])));
        assert_eq!(payload.head.as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn bodies_greater_than_the_pool_go_round() {
        let size = 3 * POOL_MAX + 12_345;
        for body in [Body::Text(sized(size)), Body::Json(sized(size))] {
            let source = Source::new(&body, 3);
            let whole = all(source.payload(source.draw(&mut Draw::new(1, &[1]))));
            assert_eq!(whole.len() as u64, size);
            if matches!(body, Body::Json(_)) {
                serde_json::from_slice::<serde_json::Value>(&whole).unwrap();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn json_of_every_size_is_json(size in prop_oneof![1_u64..300, 300_u64..200_000], seed: u64) {
            let source = Source::new(&Body::Json(sized(size)), 3);
            let drawn = source.draw(&mut Draw::new(seed, &[]));
            let whole = all(source.payload(drawn));
            prop_assert_eq!(whole.len() as u64, size);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
            prop_assert_eq!(all(source.payload(drawn)), whole);
        }

        #[test]
        fn text_has_the_drawn_size_and_is_not_one_repeated_byte(size in 100_u64..200_000, seed: u64) {
            let source = Source::new(&Body::Text(sized(size)), 3);
            let whole = all(source.payload(source.draw(&mut Draw::new(seed, &[]))));
            prop_assert_eq!(whole.len() as u64, size);
            prop_assert!(whole.iter().all(|byte| (b' '..=b'~').contains(byte)));
            let kinds: std::collections::BTreeSet<_> = whole.iter().collect();
            prop_assert!(kinds.len() > 20);
        }
    }
}
