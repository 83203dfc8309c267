//! Was it that step? A spike against the replay of its first suspect alone.

use super::Findings;
use super::spikes::{Confirmed, SpikeFinding, Suspect, WasIt};
use crate::units::Bytes;

/// A rise alone of this share of the spike's and more is the cause.
const YES_FROM: f64 = 0.6;
/// One of this share and less is not.
const NO_TO: f64 = 0.3;
/// So many of the wanted requests have to have been in flight at once, for a "no".
const LEAST_IN_FLIGHT: f64 = 0.7;

/// The greatest spike's first suspect; none without a spike whose traffic is known.
#[must_use]
pub fn suspect(findings: &Findings) -> Option<&Suspect> {
    findings.spikes.first()?.suspects.first()
}

/// Sets a spike against the replay of its first suspect; none where the replay is of another step.
#[must_use]
pub fn confirm(spike: &SpikeFinding, alone: &Findings) -> Option<Confirmed> {
    let suspect = spike.suspects.first()?;
    let phase = alone.phases.first();
    let traffic = phase.and_then(|phase| phase.traffic.as_ref());
    let replayed = traffic
        .is_none_or(|traffic| traffic.steps.iter().any(|step| step.scenario == suspect.scenario));
    if !replayed {
        return None;
    }
    let others = traffic.is_some_and(|traffic| {
        traffic.steps.iter().any(|step| step.step != suspect.step && step.requests > 0)
    });
    let in_flight = if others { of_step(alone, suspect) } else { of_all(alone) };
    let memory = phase.and_then(|phase| phase.memory.as_ref());
    let rise = memory.map(|memory| memory.unreclaimable_peak - memory.start);
    let share = rise.filter(|_| spike.rise > Bytes::ZERO);
    let share = share.map(|rise| rise.as_f64() / spike.rise.as_f64());
    let wanted = suspect.in_flight.max(1);
    let busy = in_flight
        .is_some_and(|count| super::float(count) >= LEAST_IN_FLIGHT * super::float(wanted));
    let (was_it, why) = match share {
        None => (WasIt::Unclear, Some("the replay showed no memory".to_owned())),
        Some(share) if share >= YES_FROM && others => {
            (WasIt::Yes, Some("its scenario's other steps were sent with it".to_owned()))
        }
        Some(share) if share >= YES_FROM => (WasIt::Yes, None),
        Some(_) if !busy => {
            let why = in_flight.map_or_else(
                || format!("it is not known how many of {wanted} were in flight at once"),
                |count| format!("only {count} of {wanted} were in flight at once"),
            );
            (WasIt::Unclear, Some(why))
        }
        Some(share) if share <= NO_TO => (WasIt::No, None),
        Some(_) => (WasIt::Unclear, Some("alone it makes a part of the rise".to_owned())),
    };
    Some(Confirmed { wanted, in_flight, rise, share, was_it, why })
}

/// The most requests in flight.
fn of_all(alone: &Findings) -> Option<u64> {
    alone.timeline.flow.iter().map(|column| column.in_flight).max()
}

/// The most of a step, as far as the replay's own spikes tell; none where it had none.
fn of_step(alone: &Findings, wanted: &Suspect) -> Option<u64> {
    let suspects = alone.spikes.iter().flat_map(|spike| &spike.suspects);
    let same = |row: &&Suspect| row.scenario == wanted.scenario && row.step == wanted.step;
    suspects.filter(same).map(|row| row.in_flight).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::Script;

    #[test]
    fn a_rise_alone_is_set_against_the_rise_seen() {
        let run = Script::default().findings();
        let mut alone =
            Script { phases: vec![("confirm", 20, true)], ..Script::default() }.findings();
        let mut spike = run.spikes[0].clone();
        let confirmed = confirm(&spike, &alone).unwrap();
        assert!(confirmed.rise.is_some_and(|rise| rise > Bytes::from_mib(20)), "{confirmed:?}");
        spike.rise = confirmed.rise.unwrap();
        assert_eq!(confirm(&spike, &alone).unwrap().was_it, WasIt::Yes);
        spike.rise = Bytes::new(10 * spike.rise.get());
        assert_eq!(confirm(&spike, &alone).unwrap().was_it, WasIt::No);
        alone.timeline.flow.clear();
        assert_eq!(confirm(&spike, &alone).unwrap().was_it, WasIt::Unclear);
        spike.suspects[0].scenario = "another".to_owned();
        assert_eq!(confirm(&spike, &alone), None);
    }
}
