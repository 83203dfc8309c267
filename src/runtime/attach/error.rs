//! Why something can't be watched.

use std::path::PathBuf;

use super::super::{Error, ErrorKind};

/// Why something can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Nothing goes by this name.
    #[error("there is no `{what}` to watch: {}", tried.join("; "))]
    NoSuch {
        /// The name.
        what: String,
        /// Where it was looked for, and what came of it.
        tried: Vec<String>,
        /// Names of running containers, the closest first, with whether it may have been meant.
        near: Vec<(String, bool)>,
    },
    /// The container is there and does not run.
    #[error("the container `{name}` does not run: it is {state}")]
    NotRunning {
        /// Its name.
        name: String,
        /// What Docker says of it.
        state: String,
    },
    /// The start of an id is that of several containers.
    #[error("several containers have ids that begin with `{what}`: {}", names.join(", "))]
    Several {
        /// The start.
        what: String,
        /// Their names.
        names: Vec<String>,
    },
    /// A name stands for two things.
    #[error("`{what}` is both a process and a container")]
    Ambiguous {
        /// The name.
        what: String,
    },
    /// The root of the hierarchy can't be watched.
    #[error("`{what}` is in the root cgroup, whose memory is that of the whole machine")]
    RootCgroup {
        /// What was named.
        what: String,
    },
    /// The cgroup is not visible here.
    #[error("the cgroup `{group}` of `{what}` is outside of what is mounted here")]
    Outside {
        /// What was named.
        what: String,
        /// Its cgroup.
        group: String,
    },
    /// A directory that is in no hierarchy, or not in the one that accounts for memory.
    #[error("`{path}` is no cgroup that accounts for memory")]
    NoMemory {
        /// The directory.
        path: PathBuf,
        /// The directory to name instead.
        instead: PathBuf,
    },
    /// No running container matches.
    #[error("no running container has {wanted}")]
    NoMatch {
        /// What was asked for.
        wanted: String,
        /// How many containers run.
        running: usize,
    },
    /// The engine's containers are processes of another machine.
    #[error("the container `{name}` runs on another machine: Docker is at `{address}`")]
    Remote {
        /// The container.
        name: String,
        /// The engine's address.
        address: String,
    },
    /// Docker can't be asked.
    #[error(transparent)]
    Runtime(#[from] Error),
    /// The kernel's files can't be read.
    #[error("failed to read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl AttachError {
    /// Whose fault it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            // What the engine refuses here is not the target's fault.
            Self::Runtime(error) => match error.kind() {
                ErrorKind::Target => ErrorKind::HostCannot,
                kind => kind,
            },
            Self::Remote { .. } | Self::Unreadable { .. } | Self::Outside { .. } => {
                ErrorKind::HostCannot
            }
            _ => ErrorKind::BadUse,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoSuch { near, .. } if !near.is_empty() => {
                let named = |alike: bool| {
                    let rows = near.iter().filter(|row| row.1 || !alike);
                    rows.map(|row| format!("`{}`", row.0)).collect::<Vec<_>>()
                };
                match named(true).as_slice() {
                    [] => format!("containers that run: {}", named(false).join(", ")),
                    alike => format!("did you mean {}?", alike.join(" or ")),
                }
            }
            Self::NoSuch { .. } => {
                "give a running container (`docker ps`), the id of a process, or the directory of \
                 a cgroup"
                    .to_owned()
            }
            Self::NotRunning { name, .. } => format!(
                "start it first (`docker start {name}`), or let Highwater start the image: \
                 `highwater run --image …`"
            ),
            Self::Several { .. } => "give a name, or more of the id".to_owned(),
            Self::Ambiguous { what } => format!("say which: `pid:{what}` or `container:{what}`"),
            Self::RootCgroup { .. } => {
                "run it in a cgroup of its own, such as `systemd-run --scope -p MemoryMax=512M …`"
                    .to_owned()
            }
            Self::Outside { .. } => {
                "watch from the host, or from a container that has the host's cgroup namespace \
                 and /sys/fs/cgroup"
                    .to_owned()
            }
            Self::NoMemory { instead, .. } if instead.exists() => {
                format!("its memory is counted in `{}`", instead.display())
            }
            Self::NoMemory { instead, .. } => {
                format!("cgroups that account for memory are below `{}`", instead.display())
            }
            Self::NoMatch { running: 0, .. } => "no container runs at all: start one".to_owned(),
            Self::NoMatch { running, .. } => {
                format!(
                    "{running} containers run: see `docker ps --format '{{{{.Names}}}} {{{{.Labels}}}}'`"
                )
            }
            Self::Remote { .. } => "run Highwater on that machine".to_owned(),
            Self::Runtime(error) => return error.help(),
            Self::Unreadable { .. } => "run as root".to_owned(),
        })
    }
}
