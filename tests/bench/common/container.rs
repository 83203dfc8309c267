//! A fixture service in a container of the real runtime.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater::plan::{
    Budget, ReadyCheck, ReadyPlan, StopPlan, TargetLimits, TargetPlan, TargetSource,
};
use highwater::runtime::{Choice, Runtime};
use highwater::units::Limit;

/// The Docker runtime, and the id of a run of its own.
pub(crate) async fn docker() -> (Arc<Runtime>, String) {
    let run_id = format!("{:08x}", rand::random::<u32>());
    let runtime = Runtime::connect(Choice::Docker, &run_id, &Budget::default()).await;
    let mut runtime = runtime.expect("a Docker engine answers");
    runtime.reach_directly().expect("cgroups are ours to handle");
    (Arc::new(runtime), run_id)
}

/// A fixture service as a target.
pub(crate) fn target(fixtures: &Path, memory: Limit, args: &[&str]) -> TargetPlan {
    TargetPlan {
        source: TargetSource::Binary { path: fixtures.to_owned(), base: None },
        port: 8080,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: Vec::new(),
        files: std::collections::BTreeMap::default(),
        tmpfs: Vec::new(),
        user: None,
        extra_hosts: Vec::new(),
        ready: ReadyPlan {
            check: ReadyCheck::Http { path: "/health".to_owned(), status: 200 },
            within: Duration::from_secs(10),
        },
        limits: TargetLimits { memory, cpus: None, pids: None, kubernetes: None },
        stop: StopPlan { signal: "SIGTERM".to_owned(), within: Duration::from_secs(5) },
        allow_debug: false,
    }
}
