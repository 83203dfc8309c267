//! How work is spaced: gaps between arrivals, pauses of users, numbers of runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Exp, LogNormal};

/// How the arrivals of an open load are spaced. All have the load's rate in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Arrivals {
    /// At even distances.
    Even,
    /// At exponential distances: independent arrivals.
    Poisson,
    /// Heavy-tailed gaps: Pareto's distribution of this shape, above 1. Below 2 the variance has
    /// no bound, as was found of network traffic: crowds and long silences at every scale.
    Pareto(f64),
    /// Heavy-tailed gaps: log-normal, with this standard deviation of the logarithm.
    LogNormal(f64),
}

/// The pause of a user before a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Think {
    /// None.
    #[default]
    None,
    /// Drawn evenly between two bounds, or fixed where they are the same.
    Between(Duration, Duration),
    /// Exponential with this mean; `most` at most.
    Exponential {
        /// The mean, but for the cut at `most`.
        mean: Duration,
        /// The longest.
        most: Duration,
    },
    /// Log-normal with this median and standard deviation of the logarithm; `most` at most.
    LogNormal {
        /// The median.
        median: Duration,
        /// The standard deviation of the logarithm.
        sigma: f64,
        /// The longest.
        most: Duration,
    },
    /// So long from the beginning of the paced step before to the beginning of this one, or at
    /// once where that took longer.
    Paced(Duration),
}

/// How many scenario runs a closed load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Iterations {
    /// All users together.
    Shared(u64),
    /// Each user.
    Each(u64),
}

impl Think {
    /// The pause at a quantile in 0..1. A paced step's is not a matter of chance: none.
    #[must_use]
    pub fn at(self, quantile: f64) -> Duration {
        match self {
            Self::None | Self::Paced(_) => Duration::ZERO,
            Self::Between(least, most) => least + most.saturating_sub(least).mul_f64(quantile),
            Self::Exponential { mean, most } => {
                let exponential = Exp::new(1.0 / mean.as_secs_f64());
                let seconds = exponential.map_or(0.0, |one| one.inverse_cdf(quantile));
                seconds_up_to(seconds, most)
            }
            Self::LogNormal { median, sigma, most } => {
                let normal = LogNormal::new(median.as_secs_f64().ln(), sigma);
                let seconds = normal.map_or(0.0, |one| one.inverse_cdf(quantile));
                seconds_up_to(seconds, most)
            }
        }
    }
}

fn seconds_up_to(seconds: f64, most: Duration) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// The mean over evenly spaced quantiles.
    fn mean(think: Think) -> f64 {
        let at = |step: u32| think.at((f64::from(step) + 0.5) / 100_000.0).as_secs_f64();
        (0..100_000).map(at).sum::<f64>() / 100_000.0
    }

    #[test]
    fn pauses_have_the_mean_and_median_asked_for() {
        let second = Duration::from_secs(1);
        assert!((mean(Think::Exponential { mean: second, most: HOUR }) - 1.0).abs() < 0.001);
        let wide = Think::LogNormal { median: second, sigma: 1.0, most: HOUR };
        assert!((wide.at(0.5).as_secs_f64() - 1.0).abs() < 1e-6);
        // exp(σ² / 2)
        assert!((mean(wide) - 0.5_f64.exp()).abs() < 0.01);
        assert_eq!(Think::Between(second, 3 * second).at(0.5), 2 * second);
        assert_eq!(Think::None.at(0.5), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn pauses_never_pass_their_bound(
            quantile in 0.0..1.0_f64, ms in 1_u64..100_000, sigma in 0.01..5.0_f64,
        ) {
            let (median, most) = (Duration::from_millis(ms), Duration::from_millis(ms * 3));
            let all = [
                Think::Exponential { mean: median, most },
                Think::LogNormal { median, sigma, most },
                Think::Between(median, most),
            ];
            for think in all {
                prop_assert!(think.at(quantile) <= most);
                prop_assert!(think.at(quantile) >= think.at(quantile / 2.0));
            }
        }
    }
}
