//! Pools that made-up bodies are cut out of, so that making one costs no copying.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::load::draw::Draw;
use crate::load::payload::Payload;
use crate::plan::{Shape, ShapeKind};

/// Pools are at least this long, so that small bodies differ from one another.
const POOL_MIN: u64 = 64 << 10;
/// Pools are at most this long; greater bodies go round several times.
pub(super) const POOL_MAX: u64 = 4 << 20;
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

/// The length of a pool for bodies of up to `max`.
pub(super) fn length(max: u64) -> usize {
    usize::try_from(max.clamp(POOL_MIN, POOL_MAX)).expect("a pool is a few MiB")
}

/// A place in something so long.
pub(super) fn place(random: u64, len: usize) -> usize {
    let place = random % len as u64;
    usize::try_from(place).expect("less than a length")
}

/// Random printable text.
pub(super) fn text(len: usize, seed: u64) -> Bytes {
    let mut draw = Draw::new(seed, &[0x7465_7874]);
    let mut pool = BytesMut::with_capacity(len + 8);
    while pool.len() < len {
        let letters = draw.next().to_le_bytes();
        pool.extend(letters.map(|byte| LETTERS[usize::from(byte & 63)]));
    }
    pool.truncate(len);
    pool.freeze()
}

/// Items of a list, each followed by a comma, and where each starts.
#[derive(Debug, Clone)]
pub(super) struct Items {
    pool: Bytes,
    starts: Arc<[usize]>,
}

impl Items {
    /// These items, each as it is.
    pub(super) fn of(items: &[Arc<[u8]>]) -> Self {
        let (mut pool, mut starts) = (BytesMut::new(), Vec::new());
        for item in items {
            starts.push(pool.len());
            pool.put_slice(item);
            pool.put_u8(b',');
        }
        Self { pool: pool.freeze(), starts: starts.into() }
    }

    /// Made-up items until `len` is reached.
    pub(super) fn made_up(kind: ShapeKind, len: usize, seed: u64) -> Self {
        let mut draw = Draw::new(seed, &[0x6a73_6f6e]);
        let text = text(1 << 14, seed);
        let (mut pool, mut starts) = (String::with_capacity(len + 512), Vec::new());
        while pool.len() < len {
            starts.push(pool.len());
            pool.push_str(&item(kind, &mut draw, &text));
            pool.push(',');
        }
        Self { pool: Bytes::from(pool), starts: starts.into() }
    }

    /// The last start at or before a place.
    fn before(&self, place: usize) -> usize {
        self.starts[self.starts.partition_point(|start| *start <= place) - 1]
    }

    /// Where a random item starts.
    fn drawn(&self, random: u64) -> usize {
        self.starts[place(random, self.starts.len())]
    }

    /// How many bytes whole items take from `from` on, at most `room`; commas are counted.
    fn whole(&self, from: usize, room: u64) -> u64 {
        let (stop, len) = (from as u64 + room, self.pool.len() as u64);
        let within = place(stop, self.pool.len());
        stop / len * len + self.before(within) as u64 - from as u64
    }

    /// Adds items to a body, about `room` bytes of them and at least one; the last has no comma.
    pub(super) fn fill(&self, payload: &mut Payload, random: u64, room: u64) {
        let from = self.drawn(random);
        let mut bytes = self.whole(from, room + 1);
        if bytes == 0 {
            let next = self.starts.partition_point(|start| *start <= from);
            bytes = (self.starts.get(next).copied().unwrap_or(self.pool.len()) - from) as u64;
        }
        payload.push_stretch(self.pool.clone(), from, bytes - 1);
    }
}

fn item(kind: ShapeKind, draw: &mut Draw, text: &Bytes) -> String {
    let words = |draw: &mut Draw, len: usize| {
        let from = place(draw.next(), text.len() - len);
        String::from_utf8_lossy(&text[from..from + len]).into_owned()
    };
    let (id, cents) = (draw.below(1 << 32), draw.below(100_000));
    match kind {
        ShapeKind::Records => {
            let (name, note) = (words(draw, 16), words(draw, 120));
            let quantity = draw.below(100);
            format!(
                r#"{{"id":{id},"name":"{name}","price":{}.{:02},"quantity":{quantity},"in_stock":{},"note":"{note}"}}"#,
                cents / 100,
                cents % 100,
                quantity > 0,
            )
        }
        ShapeKind::Numbers => format!("{id}.{:02}", cents % 100),
        ShapeKind::Texts => {
            let len = 1024 + place(draw.next(), 4096);
            format!("\"{}\"", words(draw, len))
        }
        ShapeKind::Keys => format!(r#""k{id:010}":"{}""#, words(draw, 32)),
    }
}

/// What stands around made-up items, and the last one, which takes up what is missing.
#[derive(Debug, Clone)]
pub(super) struct Around {
    open: Bytes,
    last_head: &'static str,
    last_filler: u8,
    last_tail: Bytes,
}

impl Around {
    pub(super) fn new(shape: Shape) -> Self {
        let (open, last_head, last_tail, close) = match shape.of {
            ShapeKind::Records => ("[", r#"{"id":0,"note":""#, "\"}", "]"),
            ShapeKind::Numbers => ("[", "1", "", "]"),
            ShapeKind::Texts => ("[", "\"", "\"", "]"),
            ShapeKind::Keys => ("{", r#""last":""#, "\"", "}"),
        };
        let depth = usize::from(shape.depth);
        let open = format!("{}{open}", r#"{"in":"#.repeat(depth));
        Self {
            open: Bytes::from(open),
            last_head,
            last_filler: if shape.of == ShapeKind::Numbers { b'0' } else { 0 },
            last_tail: Bytes::from(format!("{last_tail}{close}{}", "}".repeat(depth))),
        }
    }

    /// JSON of exactly `size` bytes; sizes without room for that are JSON too, but plain.
    pub(super) fn json(&self, items: &Items, size: u64, random: u64) -> Payload {
        let around = self.open.len() + self.last_head.len() + self.last_tail.len();
        let Some(room) = size.checked_sub(around as u64) else {
            return Payload::whole(small_json(size));
        };
        let from = items.drawn(random);
        let middle = items.whole(from, room);
        let missing = usize::try_from(room - middle).expect("less than an item");
        let mut tail = BytesMut::with_capacity(around + missing);
        tail.put_slice(self.last_head.as_bytes());
        tail.extend((0..missing).map(|index| match self.last_filler {
            0 => LETTERS[index & 63],
            filler => filler,
        }));
        tail.put_slice(&self.last_tail);
        let mut payload = Payload::whole(self.open.clone());
        payload.push_stretch(items.pool.clone(), from, middle);
        payload.push(tail.freeze());
        payload
    }
}

/// The JSON of sizes that have no room for an item. Nothing at all is no JSON, but has its size.
fn small_json(size: u64) -> Bytes {
    let text = match size {
        0 => String::new(),
        1 => "0".to_owned(),
        2 => "[]".to_owned(),
        3 => "[0]".to_owned(),
        _ => {
            let len = usize::try_from(size - 4).expect("less than an item");
            format!("[\"{}\"]", "x".repeat(len))
        }
    };
    Bytes::from(text)
}
