//! What a person sees while a run goes on.
//!
//! On a terminal that is a picture: memory against its limit over time, traffic, latency, the time
//! left, and what happened. Elsewhere it is a line at each step, and one now and then on how things
//! stand. Both are driven by the session's events, and never in its way: an event is taken in
//! without waiting for a terminal, and what is kept of it has a bound.
//!
//! [`LivePage`] serves the report as it stands to a browser of this machine.

mod endpoint;
mod gauges;
mod history;
mod lines;
mod page;
mod screen;
mod state;
mod text;
mod view;

use std::io::{self, Write};

use crate::event::Event;
use crate::plan::Outline;
use lines::Lines;
use screen::Screen;

pub use endpoint::{Scraped, serve};
pub use gauges::Gauges;
pub use page::{LivePage, LiveReport, MakeReport};

/// Shows a run's progress.
pub struct Progress(Shown);

enum Shown {
    Lines(Box<Lines>),
    Screen(Screen),
}

impl Progress {
    /// Lines on `out`.
    #[must_use]
    pub fn lines(outline: Outline, out: Box<dyn Write + Send>) -> Self {
        Self(Shown::Lines(Box::new(Lines::new(outline, out))))
    }

    /// Whether standard error is a terminal that can show a picture, and is ours to use.
    #[must_use]
    pub fn has_screen() -> bool {
        screen::is_possible()
    }

    /// A picture on the terminal of standard error, until it is closed or dropped.
    ///
    /// # Errors
    /// When the terminal can't be taken.
    pub fn screen(outline: Outline, color: bool) -> io::Result<Self> {
        Ok(Self(Shown::Screen(Screen::open(outline, color)?)))
    }

    /// Takes in an event, and shows what it changes.
    pub fn take(&mut self, event: &Event) {
        match &mut self.0 {
            Shown::Lines(lines) => lines.take(event),
            Shown::Screen(screen) => screen.take(event),
        }
    }

    /// Tells something on a line of its own.
    pub fn say(&mut self, text: &str) {
        match &mut self.0 {
            Shown::Lines(lines) => lines.say(text),
            Shown::Screen(screen) => screen.say(text),
        }
    }

    /// Tells that the run was asked to stop.
    pub fn stopping(&mut self) {
        match &mut self.0 {
            Shown::Lines(lines) => {
                lines.say("stopping and reporting; once more to end at once");
            }
            Shown::Screen(screen) => screen.stopping(),
        }
    }

    /// Tells where the live page is.
    pub fn live_page(&mut self, url: &str) {
        match &mut self.0 {
            Shown::Lines(lines) => lines.say(&format!("live page: {url}")),
            Shown::Screen(screen) => screen.live_page(url),
        }
    }

    /// Leaves the terminal as it was found; what is said from now on are lines.
    pub fn close(&mut self) {
        if let Shown::Screen(screen) = &mut self.0 {
            screen.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use std::time::Duration;

    use super::state::State;
    use super::view::{Palette, draw};
    use crate::clock::Moment;
    use crate::event::{
        Band, Counts, Event, Evidence, FlowWindow, Histogram, LifeId, LifeRole, LifeStart,
        MemoryWindow, OomKill, Spike, SpikeBatch, StepFlow, TrafficWindow, Vitals, WatchKind,
        WatchStart, What,
    };
    use crate::plan::{LimitsOutline, Outline, PhaseOutline, Words};
    use crate::units::{Bytes, Limit};

    const LIFE: LifeId = LifeId(0);

    /// A window of 100 ms from `ms` on, with so many MiB charged, half of them unreclaimable.
    pub(super) fn window(ms: u64, mib: u64, peak_mib: u64) -> MemoryWindow {
        let band = |mib| Band::of(Bytes::from_mib(mib));
        MemoryWindow {
            life: LIFE,
            start: Moment::from_millis(ms),
            ticks: 100,
            missed: 0,
            usage: band(mib),
            peak: Bytes::from_mib(peak_mib),
            peak_at: Moment::from_millis(ms + 50),
            rss: band(mib / 2),
            cache: band(mib / 2),
            shmem: band(0),
            working_set: band(mib),
            unreclaimable_low: band(mib / 2),
            unreclaimable_high: band(mib / 2),
            limit_hits: None,
            oom_kills: None,
            kernel: None,
            held_mean: None,
        }
    }

    fn outline(names: &[&str]) -> Outline {
        let phase = |name: &&str| PhaseOutline {
            name: (*name).to_owned(),
            length_ns: 30_000_000_000,
            ..PhaseOutline::default()
        };
        Outline {
            name: "shop\u{1b}[2J-api".to_owned(),
            limits: LimitsOutline {
                memory: Limit::Bytes(Bytes::from_mib(256)),
                cpus: None,
                pids: None,
            },
            tick_ns: 1_000_000,
            window_ns: 100_000_000,
            settle_ns: 0,
            phases: names.iter().map(phase).collect(),
            steps: Vec::new(),
            thresholds: Vec::new(),
            words: Words::default(),
        }
    }

    fn send(state: &mut State, ms: u64, what: What) {
        state.take(&Event { at: Moment::from_millis(ms), what });
    }

    fn shown(state: &State, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(state, Palette { color: false }, Duration::from_secs(7), area, &mut buffer);
        let rows = (0..height).map(|y| {
            let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            row.trim_end().to_owned()
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    /// A run in the middle of its second phase, with a spike and a kill behind it.
    fn in_mid_run() -> State {
        let mut state = State::new(outline(&["ramp", "burst", "soak"]));
        let limit = Limit::Bytes(Bytes::from_mib(256));
        send(&mut state, 0, What::Life(LifeStart { life: LIFE, role: LifeRole::Main, limit }));
        send(&mut state, 10, What::Exec { life: LIFE, before_exec: Bytes::ZERO });
        send(&mut state, 322, What::Ready { life: LIFE });
        send(&mut state, 400, What::PhaseBegin { phase: 0 });
        for step in 0..300_u64 {
            let mib = 40 + step / 3;
            let peak = if step == 200 { 240 } else { mib + 4 };
            send(&mut state, 400 + step * 100, What::Memory(window(300 + step * 100, mib, peak)));
        }
        let spike = |ms, rise| Spike {
            at: Moment::from_millis(ms),
            peak: Bytes::from_mib(240),
            rise: Bytes::from_mib(rise),
            begin: Moment::from_millis(ms - 1),
            end: Moment::from_millis(ms + 1),
        };
        let found = vec![spike(20_350, 134), spike(21_000, 12)];
        send(&mut state, 21_100, What::Spikes(SpikeBatch { life: LIFE, found, beyond: 0 }));
        send(&mut state, 30_400, What::PhaseEnd { phase: 0 });
        send(&mut state, 30_400, What::PhaseBegin { phase: 1 });
        let note = What::Note { text: "cleared \u{1b}]0;owned\u{7}\u{202e}title".to_owned() };
        send(&mut state, 31_000, note);
        for evidence in [Evidence::Events, Evidence::Docker] {
            let kill = OomKill { life: LIFE, evidence, count: Some(1) };
            send(&mut state, 32_000, What::OomKill(kill));
        }
        let mut latency_us = Histogram::new();
        (1..=100).for_each(|n| latency_us.record(n * 420));
        let counts = Counts { ended: 100, failed: 3, ..Counts::default() };
        let traffic = TrafficWindow { phase: 1, counts, latency_us, ..TrafficWindow::default() };
        send(&mut state, 33_000, What::Traffic(Box::new(traffic)));
        for step in 0..12_u64 {
            let (at, counts) = (33_000 + step * 100, Counts { ended: 20 + step, ..counts });
            let step = StepFlow {
                step: 0,
                sent: 20,
                ended: 20,
                in_flight_max: 9,
                in_flight_end: 7,
                in_flight_us: None,
                body_bytes_sent: 0,
                bytes_received: 0,
            };
            let steps = vec![step];
            let flow = FlowWindow { start: Moment::from_millis(at - 100), counts, steps };
            send(&mut state, at, What::Flow(flow));
        }
        for (at, cpu_ns) in [(34_000, 1_000_000_000), (35_000, 1_620_000_000)] {
            let vitals = Vitals {
                life: Some(LIFE),
                cpu_ns: Some(cpu_ns),
                threads: 14,
                open_files: Some(33),
                ..Vitals::default()
            };
            send(&mut state, at, What::Vitals(Box::new(vitals)));
        }
        send(&mut state, 42_400, What::Memory(window(42_300, 131, 140)));
        state
    }

    #[test]
    fn a_run_on_a_common_terminal() {
        let text = shown(&in_mid_run(), 80, 24);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[0].split_whitespace().collect::<Vec<_>>(),
            ["highwater", "shop[2J-api", "00:42"]
        );
        assert_eq!(rows[1], "phase 2 of 3: burst  ████████░░░░░░░░░░░░ 00:18 left, 00:48 in all",);
        // The spike reaches nearly to the limit, in whose row the kill is marked.
        assert!(rows[2].starts_with(" 256 MiB │────"), "{text}");
        assert!(rows[2].contains('•') && rows[2].ends_with('✗'), "{text}");
        assert!(rows[6].starts_with(" 128 MiB │") && rows[9].contains("████"), "{text}");
        insta::assert_snapshot!(rows[10..].join("\n"), @r"
               0 ┴ █ unreclaimable ░ the rest • peak   over 00:30
        Memory   131 MiB (51 %)  unreclaimable 65 MiB  peak 240 MiB (94 %) at 00:20
        Traffic  265/s  7 in flight  100 answers  3 failed  ▆▆▆▆▇▇▇▇████
        Latency  p50 21 ms  p95 40 ms  p99 42 ms  max 42 ms  of this phase
        Target   0.62 CPUs  14 threads  33 open files
        Events
           00:00  main run, 256 MiB
           00:00  ready in 312 ms
           00:00  phase ramp
           00:20  2 spikes, the largest of 134 MiB to 240 MiB
           00:30  phase burst
           00:31  cleared ]0;ownedtitle
           00:32  OOM kill
        q stop and report   t show the last minute   Ctrl-C twice: end at once
        ");
    }

    #[test]
    fn every_size_can_be_drawn_and_nothing_hostile_gets_through() {
        let state = in_mid_run();
        for width in (0..=200).step_by(7) {
            for height in 0..=60 {
                let text = shown(&state, width, height);
                assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{width}x{height}");
                assert!(!text.contains('\u{202e}'), "{width}x{height}");
            }
        }
        let small = shown(&state, 60, 8);
        assert!(small.contains("Memory   131 MiB (51 %)"), "{small}");
        assert!(small.contains("q stop and report"), "{small}");
    }

    #[test]
    fn a_peak_stands_out_as_high_as_it_was_at_every_width() {
        let state = in_mid_run();
        for width in [30, 80, 160] {
            let text = shown(&state, width, 40);
            assert!(text.contains('•'), "{text}");
        }
        assert!(shown(&state, 160, 50).contains("peak 240 MiB (94 %) at 00:20"));
    }

    #[test]
    fn before_the_run_there_is_what_is_being_built() {
        let mut state = State::new(outline(&["ramp"]));
        for number in 0..1000 {
            state.push(None, super::state::Kind::Step, &format!("Compiling crate{number}"));
        }
        let text = shown(&state, 80, 24);
        assert!(text.contains("preparing") && text.contains("Compiling crate999"), "{text}");
        assert!(state.log.len() <= 200);
    }

    #[test]
    fn several_watched_targets_are_a_table() {
        let mut state = State::new(outline(&["watch"]));
        for number in 0..300 {
            let life = LifeId(number);
            let start = WatchStart {
                life,
                target: number,
                name: format!("web-{number}"),
                kind: WatchKind::Container,
                id: None,
                program: None,
                group: "/docker/abc".to_owned(),
                peak_before: None,
            };
            send(&mut state, 0, What::Watched(start));
            let limit = Limit::Bytes(Bytes::from_mib(64));
            send(&mut state, 0, What::Life(LifeStart { life, role: LifeRole::Main, limit }));
            send(&mut state, 100, What::Memory(MemoryWindow { life, ..window(0, 20, 30) }));
        }
        let text = shown(&state, 80, 24);
        assert!(text.contains("web-0") && text.contains("more"), "{text}");
        assert!(state.watched.len() <= 256);
    }
}
