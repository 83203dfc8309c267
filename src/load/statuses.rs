//! Sums of one step by how its requests were answered, bounded however many statuses there are.

use crate::event::{Status, StatusWindow};

/// One row for each kind of answer. Memory is kept from window to window.
#[derive(Debug, Default)]
pub(super) struct Statuses(Vec<StatusWindow>);

impl Statuses {
    /// The row of a kind of answer. What is one kind too many shares a row with others.
    pub(super) fn of(&mut self, status: Status, expected: bool) -> &mut StatusWindow {
        let mine = |row: &StatusWindow, status| {
            row.count > 0 && (row.status, row.expected) == (status, expected)
        };
        let found = self.0.iter().position(|row| mine(row, status));
        let codes = || self.rows().filter(|row| matches!(row.status, Status::Code(_))).count();
        let (index, status) = match found {
            Some(index) => (Some(index), status),
            None if matches!(status, Status::Code(_)) && codes() >= StatusWindow::CODES_MAX => {
                (self.0.iter().position(|row| mine(row, Status::Other)), Status::Other)
            }
            None => (None, status),
        };
        let index = index.or_else(|| self.0.iter().position(|row| row.count == 0));
        let index = index.unwrap_or_else(|| {
            self.0.push(StatusWindow::default());
            self.0.len() - 1
        });
        let row = &mut self.0[index];
        (row.status, row.expected) = (status, expected);
        row
    }

    fn rows(&self) -> impl Iterator<Item = &StatusWindow> {
        self.0.iter().filter(|row| row.count > 0)
    }

    /// Takes in another's sums.
    pub(super) fn add(&mut self, other: &Self) {
        for row in other.rows() {
            self.of(row.status, row.expected).add(row);
        }
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.0.iter_mut().for_each(StatusWindow::clear);
    }

    /// The sums of all requests, whatever their answers; and the rows where there is more than
    /// one kind.
    pub(super) fn finish(mut self) -> (StatusWindow, Vec<StatusWindow>) {
        self.0.retain(|row| row.count > 0);
        if self.0.len() < 2 {
            return (self.0.pop().unwrap_or_default(), Vec::new());
        }
        let mut sum = StatusWindow::default();
        for row in &self.0 {
            sum.add(row);
        }
        (sum, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(statuses: &mut Statuses, code: u16, us: u64) {
        let row = statuses.of(Status::Code(code), code < 400);
        row.count += 1;
        row.duration_us.record(us);
    }

    #[test]
    fn one_kind_of_answer_needs_no_rows_and_two_do() {
        let mut statuses = Statuses::default();
        count(&mut statuses, 200, 5);
        let mut both = Statuses::default();
        both.add(&statuses);
        let (times, rows) = statuses.finish();
        assert_eq!((times.duration_us.count(), rows.len()), (1, 0));
        count(&mut both, 503, 9);
        let (times, rows) = both.finish();
        assert_eq!(times.duration_us.count(), 2);
        let got: Vec<_> = rows.iter().map(|row| (row.status, row.expected, row.count)).collect();
        assert_eq!(got, [(Status::Code(200), true, 1), (Status::Code(503), false, 1)]);
    }

    #[test]
    fn rows_are_bounded_and_used_again() {
        let mut statuses = Statuses::default();
        for _ in 0..3 {
            statuses.clear();
            for code in 100..600 {
                count(&mut statuses, code, 1);
            }
            statuses.of(Status::None, false).count += 1;
        }
        assert_eq!(statuses.0.len(), StatusWindow::CODES_MAX + 3);
        let (times, rows) = statuses.finish();
        assert_eq!(times.duration_us.count(), 500);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 501);
        let others = rows.iter().filter(|row| row.status == Status::Other);
        assert_eq!(others.map(|row| row.count).sum::<u64>(), 492);
    }
}
