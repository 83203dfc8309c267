//! Exit codes, documented once.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: pass, or warn without `--fail-on warn`.
    Pass,
    /// 1: a threshold was broken, an OOM kill, a leak.
    Fail,
    /// 2: bad usage or a bad scenario.
    BadUse,
    /// 3: this host cannot: no Docker and no cgroup rights, a port taken.
    HostCannot,
    /// 4: the target did not build, start or become ready.
    TargetFailed,
    /// 5: the measurement can't be trusted.
    Untrusted,
    /// 130: interrupted, report written.
    Interrupted,
    /// 101: a fault of Highwater itself.
    Bug,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::BadUse => 2,
            Self::HostCannot => 3,
            Self::TargetFailed => 4,
            Self::Untrusted => 5,
            Self::Interrupted => 130,
            Self::Bug => 101,
        }
    }

    /// The exit of this code; a code that is not ours counts as a fault of ours.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Pass,
            1 => Self::Fail,
            2 => Self::BadUse,
            3 => Self::HostCannot,
            4 => Self::TargetFailed,
            5 => Self::Untrusted,
            130 => Self::Interrupted,
            _ => Self::Bug,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_exits_are_one_to_one() {
        for code in [0, 1, 2, 3, 4, 5, 130, 101] {
            assert_eq!(Exit::from_code(code).code(), code);
        }
    }
}
