//! Whose something is: the one process that made it, and whether that still lives.

use std::fmt;
use std::fs;
use std::str::FromStr;

use procfs::process::{Process, all_processes};

use super::super::host;

/// Stands where something is not known.
const NONE: &str = "-";

/// A process, told from all others: of other namespaces, boots and machines, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Owner {
    pid: i32,
    /// When it started, in clock ticks since boot: a number that is used again has another.
    started: u64,
    boot: String,
    pid_namespace: String,
    machine: String,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fate {
    /// Its process lives.
    Live,
    /// Its process is gone.
    Dead,
    /// Its process can't be seen from here.
    Unknown,
}

impl Owner {
    /// This process.
    pub(in super::super) fn this() -> Self {
        let pid = std::process::id().cast_signed();
        Self {
            pid,
            started: Process::new(pid).ok().and_then(|one| living_since(&one)).unwrap_or_default(),
            boot: host::boot_id().unwrap_or_else(|| NONE.to_owned()),
            pid_namespace: pid_namespace("self").unwrap_or_else(|| NONE.to_owned()),
            machine: machine(),
        }
    }

    /// Whether it lives, as far as can be told from here.
    pub(in super::super) fn fate(&self) -> Fate {
        let here = Self::this();
        if self.boot == NONE || here.boot == NONE {
            return Fate::Unknown;
        }
        if self.boot != here.boot {
            // An earlier boot of this machine took all its processes with it.
            let same_machine = self.machine != NONE && self.machine == here.machine;
            return if same_machine { Fate::Dead } else { Fate::Unknown };
        }
        if self.pid_namespace == here.pid_namespace {
            return Fate::of(self.lives());
        }
        // The host's own processes see those of all containers.
        if host::sees_the_host() { Fate::of(self.lives_elsewhere()) } else { Fate::Unknown }
    }

    fn lives(&self) -> bool {
        Process::new(self.pid).is_ok_and(|process| living_since(&process) == Some(self.started))
    }

    fn lives_elsewhere(&self) -> bool {
        let Ok(processes) = all_processes() else { return true };
        processes.flatten().any(|process| {
            living_since(&process) == Some(self.started)
                && pid_namespace(&process.pid().to_string()).as_ref() == Some(&self.pid_namespace)
                && process.status().is_ok_and(|status| {
                    status.nspid.and_then(|pids| pids.last().copied()) == Some(self.pid)
                })
        })
    }
}

impl Fate {
    const fn of(lives: bool) -> Self {
        if lives { Self::Live } else { Self::Dead }
    }
}

/// When a process started; none for one that has ended and that only its parent knows of.
fn living_since(process: &Process) -> Option<u64> {
    let stat = process.stat().ok()?;
    (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(stat.starttime)
}

fn pid_namespace(pid: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    let link = link.to_string_lossy();
    Some(link.trim_start_matches("pid:[").trim_end_matches(']').to_owned())
}

/// What tells this machine from others, through reboots.
fn machine() -> String {
    let text = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id: String = text.trim().chars().filter(char::is_ascii_alphanumeric).collect();
    if id.is_empty() { NONE.to_owned() } else { id }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, started, boot, pid_namespace, machine } = self;
        write!(f, "{pid} {started} {boot} {pid_namespace} {machine}")
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split_whitespace();
        let mut number = || words.next().ok_or(());
        let (pid, started) = (number()?, number()?);
        // Versions before told no more than these two, of processes that are seen from here.
        let mut word = |here: String| words.next().map_or(here, str::to_owned);
        Ok(Self {
            pid: pid.parse().map_err(drop)?,
            started: started.parse().map_err(drop)?,
            boot: word(host::boot_id().unwrap_or_else(|| NONE.to_owned())),
            pid_namespace: word(pid_namespace("self").unwrap_or_else(|| NONE.to_owned())),
            machine: word(machine()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_from_whoever_has_its_number_later() {
        let this = Owner::this();
        assert_eq!(this.to_string().parse(), Ok(this.clone()));
        assert_eq!(this.fate(), Fate::Live);
        let later = Owner { started: this.started + 1, ..this.clone() };
        assert_eq!(later.fate(), Fate::Dead, "its number is used again");
        let (pid, started) = (this.pid, this.started);
        let old: Owner = format!("{pid} {started}\n").parse().unwrap();
        assert_eq!(old.fate(), Fate::Live, "notes of versions before");
        for text in ["", "12", "x 3", "3 x"] {
            assert_eq!(text.parse::<Owner>(), Err(()), "{text}");
        }
    }

    #[test]
    fn other_boots_and_machines_are_told_apart() {
        let this = Owner { machine: machine(), ..Owner::this() };
        let before = Owner { boot: "another".to_owned(), ..this.clone() };
        let same = if this.machine == NONE { Fate::Unknown } else { Fate::Dead };
        assert_eq!(before.fate(), same);
        let elsewhere = Owner { machine: "other".to_owned(), ..before };
        assert_eq!(elsewhere.fate(), Fate::Unknown);
        let unseen = Owner { pid_namespace: "1".to_owned(), ..this };
        let seen = if host::sees_the_host() { Fate::Dead } else { Fate::Unknown };
        assert_eq!(unseen.fate(), seen);
    }

    #[test]
    fn a_process_that_only_waits_to_be_noticed_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while Process::new(pid).and_then(|one| one.stat()).is_ok_and(|stat| stat.state != 'Z') {
            assert!(std::time::Instant::now() < deadline, "it never ends");
            std::thread::yield_now();
        }
        let started = Process::new(pid).unwrap().stat().unwrap().starttime;
        assert_eq!(Owner { pid, started, ..Owner::this() }.fate(), Fate::Dead);
        child.wait().unwrap();
    }
}
