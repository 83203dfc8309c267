//! Cleaning up on every way out: at the end, at a panic, at SIGINT and SIGTERM.

#![allow(clippy::exit, reason = "after a signal, when everything has been removed")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

static GROUPS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Notes a cgroup: its processes are killed and it is removed, with all below it, at the end.
pub(crate) fn later(group: &Path) {
    GROUPS.lock().expect("nobody panics with the lock").push(group.to_owned());
}

/// Runs a benchmark on this thread and cleans up after it.
pub(crate) fn after(bench: impl FnOnce()) {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("an event loop can be had").block_on(asked_to_stop());
        remove_groups();
        std::process::exit(130);
    });
    let done = catch_unwind(AssertUnwindSafe(bench));
    remove_groups();
    if let Err(panic) = done {
        resume_unwind(panic);
    }
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn asked_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be taken");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be taken");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn remove_groups() {
    let groups: Vec<PathBuf> =
        GROUPS.lock().expect("nobody panics with the lock").drain(..).collect();
    for group in groups {
        highwater::cgroup::kill_all(&group);
        for _ in 0..200 {
            if remove(&group).is_ok() || !group.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes a group and all below it.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path())?;
    }
    std::fs::remove_dir(group)
}

/// Runs a benchmark that uses a container runtime and removes everything of its run afterwards,
/// also after a panic, SIGINT or SIGTERM.
pub(crate) async fn run_in(
    runtime: Arc<Runtime>,
    bench: impl Future<Output = ()> + Send + 'static,
) {
    let mut work = tokio::spawn(bench);
    let done = tokio::select! {
        done = &mut work => Some(done),
        () = asked_to_stop() => None,
    };
    if done.is_none() {
        work.abort();
        let _ = work.await;
    }
    runtime.clean_up().await.expect("everything can be removed");
    match done {
        Some(Ok(())) => {}
        Some(Err(error)) => resume_unwind(error.into_panic()),
        None => std::process::exit(130),
    }
}
