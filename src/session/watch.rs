//! A watch: samplers on what runs already, until it ends or somebody stops the watch.
//!
//! Each target has a life for each cgroup that it lives in: a container that is started again gets
//! a new cgroup, and with it a new life, so that no counter is subtracted across the two. Nothing
//! is done to a target; what its cgroup counted before the watch is taken off here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::own::OwnUse;
use super::way::{Measured, Measuring, Sampling, Way};
use super::{Breakdown, Breakdowns, Error, Observer, StopSignal};
use crate::cgroup::{LimitCounts, Version};
use crate::clock::{Clock, Moment};
use crate::event::{
    Event, Evidence, Exit, Finish, LifeId, LifeRole, LifeStart, PeakMethod, WatchKind, WatchStart,
    What,
};
use crate::judge::FlightRecorder;
use crate::plan::WatchPlan;
use crate::record::Recorder;
use crate::runtime::{Again, Attached, Attacher, Following, Wanted};
use crate::sample::SamplerJob;
use crate::units::{Bytes, Limit};

/// How long a target that has ended may take to be started again.
const GRACE: Duration = Duration::from_secs(1);

/// How often it is looked for in that time.
const LOOK: Duration = Duration::from_millis(100);

/// What a watch works with.
pub struct WatchParts {
    /// What is to be done.
    pub plan: WatchPlan,
    /// Who samples memory.
    pub way: Way,
    /// What is wanted, where containers that start later are watched too.
    pub wanted: Wanted,
    /// Finds what runs.
    pub attacher: Arc<Attacher>,
    /// What it has found.
    pub targets: Vec<Attached>,
    /// The run's clock.
    pub clock: Clock,
    /// Takes the events.
    pub recorder: Recorder,
    /// Asks the watch to stop.
    pub stop: StopSignal,
    /// Tells of threads that broke down.
    pub breakdowns: Breakdowns,
    /// Is shown each event.
    pub observer: Observer,
}

/// A watch in progress.
pub struct Watch {
    plan: WatchPlan,
    way: Way,
    wanted: Wanted,
    attacher: Arc<Attacher>,
    clock: Clock,
    own: OwnUse,
    recorder: Recorder,
    stop: StopSignal,
    breakdowns: Breakdowns,
    observer: Observer,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    targets: Vec<Target>,
    lives: BTreeMap<LifeId, Life>,
    next_life: u32,
    methods: BTreeSet<&'static str>,
    last_end: Option<Moment>,
    flight: FlightRecorder,
    /// What of an event is recorded; kept for its room.
    to_record: Vec<Event>,
}

/// Something that is watched, over all its lives.
struct Target {
    attached: Attached,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Lives,
    /// It has ended and may come again until then.
    MayReturn(Instant),
    Over,
}

/// One cgroup that is sampled.
struct Life {
    target: usize,
    /// What the limit had done before.
    before: LimitCounts,
    limit: Limit,
    sampling: Sampling,
    measuring: Option<Measuring>,
    following: Following,
    ended: Option<(Moment, Exit)>,
}

impl Watch {
    /// A watch that has begun on nothing yet.
    #[must_use]
    pub fn new(parts: WatchParts) -> Self {
        let (sender, receiver) = channel(parts.plan.budget.event_queue);
        let flight = FlightRecorder::new(parts.plan.keep_all_ticks, parts.plan.budget.raw_ticks);
        let targets = parts.targets.into_iter();
        Self {
            way: parts.way,
            plan: parts.plan,
            wanted: parts.wanted,
            attacher: parts.attacher,
            own: OwnUse::begin(&parts.clock),
            clock: parts.clock,
            recorder: parts.recorder,
            stop: parts.stop,
            breakdowns: parts.breakdowns,
            observer: parts.observer,
            sender,
            receiver,
            targets: targets.map(|attached| Target { attached, state: State::Lives }).collect(),
            lives: BTreeMap::new(),
            next_life: 0,
            methods: BTreeSet::new(),
            last_end: None,
            flight,
            to_record: Vec::new(),
        }
    }

    /// Watches until all targets have ended or the watch is asked to stop, and ends the recording.
    ///
    /// # Errors
    /// When a sampler or the recording fails.
    pub async fn run(mut self) -> Result<Finish, Error> {
        let done = Box::pin(self.run_to_end()).await;
        super::conclude(self.recorder, done).await
    }

    async fn run_to_end(&mut self) -> Result<Finish, Error> {
        if let Way::Helper(helper) = self.way.clone() {
            let (clock, sender) = (self.clock.clone(), self.sender.clone());
            self.during(helper.begin(&clock, sender)).await??;
        }
        // Listened to from before the first life, so that nothing starts unseen.
        let starts = self.attacher.starts(&self.wanted);
        for target in 0..self.targets.len() {
            self.begin(target).await?;
        }
        self.record_now(What::PhaseBegin { phase: 0 }).await?;
        let stopped = self.watch(starts).await?;
        let ends = self.last_end.filter(|_| !stopped).unwrap_or_else(|| self.clock.now());
        self.take(Event { at: ends, what: What::PhaseEnd { phase: 0 } }).await?;
        let left: Vec<LifeId> = self.lives.keys().copied().collect();
        for life in left {
            self.close(life).await?;
        }
        self.record_now(What::Drained).await?;
        self.take(self.own.event(&self.clock)).await?;
        self.record_now(What::Finished(Finish::Completed)).await?;
        Ok(Finish::Completed)
    }

    /// The loop. Gives whether the watch was asked to stop.
    async fn watch(&mut self, mut starts: Option<Receiver<String>>) -> Result<bool, Error> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            let ended = self.lives.iter().find(|(_, life)| life.ended.is_some());
            if let Some(life) = ended.map(|(life, _)| *life) {
                self.close(life).await?;
                continue;
            }
            if self.targets.iter().all(|target| target.state == State::Over) {
                return Ok(false);
            }
            let awaited = |target: &Target| matches!(target.state, State::MayReturn(_));
            let waits = self.targets.iter().any(awaited);
            let started = async {
                match &mut starts {
                    Some(starts) => starts.recv().await,
                    None => None,
                }
            };
            tokio::select! {
                biased;
                () = stop.asked() => return Ok(true),
                broken = self.breakdowns.next() => self.broke_down(broken).await?,
                Some(event) = self.receiver.recv() => self.take(event).await?,
                Some(id) = started => self.arrived(&id).await?,
                _ = look.tick(), if waits => self.look_again().await?,
                else => return Ok(true),
            }
        }
    }

    /// Goes on without a thread that broke down, or not.
    async fn broke_down(&mut self, broken: Breakdown) -> Result<(), Error> {
        if broken.is_fatal() {
            return Err(broken.into());
        }
        self.record_now(What::Note { text: broken.told() }).await
    }

    /// Begins a life of a target in the cgroup where it is now.
    async fn begin(&mut self, target: usize) -> Result<(), Error> {
        let attached = self.targets[target].attached.clone();
        self.targets[target].state = State::Lives;
        let life = LifeId(self.next_life);
        self.next_life += 1;
        for text in attached.notes.clone() {
            self.record_now(What::Note { text }).await?;
        }
        let limit = attached.bounds.limit;
        let start = WatchStart {
            life,
            target: u32::try_from(target).unwrap_or(u32::MAX),
            name: attached.name.clone(),
            kind: attached.kind,
            id: attached.id.clone(),
            program: attached.program.clone(),
            group: attached.group.clone(),
            peak_before: attached.bounds.peak,
        };
        self.record_now(What::Watched(start)).await?;
        self.record_now(What::Life(LifeStart { life, role: LifeRole::Main, limit })).await?;
        // What runs already is past the container runtime's share.
        let exec = What::Exec { life, before_exec: Bytes::ZERO };
        self.record_now(exec).await?;
        let job = SamplerJob {
            life,
            place: attached.place.clone(),
            sampling: self.plan.sampling,
            may_reset: self.plan.reset_shared_peaks || attached.place.version == Version::V2,
            limit,
        };
        let (way, clock, sender) = (self.way.clone(), self.clock.clone(), self.sender.clone());
        let sampling = self.during(Sampling::begin(&way, job, &clock, &sender)).await??;
        let sampling = sampling.expect("a watch reads cgroups, from here or by a helper");
        let measured = Measured { life, pid: None, dirs: attached.dirs.clone() };
        let measuring = self.during(Measuring::begin(&way, measured, &clock, &sender)).await?;
        let mut following = self.attacher.follow(&attached, life, &self.clock);
        self.forward(&mut following);
        let before = attached.counts;
        let row = Life { target, before, limit, sampling, measuring, following, ended: None };
        self.lives.insert(life, row);
        Ok(())
    }

    /// Lets the news of a target flow into the watch's channel.
    fn forward(&self, following: &mut Following) {
        let Some(mut events) = following.take_events() else { return };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if sender.send(event).await.is_err() {
                    break;
                }
            }
        });
    }

    /// Ends a life and completes its record.
    async fn close(&mut self, id: LifeId) -> Result<(), Error> {
        let Some(life) = self.lives.get(&id) else { return Ok(()) };
        let (target, ended, limit) = (life.target, life.ended, life.limit);
        if ended.is_none() {
            self.note_changed_limit(target, limit).await?;
        }
        let Some(life) = self.stop_producers(id).await? else { return Ok(()) };
        drop(life);
        let Some((at, exit)) = ended else { return Ok(()) };
        let what = What::Ended { life: id, exit, lifetime_peak: None };
        self.record(Event { at, what }).await?;
        self.last_end = self.last_end.max(Some(at));
        self.targets[target].state = State::MayReturn(Instant::now() + GRACE);
        Ok(())
    }

    /// Stops the threads of a life, pumping what they still send; its row stays until then, for
    /// what the limit had done before must be known.
    async fn stop_producers(&mut self, id: LifeId) -> Result<Option<Following>, Error> {
        let Some(life) = self.lives.remove(&id) else { return Ok(None) };
        let before = life.before;
        let Life { sampling, measuring, following, .. } = life;
        let work = async move {
            if let Some(measuring) = measuring {
                // That it broke down was told when it did: a watch goes on without.
                let _ = measuring.stop().await;
            }
            sampling.stop().await
        };
        tokio::pin!(work);
        let stopped = loop {
            tokio::select! {
                biased;
                Some(event) = self.receiver.recv() => self.take_of(event, Some((id, before))).await?,
                done = &mut work => break done,
            }
        };
        while let Ok(event) = self.receiver.try_recv() {
            self.take_of(event, Some((id, before))).await?;
        }
        stopped?;
        Ok(Some(following))
    }

    /// A limit that was changed while it was watched makes shares of it wrong.
    async fn note_changed_limit(&mut self, target: usize, limit: Limit) -> Result<(), Error> {
        let attached = &self.targets[target].attached;
        let now = self.attacher.limit_of(attached);
        if now.is_none_or(|now| now == limit) {
            return Ok(());
        }
        let (name, now) = (attached.name.clone(), now.unwrap_or(limit));
        let text = format!(
            "the limit of {name} was changed from {limit} to {now} while it was watched: shares \
             are of the first"
        );
        self.record_now(What::Note { text }).await
    }

    /// Looks whether targets that have ended run again.
    async fn look_again(&mut self) -> Result<(), Error> {
        for target in 0..self.targets.len() {
            let row = &self.targets[target];
            let State::MayReturn(until) = row.state else { continue };
            let (attached, attacher) = (row.attached.clone(), self.attacher.clone());
            match self.during(attacher.again(&attached)).await? {
                Again::Runs(attached) => self.returned(target, *attached).await?,
                Again::Soon => {
                    self.targets[target].state = State::MayReturn(Instant::now() + GRACE);
                }
                Again::Over if Instant::now() >= until || attached.kind == WatchKind::Pid => {
                    self.targets[target].state = State::Over;
                }
                Again::Over => {}
            }
        }
        Ok(())
    }

    async fn returned(&mut self, target: usize, attached: Attached) -> Result<(), Error> {
        let (old, new) = (self.targets[target].attached.bounds.limit, attached.bounds.limit);
        let name = &attached.name;
        let mut text = format!("{name} was started again: what follows is a new life of it");
        if old != new {
            let _ = write!(text, "; its limit is {new} now, and shares are of the first, {old}");
        }
        self.targets[target].attached = attached;
        self.record_now(What::Note { text }).await?;
        self.begin(target).await
    }

    /// A container that is wanted has started.
    async fn arrived(&mut self, id: &str) -> Result<(), Error> {
        let attacher = self.attacher.clone();
        let Some(attached) = self.during(attacher.started(id)).await? else { return Ok(()) };
        let known = self.targets.iter().position(|row| row.attached.id.as_deref() == Some(id));
        match known {
            Some(target) if self.targets[target].state == State::Lives => Ok(()),
            Some(target) => self.returned(target, attached).await,
            None => {
                self.targets.push(Target { attached, state: State::Lives });
                self.begin(self.targets.len() - 1).await
            }
        }
    }

    /// Waits for `work`, pumping events meanwhile.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(event) = self.receiver.recv() => self.take(event).await?,
                done = &mut work => return Ok(done),
            }
        }
    }

    async fn take(&mut self, event: Event) -> Result<(), Error> {
        self.take_of(event, None).await
    }

    /// Takes in one event; `closing` is the life that is being closed.
    async fn take_of(
        &mut self,
        mut event: Event,
        closing: Option<(LifeId, LimitCounts)>,
    ) -> Result<(), Error> {
        let id = event.what.life();
        let row = id.and_then(|id| self.lives.get_mut(&id));
        let before = row.as_ref().map(|row| row.before);
        let before = before.or(closing.filter(|(life, _)| Some(*life) == id).map(|(_, b)| b));
        match &mut event.what {
            // Of a target that ran before, no program is seen first.
            What::Exec { .. } => return Ok(()),
            What::Ended { exit, .. } => {
                if let Some(row) = row {
                    row.ended.get_or_insert((event.at, *exit));
                }
                return Ok(());
            }
            What::Memory(window) => {
                let before = before.unwrap_or_default();
                let since = |count: Option<u64>, before| {
                    count.map(|count: u64| count.saturating_sub(before))
                };
                window.limit_hits = since(window.limit_hits, before.limit_hits);
                window.oom_kills = since(window.oom_kills, before.oom_kills);
            }
            What::OomKill(kill) if kill.evidence != Evidence::Docker => {
                let before = before.unwrap_or_default().oom_kills;
                kill.count = kill.count.map(|count| count.saturating_sub(before));
                if kill.count == Some(0) {
                    return Ok(());
                }
            }
            What::Sampling(start) => {
                let v2 = self.attacher.version() == Version::V2;
                let note = method_note(start.method, v2 || self.plan.reset_shared_peaks);
                if self.methods.insert(start.method.name()) && !note.is_empty() {
                    let text = note.to_owned();
                    self.record(Event { at: event.at, what: What::Note { text } }).await?;
                }
            }
            _ => {}
        }
        self.record(event).await
    }

    async fn record_now(&mut self, what: What) -> Result<(), Error> {
        let event = Event { at: self.clock.now(), what };
        self.record(event).await
    }

    async fn record(&mut self, event: Event) -> Result<(), Error> {
        (self.observer)(&event);
        self.flight.take(event, &mut self.to_record);
        let mut recorded = Ok(());
        for event in self.to_record.drain(..) {
            if matches!(event.what, What::Spikes(_)) {
                // Found just now, in the ticks.
                (self.observer)(&event);
            }
            let taken = self.recorder.record(event).await;
            recorded = recorded.and(taken);
        }
        Ok(recorded?)
    }
}

/// What a way to know peaks costs, in accuracy or to others.
const fn method_note(method: PeakMethod, reset_wanted: bool) -> &'static str {
    match method {
        PeakMethod::V2Reset => "",
        PeakMethod::Lifetime if reset_wanted => {
            "peaks can't be reset here (that takes root, and on cgroup v2 Linux 6.12): one above \
             all before it is exact, a lower one counts as far as a tick sees it"
        }
        PeakMethod::V1Reset => {
            "peaks are reset at every tick: whoever else reads memory.max_usage_in_bytes of what is \
             watched sees only the time since the last tick"
        }
        PeakMethod::Lifetime => {
            "peaks are not reset: one above all before it is exact, a lower one counts as far as a \
             tick sees it. On cgroup v1, `--reset-peaks` makes each exact, and resets the mark for \
             everyone who reads it"
        }
        PeakMethod::Sampled | PeakMethod::DockerStats => {
            "the kernel keeps no peak here: a spike between two ticks is not seen"
        }
    }
}
