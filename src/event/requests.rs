//! Requests one by one, packed.
//!
//! A request is some 80 bytes as numbers and 15 to 25 packed: times are kept in microseconds, the
//! end as the difference to the end before, the others as their distance before the end; numbers
//! are LEB128 variable-length integers, signed ones zigzag-folded.

use serde::{Deserialize, Serialize};

use super::ticks::UnpackError;
use super::traffic::ErrorKind;
use super::varint::{read_varint, unzigzag, write_varint, zigzag};
use crate::clock::Moment;

/// One request that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The phase in which it was due, by its index in the plan.
    pub phase: u16,
    /// Its step, by its index in the plan.
    pub step: u16,
    /// When it was due; none where users wait for answers, so that due and sent are the same.
    pub due: Option<Moment>,
    /// When its first byte was written; none where it never was.
    pub sent: Option<Moment>,
    /// When the first byte of its answer came.
    pub first_byte: Option<Moment>,
    /// When it ended, well or badly.
    pub ended: Moment,
    /// The answer's status.
    pub status: Option<u16>,
    /// How it failed, where it did.
    pub error: Option<ErrorKind>,
    /// Bytes written for it, its head included.
    pub sent_bytes: u64,
    /// Bytes read for it, the answer's head included.
    pub received_bytes: u64,
}

/// Requests that ended at about the same time, packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestBlock {
    /// How many requests the block holds.
    pub count: u32,
    /// Of how many that ended in that time.
    pub of: u64,
    /// The kinds of failures that requests name by their place here.
    errors: Vec<ErrorKind>,
    #[serde(with = "serde_bytes")]
    packed: Vec<u8>,
}

/// Which of a request's parts are there.
const DUE: u64 = 1;
const SENT: u64 = 2;
const FIRST_BYTE: u64 = 4;
const STATUS: u64 = 8;
const ERROR: u64 = 16;

impl RequestBlock {
    /// Packs requests: these, of so many that ended. Times lose what is below a microsecond.
    #[must_use]
    pub fn pack(requests: &[Request], of: u64) -> Self {
        let mut errors: Vec<ErrorKind> = Vec::new();
        let mut packed = Vec::with_capacity(requests.len() * 24);
        let mut before = 0;
        for request in requests {
            let error = request.error.map(|kind| {
                errors.iter().position(|known| *known == kind).unwrap_or_else(|| {
                    errors.push(kind);
                    errors.len() - 1
                })
            });
            let ended = micros(request.ended);
            let delta = ended.wrapping_sub(std::mem::replace(&mut before, ended)).cast_signed();
            let parts = [
                request.due.map(|at| distance(ended, at)),
                request.sent.map(|at| distance(ended, at)),
                request.first_byte.map(|at| distance(ended, at)),
                request.status.map(u64::from),
                error.map(|place| place as u64),
            ];
            let flags =
                parts.iter().rev().fold(0, |flags, part| (flags << 1) | u64::from(part.is_some()));
            let head = [flags, zigzag(delta), request.phase.into(), request.step.into()];
            let tail = [request.sent_bytes, request.received_bytes];
            for number in head.into_iter().chain(parts.into_iter().flatten()).chain(tail) {
                write_varint(&mut packed, number);
            }
        }
        let count = u32::try_from(requests.len()).expect("a block holds far less than 2^32");
        Self { count, of, errors, packed }
    }

    /// How many bytes the requests take.
    #[must_use]
    pub const fn packed_len(&self) -> usize {
        self.packed.len()
    }

    /// The requests of the block.
    ///
    /// # Errors
    /// When the packed bytes end early, or make no sense.
    pub fn unpack(&self) -> Result<Vec<Request>, UnpackError> {
        // At least six bytes each: a damaged count must not reserve more than that.
        let most = usize::try_from(self.count).unwrap_or(usize::MAX);
        let mut requests = Vec::with_capacity(most.min(self.packed.len() / 6));
        let mut rest = self.packed.as_slice();
        let mut before = 0;
        for read in 0..self.count {
            let request = self.next(&mut rest, &mut before);
            requests.push(request.ok_or(UnpackError::new(read, self.count))?);
        }
        Ok(requests)
    }

    fn next(&self, rest: &mut &[u8], before: &mut u64) -> Option<Request> {
        let flags = read_varint(rest)?;
        let ended = before.wrapping_add(unzigzag(read_varint(rest)?).cast_unsigned());
        *before = ended;
        let phase = read_varint(rest)?.try_into().ok()?;
        let step = read_varint(rest)?.try_into().ok()?;
        let mut part = |flag: u64| -> Option<Option<u64>> {
            if flags & flag == 0 { Some(None) } else { read_varint(rest).map(Some) }
        };
        let at = |distance: u64| moment(ended.wrapping_sub(unzigzag(distance).cast_unsigned()));
        let due = part(DUE)?.map(at);
        let sent = part(SENT)?.map(at);
        let first_byte = part(FIRST_BYTE)?.map(at);
        let status = match part(STATUS)? {
            Some(status) => Some(status.try_into().ok()?),
            None => None,
        };
        let error = match part(ERROR)? {
            Some(place) => Some(*self.errors.get(usize::try_from(place).ok()?)?),
            None => None,
        };
        let (sent_bytes, received_bytes) = (read_varint(rest)?, read_varint(rest)?);
        let ended = moment(ended);
        Some(Request {
            phase,
            step,
            due,
            sent,
            first_byte,
            ended,
            status,
            error,
            sent_bytes,
            received_bytes,
        })
    }
}

const fn micros(at: Moment) -> u64 {
    at.as_nanos() / 1000
}

const fn moment(micros: u64) -> Moment {
    Moment::from_nanos(micros.wrapping_mul(1000))
}

/// How long before the end; a damaged clock may make it after.
const fn distance(ended: u64, at: Moment) -> u64 {
    zigzag(ended.wrapping_sub(micros(at)).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requests() -> impl Strategy<Value = Vec<Request>> {
        let at = || (0_u64..1 << 50).prop_map(|micros| Moment::from_nanos(micros * 1000));
        let maybe = move || prop::option::of(at());
        let error = prop::option::of(prop::sample::select(vec![
            ErrorKind::Timeout,
            ErrorKind::Status,
            ErrorKind::TooLarge,
        ]));
        let numbers = (any::<u16>(), any::<u16>(), any::<u64>(), any::<u64>());
        let one = (numbers, maybe(), maybe(), maybe(), at(), any::<Option<u16>>(), error);
        let one = one.prop_map(|(numbers, due, sent, first_byte, ended, status, error)| {
            let (phase, step, sent_bytes, received_bytes) = numbers;
            Request {
                phase,
                step,
                due,
                sent,
                first_byte,
                ended,
                status,
                error,
                sent_bytes,
                received_bytes,
            }
        });
        prop::collection::vec(one, 0..60)
    }

    proptest! {
        #[test]
        fn packed_requests_unpack_to_themselves(requests in requests(), of: u64) {
            let block = RequestBlock::pack(&requests, of);
            let stored = rmp_serde::to_vec_named(&block).unwrap();
            let back: RequestBlock = rmp_serde::from_slice(&stored).unwrap();
            prop_assert_eq!((back.count as usize, back.of), (requests.len(), of));
            prop_assert_eq!(back.unpack(), Ok(requests));
        }

        #[test]
        fn damaged_blocks_never_panic(packed in prop::collection::vec(any::<u8>(), 0..200), count: u32) {
            let _ = RequestBlock { count, of: 0, errors: vec![ErrorKind::Reset], packed }.unpack();
        }
    }

    #[test]
    fn a_usual_request_takes_few_bytes() {
        let requests: Vec<Request> = (0..1000_u64)
            .map(|n| Request {
                phase: 1,
                step: 2,
                due: Some(Moment::from_nanos(n * 1_000_000)),
                sent: Some(Moment::from_nanos(n * 1_000_000 + 90_000)),
                first_byte: Some(Moment::from_nanos(n * 1_000_000 + 2_000_000)),
                ended: Moment::from_nanos(n * 1_000_000 + 2_100_000),
                status: Some(200),
                error: None,
                sent_bytes: 180,
                received_bytes: 4096,
            })
            .collect();
        let bytes = RequestBlock::pack(&requests, 1000).packed_len();
        assert!(bytes < 20_000, "{bytes}");
    }
}
