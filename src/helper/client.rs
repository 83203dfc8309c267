//! The harness's side: asks the helper, and passes on what it sees.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Error;
use super::protocol::{Answer, Ask, Facts, LoadOrder, Order, ReadyOrder, Word};
use super::protocol::{read_frame, write_frame};
use crate::cgroup::{Extras, Nest};
use crate::clock::{Anchor, Clock, Moment, monotonic_ns};
use crate::event::{Event, GeneratorReport, LifeId};
use crate::plan::Budget;
use crate::runtime;
use crate::sample::SamplerJob;
use crate::units::Bytes;

/// Orders that may wait for the connection.
const QUEUE: usize = Budget::HELPER_ORDERS;

/// Round trips from which the offset between two clocks is estimated.
const ROUND_TRIPS: usize = 16;

/// How the helper's monotonic clock relates to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    /// It is the same one: both run under the same kernel.
    Same,
    /// They are two; the offset is estimated.
    Estimated {
        /// What is added to our time to get the helper's, in nanoseconds.
        offset_ns: i64,
        /// By how much that may be wrong either way: half of the quickest round trip.
        error: Duration,
    },
}

/// A helper at work. Dropped, it ends by itself.
#[derive(Debug)]
pub struct Helper {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    spent: watch::Receiver<BTreeSet<u16>>,
    numbers: AtomicU64,
    facts: Facts,
    clocks: Clocks,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    events: OnceLock<Sender<Event>>,
    /// Why no answer will come any more.
    ended: OnceLock<String>,
    /// Wakes those who wait for that.
    ending: tokio::sync::Notify,
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> Error {
        let words = self.ended.get().filter(|words| !words.is_empty());
        Error::Gone { words: words.map(|words| format!(": {words}")).unwrap_or_default() }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Helper {
    /// Greets a helper at the other end of `input` and `output`, and compares clocks.
    ///
    /// # Errors
    /// When it does not answer as a helper does.
    pub async fn greet(
        output: Pin<Box<dyn AsyncRead + Send>>,
        input: Pin<Box<dyn AsyncWrite + Send>>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let (orders, to_send) = channel(QUEUE);
        let (spent, spent_seen) = watch::channel(BTreeSet::new());
        let listening = tokio::spawn(listen(output, Arc::clone(&shared), spent));
        let asking = tokio::spawn(ask_all(input, to_send));
        let (boot_id, host) = (String::new(), runtime::bare_host_facts());
        let mut helper = Self {
            orders,
            shared,
            spent: spent_seen,
            numbers: AtomicU64::new(0),
            facts: Facts { boot_id, host, hierarchies: None },
            clocks: Clocks::Same,
            tasks: [listening, asking],
        };
        helper.facts = match helper.ask(Ask::Facts).await? {
            Answer::Facts(facts) => *facts,
            other => return Err(unexpected(&other)),
        };
        helper.clocks = helper.compare_clocks().await?;
        Ok(helper)
    }

    /// What is known of its host.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How its clock relates to ours.
    #[must_use]
    pub const fn clocks(&self) -> Clocks {
        self.clocks
    }

    async fn compare_clocks(&self) -> Result<Clocks, Error> {
        if runtime::boot_id().is_some_and(|ours| ours == self.facts.boot_id) {
            return Ok(Clocks::Same);
        }
        let mut best = (0, Duration::MAX);
        for _ in 0..ROUND_TRIPS {
            let sent = monotonic_ns();
            let Answer::Time { monotonic_ns: theirs } = self.ask(Ask::Time).await? else {
                return Err(Error::Garbled { text: "no time".to_owned() });
            };
            let (offset_ns, error) = offset(sent, theirs, monotonic_ns());
            if error < best.1 {
                best = (offset_ns, error);
            }
        }
        Ok(Clocks::Estimated { offset_ns: best.0, error: best.1 })
    }

    /// Waits until it is gone, which it should not be before its orders end.
    pub async fn gone(&self) -> Error {
        let ending = self.shared.ending.notified();
        tokio::pin!(ending);
        // Before it is looked at: what happens in between is not missed.
        ending.as_mut().enable();
        if self.shared.ended.get().is_none() {
            ending.await;
        }
        self.shared.gone()
    }

    /// Makes cgroups for a run; what is below them goes with the helper.
    ///
    /// # Errors
    /// When they can't be made there.
    pub async fn open_run(&self, run_id: &str) -> Result<(), Error> {
        self.order(Ask::OpenRun { run_id: run_id.to_owned() }).await
    }

    /// From now on its events are told on this clock, and go to `events`.
    ///
    /// # Errors
    /// When it can't be reached.
    pub async fn begin(&self, clock: &Clock, events: Sender<Event>) -> Result<(), Error> {
        let _ = self.shared.events.set(events);
        let Anchor { monotonic_ns, unix_ns } = clock.anchor();
        let monotonic_ns = match self.clocks {
            Clocks::Same => monotonic_ns,
            Clocks::Estimated { offset_ns, .. } => monotonic_ns.saturating_add_signed(offset_ns),
        };
        self.order(Ask::SetClock { anchor: Anchor { monotonic_ns, unix_ns } }).await
    }

    /// Makes the nested cgroups of a life.
    ///
    /// # Errors
    /// When they can't be made.
    pub async fn nest(&self, name: &str) -> Result<Nest, Error> {
        match self.ask(Ask::Nest { name: name.to_owned() }).await? {
            Answer::Nest(nest) => Ok(nest),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes them. Gives the charged peak that the outer one kept.
    ///
    /// # Errors
    /// When one of them stays.
    pub async fn remove_nest(&self, nest: Nest) -> Result<Option<Bytes>, Error> {
        match self.ask(Ask::RemoveNest { nest }).await? {
            Answer::Peak(peak) => Ok(peak),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes all cgroups of a run, this one's or another's.
    ///
    /// # Errors
    /// When one of them stays.
    pub async fn remove_run(&self, run_id: &str) -> Result<(), Error> {
        self.order(Ask::RemoveRun { run_id: run_id.to_owned() }).await
    }

    /// Makes settings in a cgroup that is there, or appears soon.
    ///
    /// # Errors
    /// When it does not appear, or refuses.
    pub async fn impose(&self, extras: Extras, dir: PathBuf) -> Result<(), Error> {
        self.order(Ask::Impose { extras, dir }).await
    }

    /// Starts sampling a life's memory; see [`crate::sample::Sampler`].
    ///
    /// # Errors
    /// When it can't be sampled.
    pub async fn sample(&self, job: SamplerJob) -> Result<(), Error> {
        self.order(Ask::Sample(Box::new(job))).await
    }

    /// Stops sampling. All its events have come then.
    ///
    /// # Errors
    /// When the sampler had broken down.
    pub async fn stop_sampling(&self, life: LifeId) -> Result<(), Error> {
        self.order(Ask::StopSampling { life }).await
    }

    /// Starts measuring a life's vitals in these directories of its cgroup, one a hierarchy; without
    /// any, in those of the cgroup that the process `pid` is in.
    ///
    /// # Errors
    /// When it can't be measured.
    pub async fn measure(
        &self,
        life: LifeId,
        pid: Option<i32>,
        dirs: Vec<PathBuf>,
    ) -> Result<(), Error> {
        self.order(Ask::Measure { life, pid, dirs }).await
    }

    /// Tells that a life is ready; see [`crate::sample::VitalsSampler::ready`].
    ///
    /// # Errors
    /// When the helper can't be reached.
    pub async fn measure_ready(&self, life: LifeId) -> Result<(), Error> {
        self.order(Ask::MeasureReady { life }).await
    }

    /// Takes a measure now.
    ///
    /// # Errors
    /// When the helper can't be reached.
    pub async fn measure_now(&self, life: LifeId) -> Result<(), Error> {
        self.order(Ask::MeasureNow { life }).await
    }

    /// Stops measuring.
    ///
    /// # Errors
    /// When that had broken down.
    pub async fn stop_measuring(&self, life: LifeId) -> Result<(), Error> {
        self.order(Ask::StopMeasuring { life }).await
    }

    /// Waits until a target is ready. Gives the moment at which it proved so, or what the last try
    /// found.
    ///
    /// # Errors
    /// When the helper can't be reached.
    pub async fn await_ready(&self, order: ReadyOrder) -> Result<Result<Moment, String>, Error> {
        match self.ask(Ask::AwaitReady(order)).await? {
            Answer::Ready { at } => Ok(Ok(at)),
            Answer::NotReady { text } => Ok(Err(text)),
            other => Err(unexpected(&other)),
        }
    }

    /// Gets the load engine ready; see [`crate::load::Engine::start`].
    ///
    /// # Errors
    /// When it can't work.
    pub async fn load(&self, order: LoadOrder) -> Result<(), Error> {
        self.order(Ask::Load(Box::new(order))).await
    }

    /// Begins a phase.
    ///
    /// # Errors
    /// When no traffic is being sent.
    pub async fn begin_phase(&self, phase: u16, at: Moment) -> Result<(), Error> {
        self.order(Ask::BeginPhase { phase, at }).await
    }

    /// Ends a phase.
    ///
    /// # Errors
    /// When no traffic is being sent.
    pub async fn end_phase(&self, phase: u16, at: Moment) -> Result<(), Error> {
        self.order(Ask::EndPhase { phase, at }).await
    }

    /// Waits until the loads of a phase are over.
    pub async fn phase_spent(&self, phase: u16) {
        let mut spent = self.spent.clone();
        if spent.wait_for(|spent| spent.contains(&phase)).await.is_err() {
            // The helper is gone: the next order tells.
            std::future::pending::<()>().await;
        }
    }

    /// Sends what comes from now on to a target's new life.
    ///
    /// # Errors
    /// When its network can't be entered.
    pub async fn redirect(&self, pid: i32, port: u16) -> Result<(), Error> {
        self.order(Ask::Redirect { pid, port }).await
    }

    /// Finishes the load. All its events have come then.
    ///
    /// # Errors
    /// When the engine had broken down.
    pub async fn finish_load(&self, drain: Duration) -> Result<GeneratorReport, Error> {
        match self.ask(Ask::FinishLoad { drain }).await? {
            Answer::Load(report) => Ok(*report),
            other => Err(unexpected(&other)),
        }
    }

    async fn order(&self, ask: Ask) -> Result<(), Error> {
        match self.ask(ask).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Error> {
        let action = ask.action();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.shared.waiting().insert(number, answer);
        let sent = self.orders.send(Order { number, ask }).await;
        // Whoever ends the connection first says why, and then forgets who waits.
        if sent.is_err() || self.shared.ended.get().is_some() {
            self.shared.waiting().remove(&number);
            return Err(self.shared.gone());
        }
        match answered.await {
            Ok(Answer::Failed { text }) => Err(Error::Failed { action, text }),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.shared.gone()),
        }
    }
}

/// From a round trip: what is added to our clock to get theirs, and by how much that may be wrong.
fn offset(sent: u64, theirs: u64, received: u64) -> (i64, Duration) {
    let half = received.saturating_sub(sent) / 2;
    let middle = sent + half;
    (theirs.cast_signed().wrapping_sub(middle.cast_signed()), Duration::from_nanos(half))
}

fn unexpected(answer: &Answer) -> Error {
    Error::Garbled { text: format!("an answer to something else: {answer:?}") }
}

async fn ask_all(input: Pin<Box<dyn AsyncWrite + Send>>, mut orders: Receiver<Order>) {
    let mut input = BufWriter::new(input);
    while let Some(order) = orders.recv().await {
        if write_frame(&mut input, &order).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    let _ = input.shutdown().await;
}

/// Takes in what the helper says, until it says no more.
async fn listen(
    output: Pin<Box<dyn AsyncRead + Send>>,
    shared: Arc<Shared>,
    spent: watch::Sender<BTreeSet<u16>>,
) {
    let mut output = BufReader::new(output);
    let words = loop {
        match read_frame::<Word>(&mut output).await {
            Ok(Some(Word::Event(event))) => {
                if let Some(events) = shared.events.get() {
                    // An error means that the run is over.
                    let _ = events.send(event).await;
                }
            }
            Ok(Some(Word::Answer { number, answer })) => {
                if let Some(waiting) = shared.waiting().remove(&number) {
                    let _ = waiting.send(answer);
                }
            }
            Ok(Some(Word::PhaseSpent { phase })) => {
                spent.send_modify(|spent| {
                    spent.insert(phase);
                });
            }
            Ok(None) => break String::new(),
            Err(error) => break error.to_string(),
        }
    };
    let _ = shared.ended.set(words);
    shared.ending.notify_waiters();
    shared.waiting().clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::serve;

    async fn pair() -> Helper {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (their_input, their_output) = tokio::io::split(theirs);
        tokio::spawn(serve(their_input, their_output));
        let (output, input) = tokio::io::split(ours);
        Helper::greet(Box::pin(output), Box::pin(input)).await.unwrap()
    }

    #[tokio::test]
    async fn a_helper_on_this_host_shares_our_clock() {
        let helper = pair().await;
        assert_eq!(helper.clocks(), Clocks::Same);
        assert_eq!(helper.facts().host.kernel, runtime::bare_host_facts().kernel);
    }

    #[tokio::test]
    async fn what_fails_there_is_told_here() {
        let helper = pair().await;
        let error = helper.nest("trial-1").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the helper container failed to make cgroups: no run was opened"
        );
    }

    #[tokio::test]
    async fn a_helper_that_ends_is_noticed() {
        let (ours, theirs) = tokio::io::duplex(1024);
        drop(theirs);
        let (output, input) = tokio::io::split(ours);
        let error = Helper::greet(Box::pin(output), Box::pin(input)).await.unwrap_err();
        assert!(matches!(error, Error::Gone { .. } | Error::Io(_)), "{error:?}");
    }

    #[test]
    fn the_offset_is_known_within_half_a_round_trip() {
        // Sent at 1000, received at 1400 by our clock; theirs is 5000 ahead.
        for there in [1000, 1100, 1400] {
            let (offset_ns, error) = offset(1000, there + 5000, 1400);
            assert!(offset_ns.abs_diff(5000) <= u64::try_from(error.as_nanos()).unwrap());
        }
        assert_eq!(offset(5000, 1000, 5000).0, -4000);
    }
}
