//! What small batches are packed into: their events once more, with less said twice. Windows are
//! packed (see [`super::windows`]).
//!
//! Traffic is told twice a second, so that a killed run loses little of it, and kept by the second:
//! two windows of one step in a row become one, which takes little more room than either.

use std::collections::BTreeMap;

use super::store::Batch;
use crate::clock::Moment;
use crate::event::{Event, TrafficWindow, What};

/// Events since the last time that batches were packed.
#[derive(Debug, Default)]
pub(super) struct Packing {
    batch: Batch,
    /// Windows that wait for the next one of their step, by phase and step.
    held: BTreeMap<(u16, u16), Event>,
}

impl Packing {
    /// Takes an event, and its stored form.
    pub(super) fn take(&mut self, event: &Event, stored: &[u8]) {
        match &event.what {
            What::Traffic(window) => self.traffic(event.at, window),
            What::PhaseBegin { .. }
            | What::PhaseEnd { .. }
            | What::GeneratorDone(_)
            | What::Drained
            | What::Finished(_) => {
                // What they end is whole before.
                self.release();
                self.batch.pack(event, stored);
            }
            _ => self.batch.pack(event, stored),
        }
    }

    fn traffic(&mut self, at: Moment, window: &TrafficWindow) {
        let key = (window.phase, window.step);
        let next = || Event { at, what: What::Traffic(Box::new(window.clone())) };
        let Some(mut first) = self.held.remove(&key) else {
            self.held.insert(key, next());
            return;
        };
        let joined = match &mut first.what {
            What::Traffic(mine) => mine.join(window),
            _ => false,
        };
        if joined {
            first.at = at;
        } else {
            self.held.insert(key, next());
        }
        self.batch.push(&first);
    }

    fn release(&mut self) {
        for event in std::mem::take(&mut self.held).into_values() {
            self.batch.push(&event);
        }
    }

    /// How many events it has.
    pub(super) fn len(&self) -> u32 {
        self.batch.events
    }

    /// The last moment of which it knows.
    pub(super) fn last(&self) -> Moment {
        let held = self.held.values().map(|event| event.at).max();
        self.batch.last.max(held.unwrap_or_default())
    }

    /// Gives all of it, and is empty then.
    pub(super) fn finish(&mut self) -> Batch {
        self.release();
        std::mem::take(&mut self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::{SMALL, decode};
    use super::*;
    use crate::event::{Counts, FlowWindow};

    fn window(start: u64, step: u16, status: u16, ended: u64) -> Event {
        let mut window = TrafficWindow {
            start: Moment::from_millis(start),
            step,
            counts: Counts { ended, ..Counts::default() },
            ..TrafficWindow::default()
        };
        window.status.insert(status, ended);
        (0..ended).for_each(|n| window.latency_us.record(100 + n));
        let at = Moment::from_millis(start + 500);
        Event { at, what: What::Traffic(Box::new(window)) }
    }

    fn packed(events: &[Event]) -> Vec<Event> {
        let (mut packing, mut batch) = (Packing::default(), Batch::default());
        for event in events {
            let stored = batch.push(event).to_vec();
            packing.take(event, &stored);
        }
        let batch = packing.finish();
        decode(&batch.body(SMALL)).unwrap()
    }

    #[test]
    fn two_windows_of_a_step_become_one_and_nothing_is_lost() {
        let note =
            Event { at: Moment::from_millis(700), what: What::Note { text: "x".to_owned() } };
        let end = Event { at: Moment::from_millis(2000), what: What::PhaseEnd { phase: 0 } };
        let events = [
            window(0, 0, 200, 3),
            window(0, 1, 200, 1),
            note,
            window(500, 0, 200, 4),
            window(1000, 0, 200, 5),
            end.clone(),
        ];
        let packed = packed(&events);
        let traffic: Vec<&TrafficWindow> = packed
            .iter()
            .filter_map(|event| match &event.what {
                What::Traffic(window) => Some(window.as_ref()),
                _ => None,
            })
            .collect();
        assert_eq!((packed.len(), traffic.len()), (5, 3), "{packed:#?}");
        let first = traffic.iter().find(|row| row.counts.ended == 7).expect("3 and 4 are joined");
        assert_eq!((first.start, first.latency_us.count()), (Moment::START, 7));
        assert_eq!(first.status[&200], 7);
        assert_eq!(traffic.iter().map(|row| row.counts.ended).sum::<u64>(), 13);
        assert_eq!(packed.last(), Some(&end), "what a phase had comes before its end");
    }

    /// Traffic that was joined stands among windows of memory and the rest, all in their order.
    #[test]
    fn what_is_packed_keeps_its_order_beside_joined_traffic() {
        let flow = |ms: u64| {
            let start = Moment::from_millis(ms - 100);
            let window = FlowWindow { start, counts: Counts::default(), steps: Vec::new() };
            Event { at: Moment::from_millis(ms), what: What::Flow(window) }
        };
        let begin = Event { at: Moment::START, what: What::PhaseBegin { phase: 0 } };
        let mut events = vec![begin];
        for n in 0..20 {
            events.push(window(500 * n, 0, 200, 1));
            events.push(flow(500 * n + 510));
            let what = What::Note { text: format!("{n}") };
            events.push(Event { at: Moment::from_millis(500 * n + 520), what });
        }
        events.push(Event { at: Moment::from_millis(10_600), what: What::PhaseEnd { phase: 0 } });
        events.push(flow(10_700));
        let packed = packed(&events);
        assert_eq!(packed.len(), events.len() - 10);
        let is_other = |event: &&Event| !matches!(event.what, What::Traffic(_));
        let order =
            |events: &[Event]| -> Vec<Event> { events.iter().filter(is_other).cloned().collect() };
        assert_eq!(order(&packed), order(&events));
        assert!(packed.is_sorted_by_key(|event| event.at), "{packed:#?}");
    }

    #[test]
    fn windows_that_were_answered_otherwise_stay_apart() {
        let events = [window(0, 0, 200, 3), window(500, 0, 503, 2)];
        assert_eq!(packed(&events), events);
    }
}
