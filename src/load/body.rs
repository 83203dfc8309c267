//! Where request bodies come from: whole ones are shared, drawn ones are cut out of a pool that is
//! made once, so that neither is copied.

use std::sync::Arc;

use bytes::Bytes;

use crate::load::draw::Draw;
use crate::load::payload::Payload;
use crate::load::pool::{self, Around, Items};
use crate::plan::{Body, SizePoints};

/// Where a step's bodies come from. Clones share the bytes.
#[derive(Debug, Clone)]
pub(super) struct Source(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Empty,
    Whole(Bytes),
    OneOf(Arc<[Bytes]>),
    Text { sizes: SizePoints, pool: Bytes },
    Json { sizes: SizePoints, items: Items, around: Around },
    Grown { sizes: SizePoints, head: Bytes, items: Items, tail: Bytes },
}

/// What was drawn for one request; the same draw gives the same body again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    size: u64,
    place: u64,
}

impl Drawn {
    /// The same with another size.
    pub(super) const fn sized(self, size: u32) -> Self {
        Self { size: size as u64, place: self.place }
    }
}

impl Source {
    /// Makes the pool that `body` needs.
    pub(super) fn new(body: &Body, seed: u64) -> Self {
        let shared = |bytes: &Arc<[u8]>| Bytes::from_owner(Arc::clone(bytes));
        let pool_len = |sizes: &SizePoints| pool::length(sizes.max().get());
        Self(match body {
            // What is rendered is rendered elsewhere.
            Body::Empty | Body::Template(_) | Body::Pieces(_) => Kind::Empty,
            Body::Literal(bytes) | Body::File { bytes, .. } => Kind::Whole(shared(bytes)),
            Body::OneOf(all) => Kind::OneOf(all.iter().map(shared).collect()),
            Body::Text(sizes) => {
                Kind::Text { sizes: sizes.clone(), pool: pool::text(pool_len(sizes), seed) }
            }
            Body::Json(sizes, shape) => Kind::Json {
                sizes: sizes.clone(),
                items: Items::made_up(shape.of, pool_len(sizes), seed),
                around: Around::new(*shape),
            },
            Body::Grown { head, items, tail, sizes } => Kind::Grown {
                sizes: sizes.clone(),
                head: shared(head),
                items: Items::of(items),
                tail: shared(tail),
            },
        })
    }

    /// The content type to send where the step gives none.
    pub(super) const fn content_type(&self) -> Option<&'static str> {
        match self.0 {
            Kind::Empty | Kind::Whole(_) | Kind::OneOf(_) => None,
            Kind::Text { .. } => Some("text/plain"),
            Kind::Json { .. } | Kind::Grown { .. } => Some("application/json"),
        }
    }

    pub(super) fn draw(&self, draw: &mut Draw) -> Drawn {
        match &self.0 {
            Kind::Empty | Kind::Whole(_) => Drawn { size: 0, place: 0 },
            Kind::OneOf(_) => Drawn { size: 0, place: draw.next() },
            Kind::Text { sizes, .. } | Kind::Json { sizes, .. } | Kind::Grown { sizes, .. } => {
                Drawn { size: sizes.at(draw.unit()).get(), place: draw.next() }
            }
        }
    }

    pub(super) fn payload(&self, drawn: Drawn) -> Payload {
        match &self.0 {
            Kind::Empty => Payload::default(),
            Kind::Whole(bytes) => Payload::whole(bytes.clone()),
            Kind::OneOf(all) => Payload::whole(all[pool::place(drawn.place, all.len())].clone()),
            Kind::Text { pool, .. } => {
                let mut payload = Payload::default();
                let from = pool::place(drawn.place, pool.len());
                payload.push_stretch(pool.clone(), from, drawn.size);
                payload
            }
            Kind::Json { items, around, .. } => around.json(items, drawn.size, drawn.place),
            Kind::Grown { head, items, tail, .. } => {
                let mut payload = Payload::whole(head.clone());
                let room = drawn.size.saturating_sub((head.len() + tail.len()) as u64);
                items.fill(&mut payload, drawn.place, room);
                payload.push(tail.clone());
                payload
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::pool::POOL_MAX;
    use crate::plan::{Shape, ShapeKind};
    use crate::units::Bytes as Size;
    use proptest::prelude::*;

    fn all(payload: Payload) -> Vec<u8> {
        let promised = payload.left();
        let whole = payload.into_bytes();
        assert_eq!(whole.len() as u64, promised);
        whole
    }

    fn json(size: u64) -> Body {
        Body::Json(sized(size), Shape::default())
    }

    fn sized(size: u64) -> SizePoints {
        SizePoints::fixed(Size::new(size))
    }

    #[test]
    fn whole_bodies_are_shared_not_copied() {
        let bytes: Arc<[u8]> = Arc::from(*b"hello");
        let source = Source::new(&Body::Literal(Arc::clone(&bytes)), 1);
        let mut payload = source.payload(source.draw(&mut Draw::new(1, &[])));
        assert_eq!(payload.next_chunk(u64::MAX).unwrap().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn bodies_greater_than_the_pool_go_round() {
        let size = 3 * POOL_MAX + 12_345;
        for body in [Body::Text(sized(size)), json(size)] {
            let source = Source::new(&body, 3);
            let whole = all(source.payload(source.draw(&mut Draw::new(1, &[1]))));
            assert_eq!(whole.len() as u64, size);
            if matches!(body, Body::Json(..)) {
                serde_json::from_slice::<serde_json::Value>(&whole).unwrap();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn json_of_every_size_is_json(size in prop_oneof![1_u64..300, 300_u64..200_000], seed: u64) {
            let source = Source::new(&json(size), 3);
            let drawn = source.draw(&mut Draw::new(seed, &[]));
            let whole = all(source.payload(drawn));
            prop_assert_eq!(whole.len() as u64, size);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
            prop_assert_eq!(all(source.payload(drawn)), whole);
        }

        #[test]
        fn json_of_every_shape_is_json(
            size in 1_u64..50_000,
            depth in 0_u16..60,
            of in prop_oneof![
                Just(ShapeKind::Numbers), Just(ShapeKind::Texts), Just(ShapeKind::Keys)
            ],
            seed: u64,
        ) {
            let source = Source::new(&Body::Json(sized(size), Shape { of, depth }), 3);
            let whole = all(source.payload(source.draw(&mut Draw::new(seed, &[]))));
            prop_assert_eq!(whole.len() as u64, size);
            let parsed = serde_json::from_slice::<serde_json::Value>(&whole);
            prop_assert!(parsed.is_ok(), "{:?}", parsed);
        }

        #[test]
        fn grown_samples_stay_json_and_near_their_size(size in 1_u64..100_000, seed: u64) {
            let item = |text: &str| Arc::from(text.as_bytes());
            let body = Body::Grown {
                head: item("{\"items\":["),
                items: vec![item("{\"a\":1}"), item("\"a longer text\""), item("7")],
                tail: item("]}"),
                sizes: sized(size),
            };
            let source = Source::new(&body, 3);
            let whole = all(source.payload(source.draw(&mut Draw::new(seed, &[]))));
            let json: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            prop_assert!(!json["items"].as_array().unwrap().is_empty());
            prop_assert!(size < 40 || whole.len() as u64 <= size);
            prop_assert!(whole.len() as u64 + 20 >= size);
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
