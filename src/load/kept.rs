//! Requests that are kept one by one: so many of each second, by chance.

use super::draw::Draw;
use crate::event::Request;
use crate::plan::Samples;

/// Keeps requests of one worker.
#[derive(Debug)]
pub(super) struct Keeper {
    room: usize,
    kept: Kept,
    draw: Draw,
}

/// Requests that were kept, and of how many.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) requests: Vec<Request>,
    pub(super) of: u64,
}

impl Keeper {
    pub(super) fn new(samples: Samples, seed: u64, worker: u32, workers: u32) -> Self {
        let draw = Draw::new(seed, &[u64::from(worker), 0x6b65_6570]);
        Self { room: samples.of_each(workers), kept: Kept::default(), draw }
    }

    /// Takes a request that ended: each of a second is kept as likely as any other.
    pub(super) fn take(&mut self, request: Request) {
        if self.room == 0 {
            return;
        }
        self.kept.of += 1;
        if self.kept.requests.len() < self.room {
            self.kept.requests.push(request);
        } else if let Ok(place) = usize::try_from(self.draw.below(self.kept.of))
            && let Some(kept) = self.kept.requests.get_mut(place)
        {
            *kept = request;
        }
    }

    /// What was kept since the last time.
    pub(super) fn cut(&mut self) -> Kept {
        std::mem::take(&mut self.kept)
    }
}

impl Kept {
    /// Takes in what was kept elsewhere or later, as far as there is room for it.
    pub(super) fn add(&mut self, other: Self) {
        self.of += other.of;
        let room = (Samples::MAX_PER_SECOND as usize).saturating_sub(self.requests.len());
        self.requests.extend(other.requests.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    fn request(number: u64) -> Request {
        Request {
            phase: 0,
            step: 0,
            due: None,
            sent: None,
            first_byte: None,
            ended: Moment::from_millis(number),
            status: None,
            error: None,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    #[test]
    fn each_request_of_a_second_is_as_likely_kept() {
        let mut keeper = Keeper::new(Samples::PerSecond(100), 1, 0, 2);
        let mut early = 0;
        for _ in 0..200 {
            (0..1000).for_each(|number| keeper.take(request(number)));
            let kept = keeper.cut();
            assert_eq!((kept.requests.len(), kept.of), (50, 1000));
            let half = Moment::from_millis(500);
            early += kept.requests.iter().filter(|request| request.ended < half).count();
        }
        // 5000 of 10,000; the deviation is 50 at the most.
        assert!((4700..5300).contains(&early), "{early}");
    }

    #[test]
    fn none_are_kept_unless_asked_for_and_all_where_there_is_room() {
        let mut keeper = Keeper::new(Samples::None, 1, 0, 1);
        keeper.take(request(1));
        assert_eq!(keeper.cut().of, 0);
        let mut keeper = Keeper::new(Samples::All, 1, 0, 1);
        (0..1000).for_each(|number| keeper.take(request(number)));
        assert_eq!(keeper.cut().requests.len(), 1000);
        assert!(keeper.cut().requests.is_empty());
    }
}
