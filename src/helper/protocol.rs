//! What the harness and its helper say to each other: frames of a length (32 bits, little endian)
//! and a `MessagePack` value.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cgroup::{Extras, Hierarchies, Nest};
use crate::clock::{Anchor, Moment};
use crate::event::{Event, GeneratorReport, HostFacts, LifeId};
use crate::load::Job;
use crate::plan::Budget;
use crate::sample::SamplerJob;
use crate::units::Bytes;

/// The longest frame: an order to send traffic carries the scenario's files.
const FRAME_MAX: usize = Budget::HELPER_FRAME;

/// One order, with a number by which its answer is known.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) ask: Ask,
}

/// What the helper can be asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Tell the time.
    Time,
    /// Tell what is known of the host.
    Facts,
    /// Make cgroups for a run.
    OpenRun { run_id: String },
    /// Take this as the run's start.
    SetClock { anchor: Anchor },
    /// Make the nested cgroups of a life.
    Nest { name: String },
    /// Remove them, and tell the peak that the outer one kept.
    RemoveNest { nest: Nest },
    /// Remove everything of a run.
    RemoveRun { run_id: String },
    /// Make settings in a cgroup that is there, or appears soon.
    Impose { extras: Extras, dir: PathBuf },
    /// Sample a life's memory.
    Sample(Box<SamplerJob>),
    /// Stop sampling it.
    StopSampling { life: LifeId },
    /// Measure a life's vitals in these directories of its cgroup, one a hierarchy; without any, in
    /// those of the cgroup that this process is in.
    Measure { life: LifeId, pid: Option<i32>, dirs: Vec<PathBuf> },
    /// The life is ready: measure, and see what program it is.
    MeasureReady { life: LifeId },
    /// Measure, and answer when that is done.
    MeasureNow { life: LifeId },
    /// Stop measuring them.
    StopMeasuring { life: LifeId },
    /// Wait until a target is ready.
    AwaitReady(ReadyOrder),
    /// Get the load engine ready.
    Load(Box<LoadOrder>),
    /// Begin a phase.
    BeginPhase { phase: u16, at: Moment },
    /// End a phase.
    EndPhase { phase: u16, at: Moment },
    /// Send what comes from now on to a target's new life.
    Redirect { pid: i32, port: u16 },
    /// Finish the load.
    FinishLoad { drain: Duration },
}

impl Ask {
    /// What is done, for errors: "failed to …".
    pub(super) const fn action(&self) -> &'static str {
        match self {
            Self::Time => "tell the time",
            Self::Facts => "describe its host",
            Self::OpenRun { .. } | Self::Nest { .. } => "make cgroups",
            Self::SetClock { .. } => "set its clock",
            Self::RemoveNest { .. } | Self::RemoveRun { .. } => "remove cgroups",
            Self::Impose { .. } => "limit the container",
            Self::Sample(_) | Self::StopSampling { .. } => "sample memory",
            Self::Measure { .. }
            | Self::MeasureReady { .. }
            | Self::MeasureNow { .. }
            | Self::StopMeasuring { .. } => "measure vitals",
            Self::AwaitReady(_) => "check readiness",
            Self::Load(_)
            | Self::BeginPhase { .. }
            | Self::EndPhase { .. }
            | Self::Redirect { .. }
            | Self::FinishLoad { .. } => "send traffic",
        }
    }
}

/// A readiness check inside a target's network namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadyOrder {
    /// A process of the target, as the container engine numbers it.
    pub pid: i32,
    /// The address inside.
    pub address: SocketAddr,
    /// The path and the wanted status of a GET; none: a connection is enough.
    pub get: Option<(String, u16)>,
    /// How long it is tried.
    pub within: Duration,
}

/// Traffic to be sent inside a target's network namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadOrder {
    /// What is driven.
    pub job: Job,
    /// A process of the target, as the container engine numbers it.
    pub pid: i32,
    /// The port inside.
    pub port: u16,
    /// What the `host` header says.
    pub host: String,
}

/// What is known of the helper's host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// Tells kernels apart: two processes with the same one share a monotonic clock.
    pub boot_id: String,
    /// The machine.
    pub host: HostFacts,
    /// Its cgroups; none where memory is not accounted for there.
    pub hierarchies: Option<Hierarchies>,
}

/// The answer to an order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done.
    Done,
    /// The time: `CLOCK_MONOTONIC` in nanoseconds.
    Time {
        monotonic_ns: u64,
    },
    Facts(Box<Facts>),
    Nest(Nest),
    Peak(Option<Bytes>),
    /// The target proved ready at this moment.
    Ready {
        at: Moment,
    },
    /// The target was not ready in time; what the last try found.
    NotReady {
        text: String,
    },
    Load(Box<GeneratorReport>),
    /// It can't be done.
    Failed {
        text: String,
    },
}

/// What the helper says.
#[expect(clippy::large_enum_variant, reason = "most of them are events")]
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// Something that was seen.
    Event(Event),
    /// The answer to an order.
    Answer { number: u64, answer: Answer },
    /// All loads of a phase are over.
    PhaseSpent { phase: u16 },
}

/// Writes one frame.
pub(super) async fn write_frame<T: Serialize>(
    out: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    let body = rmp_serde::to_vec_named(value).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_MAX);
    let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
    out.write_all(&length.to_le_bytes()).await?;
    out.write_all(&body).await
}

/// Reads one frame; none at the end of the stream.
pub(super) async fn read_frame<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = u32::from_le_bytes(length) as usize;
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    if length > FRAME_MAX {
        return Err(invalid(format!("a message of {length} bytes")));
    }
    let mut body = Vec::new();
    // Grows as bytes come: a garbled length must not reserve memory.
    input.take(length as u64).read_to_end(&mut body).await?;
    if body.len() < length {
        return Ok(None);
    }
    rmp_serde::from_slice(&body).map(Some).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Option<Order>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read_frame(&mut &bytes[..]))
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut bytes = Vec::new();
        let order = Order { number: 7, ask: Ask::Nest { name: "trial-1".to_owned() } };
        runtime.block_on(write_frame(&mut bytes, &order)).unwrap();
        let read = read(&bytes).unwrap().unwrap();
        assert_eq!(read.number, 7);
        assert!(matches!(read.ask, Ask::Nest { name } if name == "trial-1"));
    }

    proptest! {
        #[test]
        fn words_come_out_as_they_went_in(
            events in prop::collection::vec(crate::event::arbitrary::event(), 1..6),
            number: u64,
            text: String,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut bytes = Vec::new();
            for event in &events {
                let word = Word::Event(event.clone());
                runtime.block_on(write_frame(&mut bytes, &word)).unwrap();
            }
            let answer = Answer::Failed { text: text.clone() };
            runtime.block_on(write_frame(&mut bytes, &Word::Answer { number, answer })).unwrap();
            let mut rest = bytes.as_slice();
            for event in &events {
                let word = runtime.block_on(read_frame(&mut rest)).unwrap();
                prop_assert!(matches!(word, Some(Word::Event(read)) if read == *event));
            }
            let word = runtime.block_on(read_frame(&mut rest)).unwrap();
            let Some(Word::Answer { number: read, answer: Answer::Failed { text: told } }) = word
            else {
                return Err(TestCaseError::fail("no answer"));
            };
            prop_assert_eq!((read, told), (number, text));
            let end = runtime.block_on(read_frame::<Word>(&mut rest)).unwrap();
            prop_assert!(end.is_none());
        }

        #[test]
        fn garbled_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
