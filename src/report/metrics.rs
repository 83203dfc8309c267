//! The findings as metrics, for Prometheus and `OpenTelemetry`.

use crate::analysis::{Findings, Phase, Times, Traffic, Verdict};
use crate::metrics::{Family, Resource, Unit};
use crate::units::Bytes;

type Labels = Vec<(&'static str, String)>;

/// What a run showed, as metrics: the numbers of `run.json`, in base units. What was not measured
/// is left out.
#[must_use]
pub fn families(findings: &Findings) -> Vec<Family> {
    let mut all = about_the_run(findings);
    all.extend(about_memory(findings));
    all.extend(about_startup(findings));
    all.extend(about_phases(findings));
    all.extend(about_traffic(findings));
    for family in &mut all {
        for point in &mut family.points {
            point.labels.insert(0, ("name", findings.name.clone()));
        }
    }
    all
}

/// Whose metrics they are.
#[must_use]
pub fn resource(findings: &Findings) -> Resource {
    Resource {
        service: findings.name.clone(),
        run_id: findings.facts.run_id.clone(),
        version: findings.facts.highwater.clone(),
    }
}

fn about_the_run(findings: &Findings) -> Vec<Family> {
    #[expect(clippy::cast_precision_loss, reason = "to a microsecond for centuries")]
    let started = findings.anchor.unix_ns as f64 / 1e9;
    let pass = u64::from(matches!(findings.verdict, Verdict::Pass | Verdict::Warn));
    let verdict = vec![("verdict", findings.verdict.name().to_owned())];
    let thresholds = Family::gauge(
        "threshold.pass",
        Unit::Count,
        "Whether a threshold held; one that was not measured is left out.",
    );
    let thresholds = findings.thresholds.iter().fold(thresholds, |family, row| {
        let labels = vec![("metric", row.metric.clone()), ("rule", row.rule.clone())];
        family.labelled(labels, row.pass)
    });
    vec![
        Family::gauge("run.start.time", Unit::Seconds, "When the run started, since 1970.")
            .value(Some(started)),
        Family::gauge("run.pass", Unit::Count, "Whether the verdict is pass or warn.")
            .labelled(verdict, Some(pass)),
        Family::gauge("run.exit_code", Unit::Count, "The exit code of the run.")
            .value(Some(u32::from(findings.exit_code))),
        thresholds,
    ]
}

fn about_memory(findings: &Findings) -> Vec<Family> {
    let memory = findings.memory.as_ref();
    let bytes = |name, help, of: fn(&crate::analysis::Memory) -> Bytes| {
        Family::gauge(name, Unit::Bytes, help).value(memory.map(|row| of(row).get()))
    };
    let headroom = memory.and_then(|row| row.headroom_percent).map(|percent| percent / 100.0);
    let growth = findings.growth.as_ref().and_then(|row| row.bytes_per_hour);
    vec![
        bytes("memory.peak", "The charged peak, page cache included.", |row| row.peak),
        bytes(
            "memory.unreclaimable.peak",
            "The peak of what the kernel could not have given back, upper bound.",
            |row| row.unreclaimable_peak,
        ),
        bytes("memory.rss.peak", "The greatest resident set.", |row| row.rss_peak),
        Family::gauge("memory.limit", Unit::Bytes, "The memory limit.")
            .value(findings.limit.bytes().map(Bytes::get)),
        Family::gauge(
            "memory.headroom",
            Unit::Ratio,
            "The share of the limit above the unreclaimable peak.",
        )
        .value(headroom),
        Family::gauge("memory.oom_kills", Unit::Count, "OOM kills in the run.")
            .value(memory.map(|row| row.oom_kills)),
        Family::gauge("memory.limit_hits", Unit::Count, "Charges that met the limit in the run.")
            .value(memory.and_then(|row| row.limit_hits)),
        Family::gauge("memory.spikes", Unit::Count, "Spikes in the run.")
            .value(findings.spikes_total),
        Family::gauge("memory.growth_per_hour", Unit::Bytes, "Growth by the hour.").value(growth),
    ]
}

fn about_startup(findings: &Findings) -> Vec<Family> {
    let startup = findings.startup.as_ref();
    let slowest = startup.and_then(|row| {
        row.trials.iter().filter_map(|trial| trial.ready_ms).max_by(f64::total_cmp)
    });
    vec![
        Family::gauge("startup.peak", Unit::Bytes, "The highest charged peak while starting.")
            .value(startup.and_then(|row| row.peak).map(Bytes::get)),
        Family::gauge("startup.settled", Unit::Bytes, "The highest level after starting.")
            .value(startup.and_then(|row| row.settled).map(Bytes::get)),
        Family::gauge("startup.ready", Unit::Seconds, "The longest time to ready.")
            .value(slowest.map(|ms| ms / 1e3)),
    ]
}

/// One metric over all phases.
fn by_phase<V: Into<crate::metrics::Value>>(
    findings: &Findings,
    family: Family,
    of: impl Fn(&Phase) -> Option<V>,
) -> Family {
    findings.phases.iter().fold(family, |family, phase| {
        family.labelled(vec![("phase", phase.name.clone())], of(phase))
    })
}

fn about_phases(findings: &Findings) -> Vec<Family> {
    let gauge = Family::gauge;
    vec![
        by_phase(
            findings,
            gauge("phase.memory.peak", Unit::Bytes, "The charged peak of a phase."),
            |phase| Some(phase.memory.as_ref()?.peak.get()),
        ),
        by_phase(
            findings,
            gauge(
                "phase.memory.unreclaimable.peak",
                Unit::Bytes,
                "The unreclaimable peak of a phase, upper bound.",
            ),
            |phase| Some(phase.memory.as_ref()?.unreclaimable_peak.get()),
        ),
        by_phase(
            findings,
            gauge("phase.cpu.cores", Unit::Count, "CPU time per wall time in a phase, in cores."),
            |phase| phase.target.as_ref()?.cpu_cores,
        ),
    ]
}

fn about_traffic(findings: &Findings) -> Vec<Family> {
    let count = |name, help, of: fn(&Traffic) -> u64| {
        by_phase(findings, Family::counter(name, Unit::Count, help), |phase| {
            phase.traffic.as_ref().map(of)
        })
    };
    let bytes = |name, help, of: fn(&Traffic) -> u64| {
        by_phase(findings, Family::counter(name, Unit::Bytes, help), |phase| {
            phase.traffic.as_ref().map(of)
        })
    };
    vec![
        count("requests", "Requests that ended.", |row| row.requests),
        count("requests.failed", "Requests that failed.", |row| row.failed),
        count("requests.unsent", "Requests that fell due and were never sent.", |row| row.unsent),
        bytes("sent", "Bytes written to sockets.", |row| row.bytes_sent),
        bytes("received", "Bytes read from sockets.", |row| row.bytes_received),
        times(findings, "request.latency", "Times from due to the last byte.", |row| {
            row.latency.as_ref()
        }),
        times(findings, "request.duration", "Times from sent to the last byte.", |row| {
            row.duration.as_ref()
        }),
    ]
}

/// Quantiles that were measured; `1` is the longest time.
fn times(
    findings: &Findings,
    name: &'static str,
    help: &'static str,
    of: fn(&Traffic) -> Option<&Times>,
) -> Family {
    let mut family = Family::gauge(name, Unit::Seconds, help);
    for phase in &findings.phases {
        let Some(row) = phase.traffic.as_ref().and_then(of) else { continue };
        for (quantile, ms) in
            [("0.5", row.p50), ("0.95", row.p95), ("0.99", row.p99), ("1", row.max)]
        {
            let labels: Labels =
                vec![("phase", phase.name.clone()), ("quantile", quantile.to_owned())];
            family = family.labelled(labels, Some(ms / 1e3));
        }
    }
    family
}
