//! Where a window of memory belongs.

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::event::{Event, LifeId, LifeRole, MemoryWindow, What};

/// Windows held back per life until it is known whether the target's own program runs; a minute.
const HELD: usize = 600;

/// A window of memory, and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<'a> {
    /// When the window ended.
    pub at: Moment,
    /// The window.
    pub window: &'a MemoryWindow,
    /// What its life is for.
    pub role: LifeRole,
    /// Its phase, where the life is the main one and a phase has begun.
    pub phase: Option<u16>,
}

/// What an event lets be placed: windows that waited, or its own.
#[derive(Debug, Default)]
#[must_use]
pub struct Placing {
    waited: Vec<(Moment, MemoryWindow, Place)>,
    own: Option<Place>,
}

type Place = (LifeRole, Option<u16>);

impl Placing {
    /// The windows, in order; `event` is the one that was fed.
    pub fn windows<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = Placed<'a>> {
        let own = match &event.what {
            What::Memory(window) => self.own.map(|place| placed(event.at, window, place)),
            _ => None,
        };
        self.waited().chain(own)
    }

    /// Those that waited.
    pub fn waited(&self) -> impl Iterator<Item = Placed<'_>> {
        self.waited.iter().map(|(at, window, place)| placed(*at, window, *place))
    }
}

const fn placed(at: Moment, window: &MemoryWindow, (role, phase): Place) -> Placed<'_> {
    Placed { at, window, role, phase }
}

#[derive(Debug)]
struct Life {
    role: LifeRole,
    /// Windows from before it is known that the target's own program runs.
    held: Option<Vec<(Moment, MemoryWindow)>>,
    settled: Option<Moment>,
}

/// Places windows of memory as events come in.
///
/// Windows from before a life's `Exec` are the container runtime's share and come out nowhere;
/// without an `Exec` until the target is ready, all windows count. A trial's windows count until
/// it has settled. A window across the edge of two phases belongs to the one of its peak.
#[derive(Debug, Default)]
pub struct Places {
    lives: BTreeMap<LifeId, Life>,
    phases: Vec<(u16, Moment, Option<Moment>)>,
    drained: Option<Moment>,
}

impl Places {
    /// Takes in an event and gives the windows that it lets be placed.
    pub fn feed(&mut self, event: &Event) -> Placing {
        let at = event.at;
        match &event.what {
            What::Life(start) => {
                let life = Life { role: start.role, held: Some(Vec::new()), settled: None };
                self.lives.insert(start.life, life);
            }
            What::Exec { life, .. } => {
                if let Some(life) = self.lives.get_mut(life) {
                    life.held = None;
                }
            }
            What::Ready { life } | What::Ended { life, .. } => return self.release(*life),
            What::Settled { life } => {
                if let Some(life) = self.lives.get_mut(life) {
                    life.settled = Some(at);
                }
            }
            What::PhaseBegin { phase } => self.phases.push((*phase, at, None)),
            What::PhaseEnd { phase } => {
                let open = self.phases.iter_mut().rev().find(|row| row.0 == *phase);
                if let Some(row) = open {
                    row.2 = Some(at);
                }
            }
            What::Drained => self.drained = Some(at),
            What::Memory(window) => return self.window(at, window),
            What::Finished(_) => return self.finish(),
            _ => {}
        }
        Placing::default()
    }

    /// Gives the windows that still wait, when no further event comes.
    pub fn finish(&mut self) -> Placing {
        let lives: Vec<LifeId> = self.lives.keys().copied().collect();
        let waited = lives.into_iter().flat_map(|life| self.release(life).waited).collect();
        Placing { waited, own: None }
    }

    /// What a life is for.
    #[must_use]
    pub fn role(&self, life: LifeId) -> Option<LifeRole> {
        self.lives.get(&life).map(|life| life.role)
    }

    /// The phase to which belongs what moved between two readings: the one at the middle. So the
    /// last reading before the container's end counts in the last phase.
    #[must_use]
    pub fn phase_between(&self, start: Moment, end: Moment) -> Option<u16> {
        self.phase_at(start + end.since(start) / 2)
    }

    /// The phase in which a moment lies; the drain after the last phase belongs to it.
    #[must_use]
    pub fn phase_at(&self, at: Moment) -> Option<u16> {
        if self.drained.is_some_and(|drained| at > drained) {
            return None;
        }
        let begun = self.phases.iter().rev().find(|row| row.1 <= at);
        begun.map(|row| row.0)
    }

    /// The phases that have begun: index, begin, and end where they have ended.
    #[must_use]
    pub fn phases(&self) -> &[(u16, Moment, Option<Moment>)] {
        &self.phases
    }

    fn window(&mut self, at: Moment, window: &MemoryWindow) -> Placing {
        let Some(life) = self.lives.get_mut(&window.life) else {
            return Placing::default();
        };
        let Some(held) = &mut life.held else {
            return Placing { waited: Vec::new(), own: self.place(at, window) };
        };
        held.push((at, *window));
        if held.len() < HELD {
            return Placing::default();
        }
        self.release(window.life)
    }

    fn release(&mut self, life: LifeId) -> Placing {
        let held = self.lives.get_mut(&life).and_then(|life| life.held.take());
        let held = held.unwrap_or_default().into_iter();
        let waited =
            held.filter_map(|(at, window)| Some((at, window, self.place(at, &window)?))).collect();
        Placing { waited, own: None }
    }

    fn place(&self, at: Moment, window: &MemoryWindow) -> Option<Place> {
        let life = self.lives.get(&window.life)?;
        let is_main = life.role == LifeRole::Main;
        if !is_main && life.settled.is_some_and(|settled| window.start >= settled) {
            return None;
        }
        let inside = window.peak_at.max(window.start).min(at);
        Some((life.role, self.phase_at(inside).filter(|_| is_main)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LifeStart;
    use crate::units::{Bytes, Limit};

    fn window(life: u32, start: u64, end: u64, peak_at: u64) -> Event {
        let window = MemoryWindow {
            start: Moment::from_millis(start),
            peak: Bytes::from_mib(5),
            peak_at: Moment::from_millis(peak_at),
            ..crate::judge::thresholds::tests::window(LifeId(life))
        };
        at(end, What::Memory(window))
    }

    fn at(ms: u64, what: What) -> Event {
        let at = Moment::from_millis(ms);
        Event { at, what }
    }

    fn life(role: LifeRole) -> Event {
        let (life, limit) = (LifeId(0), Limit::Unlimited);
        at(0, What::Life(LifeStart { life, role, limit }))
    }

    /// The phases of the windows that an event lets be placed.
    fn feed(places: &mut Places, event: &Event) -> Vec<Option<u16>> {
        places.feed(event).windows(event).map(|placed| placed.phase).collect()
    }

    #[test]
    fn the_runtimes_share_is_left_out_and_edges_go_by_the_peak() {
        let mut places = Places::default();
        feed(&mut places, &life(LifeRole::Main));
        assert!(feed(&mut places, &window(0, 0, 30, 10)).is_empty());
        let exec = What::Exec { life: LifeId(0), before_exec: Bytes::ZERO };
        assert!(feed(&mut places, &at(30, exec)).is_empty());
        assert_eq!(feed(&mut places, &window(0, 30, 100, 50))[0], None);
        feed(&mut places, &at(150, What::PhaseBegin { phase: 0 }));
        assert_eq!(feed(&mut places, &window(0, 100, 200, 120))[0], None);
        feed(&mut places, &at(250, What::PhaseEnd { phase: 0 }));
        feed(&mut places, &at(250, What::PhaseBegin { phase: 1 }));
        assert_eq!(feed(&mut places, &window(0, 200, 300, 230))[0], Some(0));
        assert_eq!(feed(&mut places, &window(0, 300, 400, 330))[0], Some(1));
    }

    #[test]
    fn without_an_exec_all_windows_count_once_the_target_is_ready() {
        let mut places = Places::default();
        feed(&mut places, &life(LifeRole::Trial { number: 1 }));
        assert!(feed(&mut places, &window(0, 0, 100, 10)).is_empty());
        assert_eq!(feed(&mut places, &at(120, What::Ready { life: LifeId(0) })).len(), 1);
        assert_eq!(feed(&mut places, &window(0, 100, 200, 150)).len(), 1);
        feed(&mut places, &at(200, What::Settled { life: LifeId(0) }));
        assert!(feed(&mut places, &window(0, 200, 300, 250)).is_empty());
    }
}
