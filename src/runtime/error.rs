//! Why a target can't be built, started or watched.

use std::path::PathBuf;

use crate::cgroup;
use crate::units::Bytes;

/// Why a target can't be built, started or watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Docker engine answers.
    #[error("no Docker engine answers at `{address}`")]
    NoDocker {
        /// The socket or address that was tried.
        address: String,
        /// Why.
        #[source]
        source: bollard::errors::Error,
    },
    /// Cgroups of our own can't be made here.
    #[error("this host does not let us make cgroups of our own")]
    NoCgroups(#[source] cgroup::Error),
    /// Cgroups and networks of the containers are not ours to handle.
    #[error("cgroups and networks of Docker's containers can't be handled from here")]
    NotInReach,
    /// A helper sees no memory accounting.
    #[error("no cgroup hierarchy accounts for memory on Docker's host")]
    NoMemoryThere,
    /// A cgroup can't be handled.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// The engine refused something.
    #[error("Docker refused to {action}")]
    Docker {
        /// What was tried.
        action: String,
        /// Why.
        #[source]
        source: bollard::errors::Error,
    },
    /// The engine found no port of this host to publish the target's.
    #[error("Docker found no free port on 127.0.0.1 to publish the target's")]
    NoPort(#[source] bollard::errors::Error),
    /// The engine does not answer any more.
    #[error("Docker's engine does not answer any more: failed to {action}")]
    EngineAway {
        /// What was tried.
        action: String,
        /// Why.
        #[source]
        source: bollard::errors::Error,
    },
    /// An image is not there and can't be pulled.
    #[error("there is no image `{image}`, and pulling it failed")]
    NoImage {
        /// The image.
        image: String,
        /// Why pulling failed.
        #[source]
        source: bollard::errors::Error,
    },
    /// The target needs something that this runtime has not.
    #[error("{what} needs Docker")]
    NeedsDocker {
        /// What was asked for.
        what: &'static str,
    },
    /// Another process listens on the port.
    #[error("port {port} on 127.0.0.1 is taken")]
    PortTaken {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The limit is lower than the engine allows.
    #[error("the memory limit of {limit} is below {least}, the least that Docker allows")]
    LimitTooLow {
        /// What was asked for.
        limit: Bytes,
        /// The least.
        least: Bytes,
    },
    /// The target is a debug build.
    #[error("the target is a debug build: {evidence}")]
    DebugBuild {
        /// How that was recognised.
        evidence: String,
    },
    /// The target did not build.
    #[error("failed to build the target: {text}")]
    Build {
        /// The compiler's or the engine's words.
        text: String,
    },
    /// The binary can't be run in a container.
    #[error("`{path}` can't be put into a container: {text}")]
    Binary {
        /// The binary.
        path: PathBuf,
        /// Why.
        text: String,
    },
    /// The target can't be started.
    #[error("failed to start the target `{program}`")]
    Start {
        /// The program or image.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The target ended before it was ready.
    #[error("the target ended with exit code {code} before it was ready{log}")]
    EndedEarly {
        /// Its exit code, or `unknown`.
        code: String,
        /// Its last lines of output, ready to be printed.
        log: String,
    },
    /// The target ended before it was ready, by the hand of others.
    #[error("{text}")]
    Taken {
        /// Who ended it, and how.
        text: String,
    },
    /// The target did not become ready in time.
    #[error("the target was not ready within {within}: {check}{log}")]
    NotReady {
        /// How long it had.
        within: String,
        /// What was checked, and what came instead.
        check: String,
        /// Its last lines of output, ready to be printed.
        log: String,
    },
    /// A file or directory of ours can't be handled.
    #[error("failed to {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread can't be made, or a namespace not be entered.
    #[error("failed to {action}")]
    Thread {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Whose fault it is, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// This host can't: no engine, no rights, a port taken.
    HostCannot,
    /// The scenario asks for what can't be.
    BadUse,
    /// The target did not build, start or become ready.
    Target,
}

impl Error {
    pub(super) fn docker(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let action = action.into();
        move |source| {
            if is_away(&source) {
                Self::EngineAway { action, source }
            } else {
                Self::Docker { action, source }
            }
        }
    }

    /// Why a container did not start.
    pub(super) fn not_started(id: &str, source: bollard::errors::Error) -> Self {
        let text = source.to_string();
        let ports = ["address already in use", "port is already allocated", "ports are allocated"];
        if ports.iter().any(|words| text.contains(words)) {
            return Self::NoPort(source);
        }
        Self::docker(format!("start the container `{id}`"))(source)
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDocker { .. }
            | Self::NoCgroups(_)
            | Self::NotInReach
            | Self::NoMemoryThere
            | Self::Cgroup(_)
            | Self::NeedsDocker { .. }
            | Self::PortTaken { .. }
            | Self::NoPort(_)
            | Self::Taken { .. }
            | Self::EngineAway { .. }
            | Self::File { .. }
            | Self::Thread { .. } => ErrorKind::HostCannot,
            Self::LimitTooLow { .. } | Self::DebugBuild { .. } => ErrorKind::BadUse,
            Self::Docker { .. }
            | Self::NoImage { .. }
            | Self::Build { .. }
            | Self::Binary { .. }
            | Self::Start { .. }
            | Self::EndedEarly { .. }
            | Self::NotReady { .. } => ErrorKind::Target,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::NoDocker { .. } => {
                "start Docker, set DOCKER_HOST, or run without it: `--runtime native`"
            }
            Self::NoCgroups(_) => "run as root, or use Docker: `--runtime docker`",
            Self::NotInReach => {
                "run as root on Docker's own host, outside of containers, or leave `--via` to `auto`"
            }
            Self::NoImage { .. } => "build or pull it first, or check the name in `docker images`",
            Self::NeedsDocker { .. } => "use `--runtime docker`",
            Self::PortTaken { .. } => "end the other process, or let the target use another port",
            Self::EngineAway { .. } => {
                "start Docker again; `highwater clean` then removes what is left of this run"
            }
            Self::NoPort(_) => {
                "end what holds them (`ss -ltnp`), or widen /proc/sys/net/ipv4/ip_local_port_range; \
                 as root no port is needed: `--via direct`"
            }
            Self::LimitTooLow { .. } => "raise `memory` in `[target] limits`",
            Self::DebugBuild { .. } => {
                "measure what you will deploy: a release build. If you must: `--allow-debug`"
            }
            Self::EndedEarly { .. } => "check `args` and `env` in `[target]`",
            Self::NotReady { .. } => "check `port` and `ready` in `[target]`",
            _ => return None,
        };
        Some(help.to_owned())
    }
}

/// Whether no engine answered, as while it restarts.
const fn is_away(error: &bollard::errors::Error) -> bool {
    use bollard::errors::Error as E;
    matches!(
        error,
        E::IOError { .. }
            | E::HyperResponseError { .. }
            | E::HyperLegacyError { .. }
            | E::RequestTimeoutError
    )
}

/// An error with all its causes, in one line.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // A transparent error repeats its cause.
        if !text.ends_with(&inner_text) {
            text += ": ";
            text += &inner_text;
        }
        cause = inner.source();
    }
    text
}
