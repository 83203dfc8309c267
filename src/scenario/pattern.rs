//! Phases in the order in which a service is best tried: presets, written as a user would.

use std::fmt;
use std::str::FromStr;

/// A preset of phases. All rates are shares of production's peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// One user: is it in order at all?
    Baseline,
    /// From nothing to twice the peak, held.
    Ramp,
    /// Ten times the peak for a while, and time to recover.
    Spike,
    /// 80 % of the peak for long.
    Soak,
    /// All of them, in this order; over early when the baseline is bad.
    Full,
}

const BASELINE: &str = r#"[[phase]]
name = "baseline"
users = 1
for = "30s"
stop-early = true
"#;

const RAMP: &str = r#"[[phase]]
name = "ramp"
stages = [{ rate = "2x", for = "2m" }, { for = "1m" }]
"#;

const SPIKE: &str = r#"[[phase]]
name = "spike"
rate = "100%"
surge = { to = "10x", at = "20s", rise = "1s", for = "10s", fall = "1s" }
for = "2m"
size = true
"#;

const SOAK: &str = r#"[[phase]]
name = "soak"
rate = "80%"
for = "10m"
"#;

impl Pattern {
    /// Every pattern, as it is written on the command line.
    pub const NAMES: [&'static str; 5] = ["baseline", "ramp", "spike", "soak", "full"];

    /// The phases, as they would stand in a scenario.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Baseline => BASELINE.to_owned(),
            Self::Ramp => RAMP.to_owned(),
            Self::Spike => SPIKE.to_owned(),
            Self::Soak => SOAK.to_owned(),
            Self::Full => [BASELINE, RAMP, SPIKE, SOAK].join("\n"),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Baseline, Self::Ramp, Self::Spike, Self::Soak, Self::Full];
        let found = Self::NAMES.iter().zip(all).find(|(name, _)| **name == text);
        found
            .map(|(_, pattern)| pattern)
            .ok_or_else(|| format!("no pattern is called `{text}`: {}", Self::NAMES.join(", ")))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES[*self as usize])
    }
}
