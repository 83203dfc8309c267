//! Stretches in which somebody did not work: this program, or the whole target. What is measured of
//! them says little, so the reader is told.

use std::time::Duration;

use crate::clock::Moment;
use crate::event::{Event, What};
use crate::units::Human;

/// A gap in the ticks that is worth a word.
const LONG: Duration = Duration::from_secs(1);

/// Notes of one run: a target that stops again and again is told of so often.
const NOTES_MAX: u32 = 20;

/// Looks at events for gaps.
#[derive(Debug)]
pub(super) struct Gaps {
    tick: Duration,
    halted: Option<Moment>,
    told: u32,
}

impl Gaps {
    pub(super) const fn new(tick: Duration) -> Self {
        Self { tick, halted: None, told: 0 }
    }

    /// What is to be told of an event, where it ends or begins a gap.
    pub(super) fn notice(&mut self, event: &Event) -> Option<String> {
        let text = match &event.what {
            What::Memory(window) => self.missed(event.at, window.missed),
            What::Vitals(vitals) => self.halted(event.at, vitals.halted),
            _ => None,
        }?;
        self.told += 1;
        (self.told <= NOTES_MAX).then_some(text)
    }

    fn missed(&self, at: Moment, missed: u32) -> Option<String> {
        let gap = self.tick.saturating_mul(missed);
        (gap >= LONG).then(|| {
            format!(
                "up to {:.1} s no ticks were read for {}: Highwater was stopped, or had no CPU; \
                 what was due meanwhile was sent late",
                at.as_secs_f64(),
                Human(gap)
            )
        })
    }

    fn halted(&mut self, at: Moment, halted: bool) -> Option<String> {
        let seconds = at.as_secs_f64();
        match (self.halted, halted) {
            (None, true) => {
                self.halted = Some(at);
                Some(format!(
                    "at {seconds:.1} s nothing in the target could run: each of its processes was \
                     stopped (SIGSTOP), or its cgroup frozen"
                ))
            }
            (Some(began), false) => {
                self.halted = None;
                Some(format!(
                    "at {seconds:.1} s the target ran on, after about {}: what failed meanwhile \
                     tells nothing of the service",
                    Human(at.since(began))
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Vitals;

    fn vitals(seconds: u64, halted: bool) -> Event {
        let vitals = Vitals { halted, ..Vitals::default() };
        Event { at: Moment::from_millis(seconds * 1000), what: What::Vitals(Box::new(vitals)) }
    }

    #[test]
    fn a_target_that_stands_still_is_told_of_when_it_stops_and_runs_on() {
        let mut gaps = Gaps::new(Duration::from_millis(1));
        assert_eq!(gaps.notice(&vitals(1, false)), None);
        let stops = gaps.notice(&vitals(2, true)).unwrap();
        assert!(stops.starts_with("at 2.0 s nothing in the target could run"), "{stops}");
        assert_eq!(gaps.notice(&vitals(3, true)), None);
        let ran_on = gaps.notice(&vitals(5, false)).unwrap();
        assert!(ran_on.starts_with("at 5.0 s the target ran on, after about 3 s"), "{ran_on}");
    }

    #[test]
    fn notes_are_bounded() {
        let mut gaps = Gaps::new(Duration::from_millis(1));
        let told = (0..200).filter(|n| gaps.notice(&vitals(*n, n % 2 == 0)).is_some()).count();
        assert_eq!(told, 20);
    }

    #[test]
    fn a_second_without_ticks_is_told_of_and_less_is_not() {
        let gaps = Gaps::new(Duration::from_millis(1));
        assert_eq!(gaps.missed(Moment::from_millis(9000), 999), None);
        let text = gaps.missed(Moment::from_millis(9000), 3000).unwrap();
        assert!(text.starts_with("up to 9.0 s no ticks were read for 3 s"), "{text}");
    }
}
