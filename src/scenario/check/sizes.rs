//! Distributions of body sizes.

use statrs::distribution::{ContinuousCDF, Normal};

use super::files::BODY_MAX;
use super::{Context, replay};
use crate::scenario::reader::Reader;
use crate::scenario::tree::{Node, Value};
use crate::units::Bytes;

/// Names of quantiles in a size distribution.
const QUANTILES: [(&str, f64); 9] = [
    ("min", 0.0),
    ("p10", 0.1),
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("max", 1.0),
];

/// How finely a log-normal distribution is followed, and its greatest and least quantile.
const NORMAL_STEPS: u32 = 200;
const NORMAL_TAIL: f64 = 0.0005;

/// `"200KiB"`, quantiles `{ p50 = "20KiB", p99 = "200KiB", max = "2MiB" }`, or log-normal
/// `{ median = "20KiB", sigma = 1.2, max = "2MiB" }`; or as recorded, `sizes-from = "access.log"`.
pub(super) fn points(
    body: &Reader<'_>,
    (method, path): (&str, &str),
    context: &Context<'_>,
) -> Option<Vec<(f64, Bytes)>> {
    if let Some(file) = body.string("sizes-from") {
        if body.has("size") {
            let message = "`size` and `sizes-from` both say how large a body is";
            context.notes.fault(&file.place, message, "keep one of them");
        }
        return replay::sizes(&file, &method.to_uppercase(), path, context);
    }
    let size = body.node("size")?;
    let mut points = if let Value::Table(_) = size.value {
        let table = body.table("size")?;
        let found = if table.has("median") || table.has("sigma") {
            log_normal(&table, context)?
        } else {
            QUANTILES
                .iter()
                .filter_map(|(name, quantile)| Some((*quantile, table.bytes(name)?.value)))
                .collect()
        };
        table.finish();
        found
    } else {
        let fixed = body.bytes("size")?.value;
        vec![(0.0, fixed), (1.0, fixed)]
    };
    let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
        let help = "give some of min, p10, p25, p50, p75, p90, p95, p99, max; or median and sigma";
        context.notes.fault(&size.place, "`size` has no quantile", help);
        return None;
    };
    // Below the least given quantile all are of that size; above the greatest too.
    if first.0 > 0.0 {
        points.insert(0, (0.0, first.1));
    }
    if last.0 < 1.0 {
        points.push((1.0, last.1));
    }
    check(&points, size, context).then_some(points)
}

fn check(points: &[(f64, Bytes)], size: &Node, context: &Context<'_>) -> bool {
    if points.windows(2).any(|pair| pair[0].1 > pair[1].1) {
        let message = "a higher quantile is smaller than a lower one";
        context.notes.fault(&size.place, message, "sizes must not fall: p50 ≤ p99 ≤ max");
        return false;
    }
    let greatest = points.last().map_or(Bytes::ZERO, |point| point.1);
    if greatest > BODY_MAX {
        let message = format!("bodies of {greatest} are too large");
        context.notes.fault(&size.place, message, format!("{BODY_MAX} at most"));
        return false;
    }
    true
}

/// Quantiles of a log-normal distribution, cut off at `min` and `max`.
fn log_normal(table: &Reader<'_>, context: &Context<'_>) -> Option<Vec<(f64, Bytes)>> {
    let (median, sigma) = (table.bytes("median"), table.number("sigma"));
    let (min, max) = (table.bytes("min"), table.bytes("max"));
    let (Some(median), Some(sigma)) = (median, sigma) else {
        let message = "a log-normal size needs `median` and `sigma`";
        let help = "write `{ median = \"20KiB\", sigma = 1.2, max = \"2MiB\" }`";
        context.notes.fault(table.place, message, help);
        return None;
    };
    let Ok(normal) = Normal::new(median.value.as_f64().max(1.0).ln(), sigma.value) else {
        context.notes.fault(&sigma.place, "`sigma` is not above 0", "1 is a wide spread");
        return None;
    };
    let (min, max) =
        (min.map_or(0, |at| at.value.get()), max.map_or(BODY_MAX.get(), |at| at.value.get()));
    let points = (0..=NORMAL_STEPS).map(|step| {
        let quantile = f64::from(step) / f64::from(NORMAL_STEPS);
        let within = quantile.clamp(NORMAL_TAIL, 1.0 - NORMAL_TAIL);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a float beyond the greatest number becomes that"
        )]
        let size = normal.inverse_cdf(within).exp().round() as u64;
        (quantile, Bytes::new(size.clamp(min, max.max(min))))
    });
    Some(points.collect())
}
