//! Progress as lines: one at each step, and now and then how memory and traffic stand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use super::text::clean;
use crate::clock::Moment;
use crate::event::{
    ActionEnded, Event, Exit, FlowWindow, LifeId, LifeRole, MemoryWindow, WatchStart, What,
};
use crate::plan::Outline;
use crate::units::{Bytes, Human, Limit};

/// Time between two lines on how things stand.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A run's progress, line by line.
pub(super) struct Lines {
    outline: Outline,
    out: Box<dyn Write + Send>,
    limit: Limit,
    started: Moment,
    /// The phase, and when it ends; a watch may have no end.
    phase: Option<(String, Option<Moment>)>,
    peak: Bytes,
    memory: Option<MemoryWindow>,
    flow: Option<(Moment, FlowWindow)>,
    shown: Moment,
    watched: BTreeMap<LifeId, Watched>,
}

/// How a life stands that is only watched.
struct Watched {
    start: WatchStart,
    limit: Limit,
    usage: Bytes,
    peak: Bytes,
    kills: u64,
}

/// Targets of a watch that one line has room for.
const SHOWN_TARGETS: usize = 4;

impl Lines {
    /// Shows progress on `out`.
    pub(super) fn new(outline: Outline, out: Box<dyn Write + Send>) -> Self {
        Self {
            limit: outline.limits.memory,
            outline,
            out,
            started: Moment::START,
            phase: None,
            peak: Bytes::ZERO,
            memory: None,
            flow: None,
            shown: Moment::START,
            watched: BTreeMap::new(),
        }
    }

    /// Takes in an event, and shows what it changes.
    pub(super) fn take(&mut self, event: &Event) {
        if self.take_watched(event) {
            return;
        }
        match &event.what {
            What::Life(life) => {
                self.limit = life.limit;
                (self.peak, self.memory, self.flow) = (Bytes::ZERO, None, None);
                self.started = event.at;
                self.say(&start_line(life.role, life.limit));
            }
            What::Exec { .. } => self.started = event.at,
            What::Ready { .. } => {
                self.say(&format!("  ready in {}", Human(event.at.since(self.started))));
            }
            What::Ended { exit, .. } => self.say(&end_line(*exit, self.peak)),
            What::OomKill(_) => self.say("  OOM kill"),
            What::PhaseBegin { phase } => self.begin_phase(*phase, event.at),
            What::Memory(window) => {
                self.peak = self.peak.max(window.peak);
                self.memory = Some(*window);
                self.stand(event.at);
            }
            What::Flow(flow) => self.flow = Some((event.at, flow.clone())),
            What::ActionBegan(began) => self.say(&format!("  {}", began.text)),
            What::ActionEnded(ActionEnded { failed: Some(why), .. }) => {
                self.say(&format!("  failed: {why}"));
            }
            What::Note { text } => self.say(&format!("note: {text}")),
            _ => {}
        }
    }

    /// Takes in an event of a life that is only watched; false where it is of another kind.
    fn take_watched(&mut self, event: &Event) -> bool {
        if let What::Watched(start) = &event.what {
            let (start, none) = (start.clone(), Bytes::ZERO);
            let row = Watched { limit: Limit::Unlimited, usage: none, peak: none, kills: 0, start };
            self.watched.insert(row.start.life, row);
            return true;
        }
        let Some(id) = event.what.life() else { return false };
        let Some(row) = self.watched.get_mut(&id) else { return false };
        let name = &row.start.name;
        match &event.what {
            What::Life(life) => {
                row.limit = life.limit;
                let (kind, limit) = (row.start.kind.name(), life.limit);
                let before = row.start.peak_before;
                let before =
                    before.map_or_else(String::new, |peak| format!(", peak so far {peak}"));
                let line = format!("watching {kind} {name}, {limit}{before}");
                self.say(&line);
            }
            // Several sources tell of one kill.
            What::OomKill(kill) if kill.count.unwrap_or(1) > row.kills => {
                row.kills = kill.count.unwrap_or(1);
                let line = format!("  OOM kill in {name}");
                self.say(&line);
            }
            What::Ended { exit, .. } => {
                let code =
                    exit.code.map_or_else(String::new, |code| format!(" with exit code {code}"));
                let line = format!("  {name} ended{code}, charged peak {}", row.peak);
                self.watched.remove(&id);
                self.say(&line);
            }
            What::Memory(window) => {
                row.usage = window.usage.last;
                row.peak = row.peak.max(window.peak);
                self.stand_watched(event.at);
            }
            _ => {}
        }
        true
    }

    /// Shows how the watched targets stand.
    fn stand_watched(&mut self, now: Moment) {
        let one = self.watched.len() == 1;
        let targets = self.watched.values().take(SHOWN_TARGETS).map(|row| {
            let name = if one { "memory" } else { &row.start.name };
            let limit = row.limit.bytes();
            let limit = limit.map_or_else(String::new, |limit| format!(", limit {limit}"));
            format!("{name} {} (peak {}{limit})", row.usage, row.peak)
        });
        let mut line = targets.collect::<Vec<_>>().join(", ");
        if self.watched.len() > SHOWN_TARGETS {
            let _ = write!(line, ", {} more", self.watched.len() - SHOWN_TARGETS);
        }
        if let Some((name, ends)) = &self.phase {
            line = match ends {
                Some(ends) => format!("{name}, {} left: {line}", Human(round(ends.since(now)))),
                None => format!("{name}: {line}"),
            };
        }
        self.show(&line, now);
    }

    /// Prints a line that stays.
    pub(super) fn say(&mut self, text: &str) {
        let _ = writeln!(self.out, "{}", clean(text));
    }

    fn begin_phase(&mut self, phase: u16, at: Moment) {
        let Some(phase) = self.outline.phases.get(usize::from(phase)) else { return };
        let length = Duration::from_nanos(phase.length_ns);
        let (mut line, mut ends) = (format!("phase {}", phase.name), None);
        if !length.is_zero() {
            let _ = write!(line, " ({})", Human(length));
            ends = Some(at + length);
        }
        self.phase = Some((phase.name.clone(), ends));
        self.shown = at;
        // Of a watch, which is one phase, the first lines have said enough.
        if self.watched.is_empty() {
            self.say(&line);
        }
    }

    /// Shows how memory and traffic stand.
    fn stand(&mut self, now: Moment) {
        let Some(memory) = self.memory else { return };
        let mut line = format!("memory {} (peak {}", memory.usage.last, self.peak);
        if let Limit::Bytes(limit) = self.limit {
            let _ = write!(line, ", limit {limit}");
        }
        line.push(')');
        if let Some((name, Some(ends))) = &self.phase {
            line = format!("{name}, {} left: {line}", Human(round(ends.since(now))));
        }
        if let Some((ended, flow)) = &self.flow {
            let in_flight: u32 = flow.steps.iter().map(|step| step.in_flight_end).sum();
            let seconds = ended.since(flow.start).as_secs_f64().max(1e-3);
            #[expect(clippy::cast_precision_loss, reason = "a window has far fewer answers")]
            let rate = flow.counts.ended as f64 / seconds;
            let _ = write!(line, ", {rate:.0}/s, {in_flight} in flight");
        }
        self.show(&line, now);
    }

    /// Tells how things stand, where that was not told of late.
    fn show(&mut self, line: &str, now: Moment) {
        if now.since(self.shown) >= LINE_EVERY {
            self.shown = now;
            self.say(&format!("  {line}"));
        }
    }
}

/// Whole seconds: a countdown of milliseconds flickers.
fn round(time: Duration) -> Duration {
    Duration::from_secs((time + Duration::from_millis(500)).as_secs())
}

pub(super) fn start_line(role: LifeRole, limit: Limit) -> String {
    match role {
        LifeRole::Trial { number } => format!("startup trial {number}, {limit}"),
        LifeRole::Unlimited { number } => {
            format!("startup trial {number} was killed; once more without a limit")
        }
        LifeRole::Main => format!("main run, {limit}"),
    }
}

/// How a life ended.
pub(super) fn end_line(exit: Exit, peak: Bytes) -> String {
    match exit.code {
        _ if exit.asked => format!("  stopped, charged peak {peak}"),
        Some(code) => format!("  ended by itself with exit code {code}, charged peak {peak}"),
        None => format!("  ended by itself, charged peak {peak}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{LifeId, LifeStart};
    use crate::plan::{LimitsOutline, PhaseOutline, Words};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn tells_each_step_on_a_line_without_control_characters() {
        let memory = Limit::Bytes(Bytes::from_mib(64));
        let outline = Outline {
            name: "test".to_owned(),
            limits: LimitsOutline { memory, cpus: None, pids: None },
            tick_ns: 1_000_000,
            window_ns: 100_000_000,
            settle_ns: 0,
            phases: vec![PhaseOutline {
                name: "bur\u{1b}[31mst".to_owned(),
                length_ns: 5_000_000_000,
                bursts: true,
                ..PhaseOutline::default()
            }],
            steps: Vec::new(),
            thresholds: Vec::new(),
            words: Words::default(),
        };
        let page = Page::default();
        let mut progress = Lines::new(outline, Box::new(page.clone()));
        let life = LifeId(0);
        let start = LifeStart { life, role: LifeRole::Main, limit: memory };
        let exit = Exit { code: Some(3), asked: false };
        for (ms, what) in [
            (0, What::Life(start)),
            (200, What::Exec { life, before_exec: Bytes::ZERO }),
            (512, What::Ready { life }),
            (600, What::PhaseBegin { phase: 0 }),
            (900, What::Ended { life, exit, lifetime_peak: None }),
        ] {
            progress.take(&Event { at: Moment::from_millis(ms), what });
        }
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        insta::assert_snapshot!(text, @r"
        main run, 64 MiB
          ready in 312 ms
        phase bur[31mst (5 s)
          ended by itself with exit code 3, charged peak 0 B
        ");
    }

    #[test]
    fn a_watch_tells_each_target_by_name() {
        let limits = LimitsOutline { memory: Limit::Unlimited, cpus: None, pids: None };
        let outline = Outline {
            name: "test".to_owned(),
            limits,
            tick_ns: 1_000_000,
            window_ns: 100_000_000,
            settle_ns: 0,
            phases: vec![PhaseOutline { name: "watch".to_owned(), ..PhaseOutline::default() }],
            steps: Vec::new(),
            thresholds: Vec::new(),
            words: Words::default(),
        };
        let page = Page::default();
        let mut progress = Lines::new(outline, Box::new(page.clone()));
        let life = LifeId(0);
        let start = WatchStart {
            life,
            target: 0,
            name: "web\u{1b}[31m".to_owned(),
            kind: crate::event::WatchKind::Container,
            id: None,
            program: None,
            group: "/docker/abc".to_owned(),
            peak_before: Some(Bytes::from_mib(40)),
        };
        let limit = Limit::Bytes(Bytes::from_mib(64));
        let kill =
            crate::event::OomKill { life, evidence: crate::event::Evidence::Docker, count: None };
        let exit = Exit { code: Some(137), asked: false };
        for what in [
            What::Watched(start),
            What::Life(LifeStart { life, role: LifeRole::Main, limit }),
            What::PhaseBegin { phase: 0 },
            What::OomKill(kill),
            What::OomKill(kill),
            What::Ended { life, exit, lifetime_peak: None },
        ] {
            progress.take(&Event { at: Moment::from_millis(1), what });
        }
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        insta::assert_snapshot!(text, @r"
        watching container web[31m, 64 MiB, peak so far 40 MiB
          OOM kill in web[31m
          web[31m ended with exit code 137, charged peak 0 B
        ");
    }
}
