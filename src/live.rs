//! What a person sees while a run goes on: a line at each step, and how memory and traffic stand.
//!
//! On a terminal one line is redrawn in place; elsewhere a line is printed now and then. Driven by
//! the session's events, and never in its way.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Moment;
use crate::event::{Event, Exit, FlowWindow, LifeRole, MemoryWindow, What};
use crate::plan::Outline;
use crate::units::{Bytes, Human, Limit};

/// Without a terminal, time between two lines on how things stand.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows a run's progress.
pub struct Progress {
    outline: Outline,
    out: Box<dyn Write + Send>,
    bar: Option<ProgressBar>,
    limit: Limit,
    started: Moment,
    phase: Option<(String, Moment)>,
    peak: Bytes,
    memory: Option<MemoryWindow>,
    flow: Option<(Moment, FlowWindow)>,
    shown: Moment,
}

impl Progress {
    /// Shows progress on `out`; `redraw` where that is a terminal (standard error).
    #[must_use]
    pub fn new(outline: Outline, out: Box<dyn Write + Send>, redraw: bool) -> Self {
        let bar = redraw.then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}")
                .expect("the template is well-formed");
            let target = ProgressDrawTarget::stderr_with_hz(5);
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        Self {
            limit: outline.limits.memory,
            outline,
            out,
            bar,
            started: Moment::START,
            phase: None,
            peak: Bytes::ZERO,
            memory: None,
            flow: None,
            shown: Moment::START,
        }
    }

    /// Takes in an event, and shows what it changes.
    pub fn take(&mut self, event: &Event) {
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
            What::Ended { exit, .. } => self.say(&self.end_line(*exit)),
            What::OomKill(_) => self.say("  OOM kill"),
            What::PhaseBegin { phase } => self.begin_phase(*phase, event.at),
            What::Memory(window) => {
                self.peak = self.peak.max(window.peak);
                self.memory = Some(*window);
                self.stand(event.at);
            }
            What::Flow(flow) => self.flow = Some((event.at, flow.clone())),
            What::Note { text } => self.say(&format!("note: {text}")),
            What::Finished(_) => self.close(),
            _ => {}
        }
    }

    /// Prints a line that stays.
    pub fn say(&mut self, text: &str) {
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        match &self.bar {
            Some(bar) => bar.suspend(|| {
                let _ = writeln!(self.out, "{clean}");
            }),
            None => {
                let _ = writeln!(self.out, "{clean}");
            }
        }
    }

    fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn begin_phase(&mut self, phase: u16, at: Moment) {
        let Some(phase) = self.outline.phases.get(usize::from(phase)) else { return };
        let length = Human(Duration::from_nanos(phase.length_ns));
        let line = format!("phase {} ({length})", phase.name);
        self.phase = Some((phase.name.clone(), at + Duration::from_nanos(phase.length_ns)));
        self.shown = at;
        self.say(&line);
    }

    fn end_line(&self, exit: Exit) -> String {
        let peak = self.peak;
        match exit.code {
            _ if exit.asked => format!("  stopped, charged peak {peak}"),
            Some(code) => format!("  ended by itself with exit code {code}, charged peak {peak}"),
            None => format!("  ended by itself, charged peak {peak}"),
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
        if let Some((name, ends)) = &self.phase {
            line = format!("{name}, {} left: {line}", Human(round(ends.since(now))));
        }
        if let Some((ended, flow)) = &self.flow {
            let in_flight: u32 = flow.steps.iter().map(|step| step.in_flight_end).sum();
            let seconds = ended.since(flow.start).as_secs_f64().max(1e-3);
            #[expect(clippy::cast_precision_loss, reason = "a window has far fewer answers")]
            let rate = flow.counts.ended as f64 / seconds;
            let _ = write!(line, ", {rate:.0}/s, {in_flight} in flight");
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None if now.since(self.shown) >= LINE_EVERY => {
                self.shown = now;
                self.say(&format!("  {line}"));
            }
            None => {}
        }
    }
}

/// Whole seconds: a countdown of milliseconds flickers.
fn round(time: Duration) -> Duration {
    Duration::from_secs((time + Duration::from_millis(500)).as_secs())
}

fn start_line(role: LifeRole, limit: Limit) -> String {
    match role {
        LifeRole::Trial { number } => format!("startup trial {number}, {limit}"),
        LifeRole::Unlimited { number } => {
            format!("startup trial {number} was killed; once more without a limit")
        }
        LifeRole::Main => format!("main run, {limit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{LifeId, LifeStart};
    use crate::plan::{LimitsOutline, PhaseOutline};
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
            }],
            steps: Vec::new(),
            thresholds: Vec::new(),
        };
        let page = Page::default();
        let mut progress = Progress::new(outline, Box::new(page.clone()), false);
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
}
