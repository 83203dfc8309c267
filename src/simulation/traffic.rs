//! Traffic that is drawn in place of sent; it is counted by the real engine's accounts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::world::{World, chance};
use crate::clock::{Clock, Moment};
use crate::event::{Counts, ErrorKind, Event, LifeId};
use crate::load::Job;
use crate::load::scripted::{Accounts, Made};
use crate::session::scripted;

const WORKERS: usize = 2;
const STEPS: u16 = 2;

enum Command {
    Begin(u16, Moment),
    End(u16, Moment),
    Redirect(LifeId),
    Finish(Duration, oneshot::Sender<()>),
}

/// The session's end of it.
#[derive(Debug)]
struct Handle(UnboundedSender<Command>);

impl scripted::Traffic for Handle {
    fn begin_phase(&self, phase: u16, at: Moment) {
        let _ = self.0.send(Command::Begin(phase, at));
    }

    fn end_phase(&self, phase: u16, at: Moment) {
        let _ = self.0.send(Command::End(phase, at));
    }

    fn redirect(&self, life: LifeId) {
        let _ = self.0.send(Command::Redirect(life));
    }

    fn finish(self: Box<Self>, drain: Duration) -> BoxFuture<'static, ()> {
        let (done, is_done) = oneshot::channel();
        let _ = self.0.send(Command::Finish(drain, done));
        Box::pin(async move { is_done.await.expect("the engine ends") })
    }
}

pub(super) fn start(
    world: Arc<World>,
    job: &Job,
    clock: Clock,
    events: Sender<Event>,
) -> Box<dyn scripted::Traffic> {
    let (commands, seen) = unbounded_channel();
    let engine = Engine {
        accounts: Accounts::new(&clock, job.window, (job.phases.len(), STEPS.into()), WORKERS),
        rng: chance(world.seed, 8),
        life: world.newest(),
        most: job.traffic.max_in_flight,
        timeout: job.traffic.timeout,
        lengths: job.phases.iter().map(|phase| phase.length).collect(),
        window: job.window,
        world,
        clock,
        events,
        arrivals: None,
        open: BTreeMap::new(),
        due: BinaryHeap::new(),
        next_id: 0,
    };
    tokio::task::spawn_local(engine.run(seen));
    Box::new(Handle(commands))
}

/// Where arrivals come from just now.
struct Arrivals {
    phase: u16,
    next: Moment,
    end: Moment,
    /// The mean time between two.
    apart: Duration,
}

/// A request that is not over.
struct Open {
    made: Made,
    worker: usize,
    life: Option<LifeId>,
    takes: Duration,
    fate: Fate,
}

#[derive(Clone, Copy)]
enum Fate {
    Status(u16, bool),
    Breaks(ErrorKind),
    Never,
}

struct Engine {
    world: Arc<World>,
    clock: Clock,
    events: Sender<Event>,
    accounts: Accounts,
    rng: ChaCha8Rng,
    life: LifeId,
    most: usize,
    timeout: Duration,
    lengths: Vec<Duration>,
    window: Duration,
    arrivals: Option<Arrivals>,
    open: BTreeMap<u64, Open>,
    /// When a request goes on: it is sent, or it ends.
    due: BinaryHeap<Reverse<(Moment, u64)>>,
    next_id: u64,
}

impl Engine {
    async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut next = self.clock.now().floor_to(self.window) + self.window;
        let mut finishing: Option<(Moment, oneshot::Sender<()>)> = None;
        loop {
            let wait = match &finishing {
                Some(_) => Duration::from_millis(2),
                None => next.since(self.clock.now()),
            };
            tokio::select! {
                biased;
                command = commands.recv(), if finishing.is_none() => match command {
                    Some(command) => finishing = self.obey(command),
                    // The session is gone: nobody wants to know more.
                    None => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
            let now = self.clock.now();
            self.go_on(now);
            if now >= next {
                self.windows(now);
                // Now and then the threads are kept from running for a while.
                let skipped = if self.rng.random_range(0..50) == 0 { 4 } else { 0 };
                next = now.floor_to(self.window) + self.window * (1 + skipped);
                self.tell().await;
            }
            let is_over = |(by, _): &(Moment, _)| now >= *by || self.open.is_empty();
            if let Some((_, done)) = finishing.take_if(|row| is_over(row)) {
                self.finish(now).await;
                let _ = done.send(());
                return;
            }
        }
    }

    fn obey(&mut self, command: Command) -> Option<(Moment, oneshot::Sender<()>)> {
        self.go_on(self.clock.now());
        match command {
            Command::Begin(phase, at) => {
                let length = self.lengths[usize::from(phase)];
                let apart = Duration::from_micros(self.rng.random_range(2_000..60_000));
                self.arrivals = Some(Arrivals { phase, next: at + apart, end: at + length, apart });
            }
            Command::End(phase, at) => {
                if let Some(arrivals) = self.arrivals.take_if(|row| row.phase == phase) {
                    assert!(arrivals.next >= at.min(self.clock.now()), "all before were made");
                }
            }
            Command::Redirect(life) => self.life = life,
            Command::Finish(drain, done) => {
                self.arrivals = None;
                return Some((self.clock.now() + drain, done));
            }
        }
        None
    }

    /// Does what is due by `now`, in order.
    fn go_on(&mut self, now: Moment) {
        loop {
            let arrival = self.arrivals.as_ref().map(|row| row.next.min(row.end));
            let step = self.due.peek().map(|row| row.0.0);
            let arrives = arrival.is_some_and(|at| step.is_none_or(|step| at <= step));
            match if arrives { arrival } else { step } {
                Some(at) if at <= now && arrives => self.arrive(at),
                Some(at) if at <= now => self.step(at),
                _ => return,
            }
        }
    }

    fn counts(&mut self, phase: u16, change: impl FnOnce(&mut Counts)) {
        change(self.world.truth().requests.entry(phase).or_default());
    }

    fn arrive(&mut self, at: Moment) {
        let Some(arrivals) = &mut self.arrivals else { return };
        if at >= arrivals.end {
            self.arrivals = None;
            return;
        }
        let share: f64 = self.rng.random_range(0.0..3.0);
        arrivals.next = at + arrivals.apart.mul_f64(share) + Duration::from_nanos(1);
        let phase = arrivals.phase;
        let made = Made {
            phase,
            step: self.rng.random_range(0..STEPS),
            due: at,
            sent: None,
            ended: at,
            status: None,
            error: None,
            written: 0,
            read: 0,
        };
        let worker = usize::from(self.rng.random::<bool>());
        self.accounts.due(worker, &made);
        self.counts(phase, |counts| counts.due += 1);
        if self.open.len() >= self.most {
            self.accounts.unsent(worker, &made);
            self.counts(phase, |counts| counts.unsent += 1);
            return;
        }
        let (fate, takes) = self.draw();
        let waits = match self.rng.random_range(0..20) {
            0 => Duration::from_millis(self.rng.random_range(1..900)),
            _ => Duration::from_micros(self.rng.random_range(5..400)),
        };
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, Open { made, worker, life: None, takes, fate });
        self.due.push(Reverse((at + waits, id)));
    }

    fn draw(&mut self) -> (Fate, Duration) {
        let fate = match self.rng.random_range(0..100) {
            0..4 => Fate::Status(500, true),
            4 => Fate::Breaks(ErrorKind::Reset),
            5 => Fate::Breaks(ErrorKind::CutShort),
            6 => Fate::Breaks(ErrorKind::Protocol),
            7 => Fate::Never,
            _ => Fate::Status(200, false),
        };
        let slow = if self.rng.random_range(0..10) == 0 { 200 } else { 1 };
        (fate, Duration::from_micros(self.rng.random_range(100..6000) * slow))
    }

    /// A request is sent, or ends.
    fn step(&mut self, at: Moment) {
        let Some(Reverse((_, id))) = self.due.pop() else { return };
        let Some(open) = self.open.get_mut(&id) else { return };
        let up = self.world.life(open.life.unwrap_or(self.life));
        let up = up.is_some_and(|life| life.is_up(at));
        match (open.life, up) {
            (None, true) => {
                open.life = Some(self.life);
                (open.made.sent, open.made.written) = (Some(at), 300);
                let ends = match open.fate {
                    Fate::Never => at + self.timeout,
                    _ => at + open.takes.min(self.timeout),
                };
                self.due.push(Reverse((ends, id)));
                let (made, worker) = (open.made, open.worker);
                self.accounts.sent(worker, &made, at);
                self.counts(made.phase, |counts| {
                    counts.sent += 1;
                    counts.bytes_sent += made.written;
                });
            }
            (None, false) => self.end(id, at, None, Some(ErrorKind::Refused)),
            (Some(_), false) => self.end(id, at, None, Some(ErrorKind::Reset)),
            (Some(_), true) => match open.fate {
                Fate::Status(status, fails) => {
                    self.end(id, at, Some(status), fails.then_some(ErrorKind::Status));
                }
                Fate::Breaks(kind) => self.end(id, at, None, Some(kind)),
                Fate::Never => self.end(id, at, None, Some(ErrorKind::Timeout)),
            },
        }
    }

    fn end(&mut self, id: u64, at: Moment, status: Option<u16>, error: Option<ErrorKind>) {
        let Some(mut open) = self.open.remove(&id) else { return };
        let read = if status.is_some() { 800 } else { 0 };
        let made = &mut open.made;
        (made.ended, made.status, made.error, made.read) = (at, status, error, read);
        self.accounts.ended(open.worker, &open.made);
        self.counts(open.made.phase, |counts| {
            counts.ended += 1;
            counts.failed += u64::from(error.is_some());
            counts.bytes_received += read;
        });
    }

    fn windows(&mut self, now: Moment) {
        for worker in 0..WORKERS {
            let room = self.rng.random_range(0..12) > 0;
            self.accounts.window(worker, now, room);
        }
    }

    async fn tell(&mut self) {
        for event in self.accounts.told() {
            // Where nobody listens any more, the run is over.
            let _ = self.events.send(event).await;
        }
    }

    /// Gives up what is still open, and ends.
    async fn finish(mut self, now: Moment) {
        let rest: Vec<(u64, bool)> =
            self.open.iter().map(|(id, open)| (*id, open.life.is_some())).collect();
        for (id, was_sent) in rest {
            if was_sent {
                self.end(id, now, None, Some(ErrorKind::Unfinished));
            } else if let Some(open) = self.open.remove(&id) {
                self.accounts.unsent(open.worker, &open.made);
                self.counts(open.made.phase, |counts| counts.unsent += 1);
            }
        }
        for event in self.accounts.finish(now) {
            let _ = self.events.send(event).await;
        }
    }
}
