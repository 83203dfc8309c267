//! The helper's side: does what it is asked to, until nobody asks any more.

use std::collections::HashMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Error;
use super::protocol::{Answer, Ask, Facts, LoadOrder, Order, ReadyOrder, Word};
use super::protocol::{read_frame, write_frame};
use crate::cgroup::{self, Hierarchies, Tree};
use crate::clock::{Clock, monotonic_ns};
use crate::event::{Event, GeneratorPath, LifeId};
use crate::load::{Endpoint, Engine};
use crate::plan::Budget;
use crate::runtime;
use crate::sample::{Sampler, VitalsJob, VitalsSampler};

/// Events and answers that may wait for the connection.
const QUEUE: usize = Budget::HELPER_WORDS;

/// Serves one harness: takes orders from `input` and answers on `output`, until `input` ends. Then
/// everything that was begun is stopped, and the run's cgroups are removed with what still runs in
/// them: whoever asked for it is gone.
///
/// # Errors
/// When the connection breaks in the middle of a message.
pub async fn serve(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), Error> {
    let (events, seen) = channel(QUEUE);
    let (words, said) = channel(QUEUE);
    let speaking = tokio::spawn(speak(output, seen, said));
    let mut input = BufReader::new(input);
    let mut desk = Desk::new(events, words);
    let ended = loop {
        match read_frame::<Order>(&mut input).await {
            Ok(Some(order)) => desk.take(order).await,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    desk.close().await;
    drop(desk);
    let _ = speaking.await;
    ended
}

/// Writes events and answers. An answer comes after the events that were there before it.
async fn speak(
    output: impl AsyncWrite + Unpin,
    mut events: Receiver<Event>,
    mut words: Receiver<Word>,
) -> std::io::Result<()> {
    let mut output = BufWriter::new(output);
    loop {
        let word = tokio::select! {
            biased;
            Some(event) = events.recv() => Word::Event(event),
            Some(word) = words.recv() => word,
            else => return output.flush().await,
        };
        write_frame(&mut output, &word).await?;
        if events.is_empty() && words.is_empty() {
            output.flush().await?;
        }
    }
}

/// What the helper has at work.
struct Desk {
    events: Sender<Event>,
    words: Sender<Word>,
    clock: Clock,
    run: Option<(String, Tree)>,
    samplers: HashMap<LifeId, Sampler>,
    vitals: HashMap<LifeId, VitalsSampler>,
    engine: Option<Engine>,
}

/// Failures travel as text.
type Done = Result<Answer, String>;

/// An error with its causes, as one line.
fn told(error: &dyn std::error::Error) -> String {
    runtime::explain(error)
}

impl Desk {
    fn new(events: Sender<Event>, words: Sender<Word>) -> Self {
        let (samplers, vitals) = (HashMap::new(), HashMap::new());
        Self { events, words, clock: Clock::start(), run: None, samplers, vitals, engine: None }
    }

    async fn take(&mut self, order: Order) {
        let number = order.number;
        let (words, clock) = (self.words.clone(), self.clock.clone());
        // What takes its time does not keep other orders waiting.
        let answer = match order.ask {
            Ask::AwaitReady(ready) => {
                tokio::spawn(async move {
                    let answer = await_ready(ready, &clock).await;
                    let _ = words.send(Word::Answer { number, answer }).await;
                });
                return;
            }
            Ask::Impose { extras, dir } => {
                tokio::spawn(async move {
                    let done = blocking(move || extras.impose_when_there(&dir)).await;
                    let answer = done.map_or_else(
                        |error| Answer::Failed { text: error.to_string() },
                        |()| Answer::Done,
                    );
                    let _ = words.send(Word::Answer { number, answer }).await;
                });
                return;
            }
            ask => self.work(ask).await,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(text) => Answer::Failed { text },
        };
        let _ = self.words.send(Word::Answer { number, answer }).await;
    }

    async fn work(&mut self, ask: Ask) -> Done {
        match ask {
            Ask::Time => Ok(Answer::Time { monotonic_ns: monotonic_ns() }),
            Ask::Facts => Ok(Answer::Facts(Box::new(facts()))),
            Ask::SetClock { anchor } => {
                self.clock = Clock::started_at(anchor);
                Ok(Answer::Done)
            }
            Ask::OpenRun { run_id } => {
                let tree = Tree::create(&hierarchies()?, &run_id).map_err(|e| told(&e))?;
                self.run = Some((run_id, tree));
                Ok(Answer::Done)
            }
            Ask::Nest { name } => {
                let (_, tree) = self.run.as_ref().ok_or("no run was opened")?;
                tree.nest(&name).map(Answer::Nest).map_err(|error| told(&error))
            }
            Ask::RemoveNest { nest } => {
                let (_, tree) = self.run.as_ref().ok_or("no run was opened")?;
                let peak = tree.lifetime_peak(&nest);
                let tree = tree.clone();
                blocking(move || tree.remove_life(&nest)).await.map_err(|error| told(&error))?;
                Ok(Answer::Peak(peak))
            }
            Ask::RemoveRun { run_id } => {
                let hierarchies = hierarchies()?;
                let removed = blocking(move || cgroup::remove_run(&hierarchies, &run_id)).await;
                removed.map(|()| Answer::Done).map_err(|error| told(&error))
            }
            Ask::Sample(_)
            | Ask::StopSampling { .. }
            | Ask::Measure { .. }
            | Ask::MeasureReady { .. }
            | Ask::MeasureNow { .. }
            | Ask::StopMeasuring { .. } => self.sampling(ask).await,
            Ask::AwaitReady(_) | Ask::Impose { .. } => unreachable!("taken before"),
            Ask::Load(_)
            | Ask::BeginPhase { .. }
            | Ask::EndPhase { .. }
            | Ask::Redirect { .. }
            | Ask::FinishLoad { .. } => self.traffic(ask).await,
        }
    }

    async fn sampling(&mut self, ask: Ask) -> Done {
        match ask {
            Ask::Sample(job) => {
                let life = job.life;
                let sampler = Sampler::start(*job, self.clock.clone(), self.events.clone());
                self.samplers.insert(life, sampler.map_err(|error| told(&error))?);
            }
            Ask::StopSampling { life } => {
                if let Some(sampler) = self.samplers.remove(&life) {
                    blocking(move || sampler.stop()).await.map_err(|error| told(&error))?;
                }
            }
            Ask::Measure { life, pid, mut dirs } => {
                if dirs.is_empty() {
                    let hierarchies = hierarchies()?;
                    let group = pid.and_then(|pid| hierarchies.group_of(pid));
                    dirs = group.map(|group| hierarchies.all_dirs(&group)).unwrap_or_default();
                }
                let (clock, events) = (self.clock.clone(), self.events.clone());
                let vitals = VitalsSampler::start(VitalsJob { life, dirs }, clock, events);
                self.vitals.insert(life, vitals.map_err(|error| told(&error))?);
            }
            Ask::MeasureReady { life } => {
                if let Some(vitals) = self.vitals.get(&life) {
                    vitals.ready();
                }
            }
            Ask::MeasureNow { life } => {
                if let Some(vitals) = self.vitals.get(&life) {
                    // An error means that it has stopped already.
                    let _ = vitals.measure().await;
                }
            }
            Ask::StopMeasuring { life } => {
                if let Some(vitals) = self.vitals.remove(&life) {
                    blocking(move || vitals.stop()).await.map_err(|error| told(&error))?;
                }
            }
            _ => unreachable!("only orders about sampling come here"),
        }
        Ok(Answer::Done)
    }

    async fn traffic(&mut self, ask: Ask) -> Done {
        if let Ask::Load(order) = ask {
            self.engine = Some(self.start_engine(*order).await?);
            return Ok(Answer::Done);
        }
        if let Ask::FinishLoad { drain } = ask {
            let engine = self.engine.take().ok_or("no traffic is being sent")?;
            let report = engine.finish(drain).await.map_err(|error| told(&error))?;
            return Ok(Answer::Load(Box::new(report)));
        }
        let engine = self.engine.as_ref().ok_or("no traffic is being sent")?;
        match ask {
            Ask::BeginPhase { phase, at } => {
                engine.begin_phase(phase, at);
                let (spent, words) = (engine.phase_spent(phase), self.words.clone());
                tokio::spawn(async move {
                    spent.await;
                    let _ = words.send(Word::PhaseSpent { phase }).await;
                });
            }
            Ask::EndPhase { phase, at } => engine.end_phase(phase, at),
            Ask::Redirect { pid, port } => {
                let endpoint = endpoint(pid, port, String::new())?;
                engine.set_endpoint(endpoint).map_err(|error| told(&error))?;
            }
            _ => unreachable!("only orders about traffic come here"),
        }
        Ok(Answer::Done)
    }

    async fn start_engine(&self, order: LoadOrder) -> Result<Engine, String> {
        let endpoint = endpoint(order.pid, order.port, order.host)?;
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (clock, events) = (self.clock.clone(), self.events.clone());
        // Setups may wait for answers.
        let start = move || Engine::start(&order.job, endpoint, clock, workers, events);
        blocking(start).await.map_err(|error| told(&error))
    }

    /// Stops what is at work and removes the run's cgroups.
    async fn close(&mut self) {
        self.engine = None;
        let samplers: Vec<_> = self.samplers.drain().map(|(_, sampler)| sampler).collect();
        let vitals: Vec<_> = self.vitals.drain().map(|(_, vitals)| vitals).collect();
        let run = self.run.take();
        blocking(move || {
            for sampler in samplers {
                let _ = sampler.stop();
            }
            for vitals in vitals {
                let _ = vitals.stop();
            }
            if let Some((_, tree)) = run {
                let _ = tree.remove();
            }
        })
        .await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic")
}

fn hierarchies() -> Result<Hierarchies, String> {
    Hierarchies::discover().map_err(|error| told(&error))
}

fn facts() -> Facts {
    let boot_id = runtime::boot_id().unwrap_or_default();
    Facts { boot_id, host: runtime::bare_host_facts(), hierarchies: hierarchies().ok() }
}

fn network_of(pid: i32) -> Result<OwnedFd, String> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path).map(OwnedFd::from).map_err(|error| format!("opening {path}: {error}"))
}

fn endpoint(pid: i32, port: u16, host: String) -> Result<Endpoint, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(Endpoint { address, host, netns: Some(network_of(pid)?), path: GeneratorPath::Netns })
}

async fn await_ready(order: ReadyOrder, clock: &Clock) -> Answer {
    let netns = match network_of(order.pid) {
        Ok(netns) => netns,
        Err(text) => return Answer::NotReady { text },
    };
    let probe = runtime::ReadyProbe { netns, address: order.address, get: order.get };
    match runtime::await_ready(probe, order.within, clock).await {
        Ok(at) => Answer::Ready { at },
        Err(text) => Answer::NotReady { text },
    }
}
