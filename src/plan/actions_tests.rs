use super::*;
use crate::scenario::Overrides;

use std::path::Path;

/// The phases of a scenario with two of 10 s each, and these keys behind them.
fn phases(keys: &str) -> (Vec<PhasePlan>, Vec<String>) {
    let text = format!(
        "[target]\nimage = \"a\"\nport = 1\n[[phase]]\nname = \"one\"\nfor = \"10s\"\n\
         [[phase]]\nname = \"two\"\nfor = \"10s\"\n{keys}"
    );
    let plan = super::super::Plan::parse(Path::new("highwater.toml"), &text, &Overrides::default());
    let plan = plan.unwrap_or_else(|faults| panic!("{faults:?}"));
    (plan.phases, plan.notes)
}

fn seconds(action: &ActionPlan, phase: &PhasePlan) -> Vec<u64> {
    action.times().take_while(|at| *at < phase.length).map(|at| at.as_secs()).collect()
}

#[test]
fn an_action_is_done_in_the_phase_in_which_its_time_lies() {
    let (phases, _) = phases("[[at]]\nwhen = \"14s\"\nsignal = \"hup\"\n");
    assert!(phases[0].actions.is_empty());
    let [action] = phases[1].actions.as_slice() else { panic!("one action") };
    assert_eq!(action.deed, Deed::Signal("SIGHUP".to_owned()));
    assert_eq!(seconds(action, &phases[1]), [4]);
}

#[test]
fn one_that_comes_again_and_again_keeps_its_rhythm_over_all_phases() {
    let (phases, _) = phases("[[at]]\nevery = \"4s\"\nexec = [\"true\"]\n");
    let times: Vec<_> = phases.iter().map(|phase| seconds(&phase.actions[0], phase)).collect();
    assert_eq!(times, [vec![4, 8], vec![2, 6]]);
}

#[test]
fn that_of_a_phase_counts_from_its_start() {
    let (phases, _) =
        phases("[[at]]\nphase = \"two\"\nwhen = \"0s\"\nevery = \"5s\"\nexec = \"sync\"\n");
    assert!(phases[0].actions.is_empty());
    assert_eq!(seconds(&phases[1].actions[0], &phases[1]), [0, 5]);
    let shell = ["/bin/sh", "-c", "sync"].map(str::to_owned).to_vec();
    assert_eq!(phases[1].actions[0].deed, Deed::Exec(shell));
}

#[test]
fn a_request_is_a_load_that_counts_as_no_traffic_of_its_phase() {
    let (phases, _) = phases("[[at]]\nwhen = \"2s\"\npost = \"/batch\"\nbody = { text = \"x\" }\n");
    assert_eq!(phases[0].loads.len(), 1);
    assert_eq!(phases[0].traffic().count(), 0);
    assert!(!phases[0].is_counted());
    assert_eq!(phases[0].actions[0].describe(), "POST /batch");
}
