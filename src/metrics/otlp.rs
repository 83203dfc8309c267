//! `OpenTelemetry` metrics in OTLP's JSON form, as its HTTP transport takes them.
//!
//! Rejected: the crates of `OpenTelemetry`. What is sent is one message of one shape, which is fixed
//! by the specification; their SDK would bring a protobuf compiler's output, an HTTP client of its
//! own and a pipeline for what is a single POST.

use serde_json::{Value as Json, json};

use super::{Family, Kind, Unit, Value};

/// Whose metrics they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The service that was measured.
    pub service: String,
    /// The run's id.
    pub run_id: String,
    /// The version of Highwater.
    pub version: String,
}

/// An `ExportMetricsServiceRequest`: what a collector takes at `/v1/metrics`. Times are nanoseconds
/// since 1970: when the run started, and when the values held.
#[must_use]
pub fn otlp_json(
    families: &[Family],
    resource: &Resource,
    started_unix_ns: u64,
    now_unix_ns: u64,
) -> Json {
    let metrics: Vec<Json> = families
        .iter()
        .filter(|family| !family.points.is_empty())
        .map(|family| metric(family, started_unix_ns, now_unix_ns))
        .collect();
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [
            attribute("service.name", &resource.service),
            attribute("highwater.run.id", &resource.run_id),
        ] },
        "scopeMetrics": [{
            "scope": { "name": "highwater", "version": resource.version },
            "metrics": metrics,
        }],
    }] })
}

fn metric(family: &Family, started: u64, now: u64) -> Json {
    let points: Vec<Json> = family
        .points
        .iter()
        .map(|point| {
            let attributes: Vec<Json> =
                point.labels.iter().map(|(key, value)| attribute(key, value)).collect();
            // 64-bit numbers are strings in protobuf's JSON.
            let mut row = json!({
                "attributes": attributes,
                "startTimeUnixNano": started.to_string(),
                "timeUnixNano": now.to_string(),
            });
            match point.value {
                Value::Whole(number) => {
                    row["asInt"] = number.min(i64::MAX.cast_unsigned()).to_string().into();
                }
                Value::Real(number) => row["asDouble"] = number.into(),
            }
            row
        })
        .collect();
    let unit = match family.unit {
        Unit::Bytes => "By",
        Unit::Seconds => "s",
        Unit::Ratio | Unit::Count => "1",
    };
    let mut metric = json!({
        "name": format!("highwater.{}", family.name),
        "description": family.help,
        "unit": unit,
    });
    match family.kind {
        Kind::Gauge => metric["gauge"] = json!({ "dataPoints": points }),
        // 2: cumulative.
        Kind::Counter => {
            metric["sum"] =
                json!({ "dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true });
        }
    }
    metric
}

fn attribute(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_the_specification_has_it() {
        let families = [
            Family::gauge("memory.peak", Unit::Bytes, "Charged peak.").value(Some(7_u64)),
            Family::counter("requests", Unit::Count, "Requests.")
                .labelled(vec![("phase", "a".to_owned())], Some(1.5)),
            Family::gauge("none", Unit::Ratio, "Not known.").value(None::<f64>),
        ];
        let resource = Resource {
            service: "shop".to_owned(),
            run_id: "1".to_owned(),
            version: "2".to_owned(),
        };
        let message = otlp_json(&families, &resource, 10, 20);
        let scope = &message["resourceMetrics"][0]["scopeMetrics"][0];
        assert_eq!(
            scope["metrics"],
            json!([
                { "name": "highwater.memory.peak", "description": "Charged peak.", "unit": "By",
                  "gauge": { "dataPoints": [{ "attributes": [], "startTimeUnixNano": "10",
                                              "timeUnixNano": "20", "asInt": "7" }] } },
                { "name": "highwater.requests", "description": "Requests.", "unit": "1",
                  "sum": { "aggregationTemporality": 2, "isMonotonic": true,
                           "dataPoints": [{ "attributes": [{ "key": "phase",
                                                             "value": { "stringValue": "a" } }],
                                            "startTimeUnixNano": "10", "timeUnixNano": "20",
                                            "asDouble": 1.5 }] } },
            ])
        );
        assert_eq!(
            message["resourceMetrics"][0]["resource"]["attributes"][0]["value"]["stringValue"],
            "shop"
        );
    }
}
