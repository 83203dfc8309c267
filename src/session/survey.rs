//! What the way to a container's memory gives on this host, tried out without any container.

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};

use super::Error;
use super::way::{Sampling, Way};
use crate::cgroup::{Hierarchies, Tree};
use crate::clock::Clock;
use crate::event::{Event, LifeId, PeakMethod, SamplerReport, What};
use crate::plan::SamplingPlan;
use crate::runtime::{self, Via};
use crate::sample::SamplerJob;
use crate::units::Limit;

/// How long an empty cgroup is sampled.
const LENGTH: Duration = Duration::from_millis(500);

/// The sampler on an empty cgroup.
#[derive(Debug, Clone)]
pub struct Survey {
    /// How peaks are known.
    pub method: PeakMethod,
    /// The sampler's account of itself.
    pub report: SamplerReport,
}

/// Samples an empty cgroup of our own for half a second; none where that way makes no cgroups.
///
/// # Errors
/// When cgroups can't be made or sampled.
pub async fn survey(way: &Way, run_id: &str) -> Result<Option<Survey>, Error> {
    let tree = match way {
        Way::Here(Via::Direct) => {
            let hierarchies = Hierarchies::discover().map_err(runtime::Error::from)?;
            Some(Tree::create(&hierarchies, run_id).map_err(runtime::Error::from)?)
        }
        Way::Here(_) => return Ok(None),
        Way::Helper(_) => None,
        #[cfg(test)]
        Way::Scripted(_) => return Ok(None),
    };
    let surveyed = sample_empty(way, tree.as_ref()).await;
    if let Some(tree) = tree {
        tree.remove().map_err(runtime::Error::from)?;
    }
    surveyed
}

async fn sample_empty(way: &Way, tree: Option<&Tree>) -> Result<Option<Survey>, Error> {
    let (clock, (events, receiver)) = (Clock::start(), channel(1024));
    let place = match (way, tree) {
        (Way::Helper(helper), _) => {
            helper.begin(&clock, events.clone()).await?;
            let Some(hierarchies) = &helper.facts().hierarchies else { return Ok(None) };
            helper.nest("survey").await?.place(hierarchies, "none")
        }
        (Way::Here(_), Some(tree)) => {
            tree.nest("survey").map_err(runtime::Error::from)?.place(tree.hierarchies(), "none")
        }
        (Way::Here(_), None) => return Ok(None),
        #[cfg(test)]
        (Way::Scripted(_), _) => return Ok(None),
    };
    let (tick, window) = (Duration::from_millis(1), Duration::from_millis(100));
    let job = SamplerJob {
        life: LifeId(0),
        place,
        sampling: SamplingPlan { tick, window },
        may_reset: true,
        limit: Limit::Unlimited,
    };
    let Some(sampling) = Sampling::begin(way, job, &clock, &events).await? else {
        return Ok(None);
    };
    drop(events);
    tokio::time::sleep(LENGTH).await;
    sampling.stop().await?;
    Ok(take(receiver))
}

fn take(mut events: Receiver<Event>) -> Option<Survey> {
    let (mut method, mut report) = (None, None);
    while let Ok(event) = events.try_recv() {
        match event.what {
            What::Sampling(start) => method = Some(start.method),
            What::SamplerDone(done) => report = Some(done),
            _ => {}
        }
    }
    Some(Survey { method: method?, report: report? })
}
