//! Windows that are packed come out as they were; damaged ones never panic.

use super::*;
use crate::event::arbitrary;
use proptest::prelude::*;

fn packed(events: &[Event]) -> (Vec<u8>, Vec<Event>) {
    let mut windows = Windows::default();
    let others = events.iter().filter(|event| !windows.take(event)).cloned().collect();
    (windows.bytes().to_vec(), others)
}

fn band() -> impl Strategy<Value = Band> {
    let pages = any::<[u16; 3]>().prop_map(|row| row.map(|pages| u64::from(pages) << PAGE_BITS));
    prop_oneof![3 => pages, 1 => any::<[u64; 3]>()].prop_map(|row| {
        let [min, max, last] = row.map(Bytes::new);
        Band { min, max, last }
    })
}

/// A window whose levels are pages, or not, with or without each part of the kernel's memory.
fn window() -> impl Strategy<Value = Event> {
    let parts = (prop::option::of(band()), band(), prop::option::of(band())).prop_map(
        |(slab, slab_reclaimable, sock)| KernelParts {
            slab,
            slab_reclaimable,
            sock,
            page_tables: slab,
        },
    );
    let kernel =
        (band(), prop::option::of(parts)).prop_map(|(total, parts)| KernelBands { total, parts });
    (arbitrary::event(), prop::collection::vec(band(), 7), prop::option::of(kernel)).prop_map(
        |(event, bands, kernel)| match event.what {
            What::Memory(window) => {
                let window = MemoryWindow {
                    usage: bands[0],
                    peak: bands[0].max,
                    rss: bands[1],
                    cache: bands[2],
                    shmem: bands[3],
                    working_set: bands[4],
                    unreclaimable_low: bands[5],
                    unreclaimable_high: bands[6],
                    kernel,
                    ..window
                };
                Event { what: What::Memory(window), ..event }
            }
            _ => event,
        },
    )
}

proptest! {
    #[test]
    fn what_is_packed_comes_out_as_it_was_and_in_its_order(
        events in prop::collection::vec(window(), 0..40),
    ) {
        let (bytes, others) = packed(&events);
        prop_assert_eq!(unpack(&bytes, others), Some(events));
    }

    #[test]
    fn damaged_windows_never_panic(
        events in prop::collection::vec(window(), 0..10),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at: usize,
        to: u8,
    ) {
        let _ = unpack(&bytes, events.clone());
        let (mut bytes, others) = packed(&events);
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = unpack(&bytes, others);
        }
    }
}

#[test]
fn a_calm_window_takes_few_bytes() {
    let mut windows = Windows::default();
    for n in 0..100_u64 {
        let level = Band::of(Bytes::from_mib(60 + n % 3));
        let window = MemoryWindow {
            life: LifeId(0),
            start: Moment::from_millis(n * 100),
            ticks: 100,
            missed: 0,
            usage: level,
            peak: level.max,
            peak_at: Moment::from_millis(n * 100 + 40),
            rss: level,
            cache: Band::default(),
            shmem: Band::default(),
            working_set: level,
            unreclaimable_low: level,
            unreclaimable_high: level,
            limit_hits: Some(0),
            oom_kills: Some(0),
            kernel: None,
            held_mean: Some(level.last),
        };
        let at = Moment::from_millis(n * 100 + 100);
        assert!(windows.take(&Event { at, what: What::Memory(window) }));
    }
    assert!(windows.bytes().len() < 60 * 100, "{}", windows.bytes().len());
}
