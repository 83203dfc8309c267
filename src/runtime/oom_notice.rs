//! The kernel's own notice of an OOM on cgroup v1: an eventfd registered with the group.
//!
//! See `Documentation/admin-guide/cgroup-v1/memory.rst`, section 10. The notice also comes when
//! the group is removed, so the group's kill counter must confirm it.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::mpsc::Sender;

use crate::cgroup::{LimitReader, Version};
use crate::clock::Clock;
use crate::event::{Event, Evidence, LifeId, OomKill, What};

/// How long the counter may lag behind the notice.
const CONFIRM: Duration = Duration::from_millis(100);

/// Listens for the kernel's notice; dropping it ends that.
#[derive(Debug)]
pub(super) struct OomNotice(Arc<AtomicBool>);

impl Drop for OomNotice {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl OomNotice {
    /// Listens on a container's own v1 group; none where that can't be.
    pub(super) fn listen(
        life: LifeId,
        leaf: &Path,
        clock: &Clock,
        events: Sender<Event>,
    ) -> Option<Self> {
        let control = File::open(leaf.join("memory.oom_control")).ok()?;
        let notice = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok()?;
        let registration =
            format!("{} {}", notice.as_fd().as_raw_fd(), control.as_fd().as_raw_fd());
        fs::write(leaf.join("cgroup.event_control"), registration).ok()?;
        let reader = LimitReader::open(Version::V1, leaf).ok()?;
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch { life, reader, notice, clock: clock.clone(), events, leaf: leaf.into() };
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("oom-notice".to_owned())
            .spawn(move || watch.run(&stopped))
            .ok()?;
        Some(Self(stop))
    }
}

struct Watch {
    life: LifeId,
    reader: LimitReader,
    notice: EventFd,
    clock: Clock,
    events: Sender<Event>,
    leaf: PathBuf,
}

impl Watch {
    fn run(&self, stop: &AtomicBool) {
        let mut known = 0;
        while !stop.load(Ordering::Acquire) && self.leaf.exists() {
            let mut files = [PollFd::new(self.notice.as_fd(), PollFlags::POLLIN)];
            if poll(&mut files, PollTimeout::from(100_u8)).unwrap_or(0) == 0 {
                continue;
            }
            let _ = self.notice.read();
            let Some(count) = self.confirm(known) else {
                continue;
            };
            known = count;
            let kill = OomKill { life: self.life, evidence: Evidence::Eventfd, count: Some(count) };
            let event = Event { at: self.clock.now(), what: What::OomKill(kill) };
            if self.events.blocking_send(event).is_err() {
                return;
            }
        }
    }

    /// The kill counter, once it has risen above `known`; none when the group is gone first.
    fn confirm(&self, known: u64) -> Option<u64> {
        let noticed = Instant::now();
        while noticed.elapsed() < CONFIRM {
            let count = self.reader.read().ok()?.oom_kills;
            if count > known {
                return Some(count);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        None
    }
}
