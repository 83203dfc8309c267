//! The sampler against a real cgroup of this host and services of known memory.

mod support;

use std::time::Duration;

use highwater::units::Bytes;
use support::sampled::{Nest, sample};

/// Cgroups to test in, where this host lets us make some.
fn nest(name: &str) -> Option<Nest> {
    if !support::is_root() {
        support::skip("needs root");
        return None;
    }
    // Built before anything is sampled.
    support::fixtures();
    match Nest::new(name) {
        Ok(nest) => Some(nest),
        Err(error) => {
            support::skip(&format!("no cgroups can be made: {error}"));
            None
        }
    }
}

#[test]
fn every_spike_of_a_mebibyte_is_seen_with_its_height() {
    let Some(nest) = nest("spikes") else { return };
    let spikes = ["--size-kib", "1024", "--hold-us", "0", "--every-ms", "25", "--count", "50"];
    let arguments = [&["spiky"], &spikes[..], &["--after-ms", "200"]].concat();
    let sampled = sample(&nest, support::fixtures(), &arguments, Duration::from_secs(2));
    if !sampled.start.method.is_interval_exact() {
        support::skip("this kernel can't reset peaks");
        return;
    }
    let spikes = sampled.true_spikes();
    assert_eq!(spikes.len(), 50);
    let allowed = (Bytes::from_kib(512) + sampled.start.charge_slack).get();
    for spike in spikes {
        let seen = sampled.rise_seen(spike).get();
        let true_rise = spike["bytes"].as_u64().unwrap();
        assert!(
            seen.abs_diff(true_rise) <= allowed,
            "spike {}: rise of {seen} seen, {true_rise} true",
            spike["n"]
        );
    }
}

#[test]
fn ticks_read_and_missed_add_up_to_the_time_sampled() {
    let Some(nest) = nest("count") else { return };
    let length = Duration::from_millis(500);
    let sampled = sample(&nest, support::fixtures(), &["steady"], length);
    let report = &sampled.report;
    let first = sampled.ticks.first().unwrap().at;
    let last = sampled.ticks.last().unwrap().at;
    let due = u64::try_from(last.since(first).as_millis()).unwrap() + 1;
    let counted = report.ticks + report.missed_ticks;
    assert!(counted.abs_diff(due) <= 1, "{counted} ticks counted, {due} due");
    assert_eq!(sampled.ticks.len() as u64, report.ticks);
}
