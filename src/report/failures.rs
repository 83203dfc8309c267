//! How requests failed, or weren't sent as they were due, in a line.

use crate::analysis::Traffic;
use crate::event::{ErrorKind, Status};

/// Kinds of failures that are named; the most frequent ones.
const NAMED: usize = 5;

/// `120 timed out, 4 refused, 33 × status 503`, and what was never sent or late; none where all
/// went well.
pub(super) fn failures(traffic: &Traffic) -> Option<String> {
    let mut rows = unexpected_statuses(traffic);
    let kinds = traffic.errors.iter().filter(|(kind, _)| **kind != ErrorKind::Status);
    rows.extend(kinds.map(|(kind, count)| (*count, kind.in_short().to_owned())));
    rows.retain(|(count, _)| *count > 0);
    rows.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let rest: u64 = rows.iter().skip(NAMED).map(|(count, _)| count).sum();
    rows.truncate(NAMED);
    if rest > 0 {
        rows.push((rest, "otherwise".to_owned()));
    }
    rows.push((traffic.unsent, "never sent".to_owned()));
    rows.push((traffic.late, format!("sent over {} ms late", Traffic::LATE_US / 1000)));
    rows.retain(|(count, _)| *count > 0);
    let parts: Vec<String> = rows.iter().map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Statuses that were not expected, as far as they were told apart.
fn unexpected_statuses(traffic: &Traffic) -> Vec<(u64, String)> {
    let mut left = traffic.errors.get(&ErrorKind::Status).copied().unwrap_or(0);
    let mut rows = Vec::new();
    for answer in traffic.answers.iter().filter(|answer| !answer.expected) {
        if let Status::Code(code) = answer.status {
            left = left.saturating_sub(answer.timed.requests);
            rows.push((answer.timed.requests, format!("× status {code}")));
        }
    }
    rows.push((left, ErrorKind::Status.in_short().to_owned()));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{AnswerTraffic, TimedRequests};

    fn answer(status: Status, expected: bool, requests: u64) -> AnswerTraffic {
        let timed = TimedRequests { requests, ..TimedRequests::default() };
        AnswerTraffic { status, expected, timed }
    }

    #[test]
    fn the_most_frequent_come_first_and_statuses_have_their_number() {
        let traffic = Traffic {
            errors: [(ErrorKind::Timeout, 120), (ErrorKind::Refused, 4), (ErrorKind::Status, 35)]
                .into(),
            answers: vec![
                answer(Status::Code(200), true, 1000),
                answer(Status::Code(503), false, 33),
                answer(Status::None, false, 124),
            ],
            unsent: 7,
            late: 9,
            ..Traffic::default()
        };
        let said = "120 timed out, 33 × status 503, 4 refused, 2 × another status, \
                    7 never sent, 9 sent over 10 ms late";
        assert_eq!(failures(&traffic).as_deref(), Some(said));
        assert_eq!(failures(&Traffic::default()), None);
    }

    #[test]
    fn many_kinds_are_summed_up() {
        let answers = (0..8).map(|n| answer(Status::Code(500 + n), false, 10 + u64::from(n)));
        let errors = [(ErrorKind::Status, 108)].into();
        let traffic = Traffic { errors, answers: answers.collect(), ..Traffic::default() };
        let said = failures(&traffic).unwrap();
        assert!(
            said.starts_with("17 × status 507, ") && said.ends_with(", 33 otherwise"),
            "{said}"
        );
    }
}
