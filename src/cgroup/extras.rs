//! Settings of a container's own cgroup that its runtime does not make, as Kubernetes does.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// How often the cgroup is looked for, and how long. The container runtime makes it some 50 ms
/// before the first instruction.
const LOOK_EVERY: Duration = Duration::from_micros(500);
const LOOK_FOR: Duration = Duration::from_secs(20);

/// Settings of a container's own cgroup, on v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras {
    /// Whether an OOM kill takes all processes (`memory.oom.group`), as the kubelet wants since
    /// Kubernetes 1.28.
    pub oom_group: bool,
    /// Where allocations begin to be throttled (`memory.high`), as the kubelet's `MemoryQoS` sets it.
    pub high: Option<Bytes>,
}

impl Extras {
    /// Makes the settings in a cgroup that is there, or appears soon.
    ///
    /// # Errors
    /// When it does not appear, or refuses.
    pub fn impose_when_there(&self, dir: &Path) -> io::Result<()> {
        let began = Instant::now();
        loop {
            match self.impose(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if began.elapsed() > LOOK_FOR {
                        return Err(error);
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                done => return done,
            }
        }
    }

    fn impose(&self, dir: &Path) -> io::Result<()> {
        let set = |file: &str, value: &str| {
            // Not created where it is missing: on anything but a cgroup this must fail.
            let mut file = fs::OpenOptions::new().write(true).open(dir.join(file))?;
            io::Write::write_all(&mut file, value.as_bytes())
        };
        if self.oom_group {
            set("memory.oom.group", "1")?;
        }
        if let Some(high) = self.high {
            set("memory.high", &high.get().to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_wait_for_the_cgroup() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("app");
        let later = group.clone();
        let maker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            fs::create_dir(&later).unwrap();
            for file in ["memory.high", "memory.oom.group"] {
                fs::write(later.join(file), "").unwrap();
            }
        });
        let extras = Extras { oom_group: true, high: Some(Bytes::from_mib(9)) };
        extras.impose_when_there(&group).unwrap();
        maker.join().unwrap();
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap();
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("memory.high"), "9437184");
    }
}
