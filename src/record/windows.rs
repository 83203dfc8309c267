//! Windows of memory and of traffic, packed: most of what a recording holds.
//!
//! A window is a row of numbers, each folded into a variable-length integer as the difference to
//! what is likely: a start to the end before, a greatest value to the least, one measure to another
//! that it mostly follows, and that difference to the one in the row before. Where all levels of a
//! row are whole pages, they are counted in pages. Rows stand apart from a batch's other events and
//! tell how many of those go between two of them, so that all come out in the order in which they
//! went in.

use crate::clock::Moment;
use crate::event::varint::{read_varint, unzigzag, write_varint, zigzag};
use crate::event::{
    Band, Counts, Event, FlowWindow, KernelBands, KernelParts, LifeId, MemoryWindow, StepFlow, What,
};
use crate::plan::Budget;
use crate::units::Bytes;

/// What levels are multiples of: the least page size there is.
const PAGE_BITS: u32 = 12;
const BANDS: usize = 7;
const KERNEL_BANDS: usize = 5;
/// About what a row takes, in bytes, and how many there are at most in a batch that is sound: so
/// much room is reserved, and more as it is needed.
const ROW: usize = 48;
const ROWS: usize = Budget::PACKED_EVENTS as usize;

/// Events of two kinds, packed.
#[derive(Debug, Default)]
pub(super) struct Windows {
    bytes: Vec<u8>,
    memory: Before,
    flow_end: u64,
    /// Other events since the last row.
    others: u64,
}

/// What a row of memory is set against: the one before it.
#[derive(Debug, Default)]
struct Before {
    end: u64,
    in_pages: bool,
    likely: Likely,
}

/// Differences of one measure to another, which hardly change from row to row.
#[derive(Debug, Default, Clone, Copy)]
struct Likely {
    /// Least values, less what they mostly follow.
    least: [u64; BANDS],
    kernel: [u64; KERNEL_BANDS],
    held: u64,
    hits: u64,
    kills: u64,
}

/// Bits of a row's first number.
const FLOW: u64 = 1;
const IN_PAGES: u64 = 2;
const HITS: u64 = 4;
const KILLS: u64 = 8;
const HELD: u64 = 16;
const KERNEL: u64 = 32;
const PARTS: u64 = 64;
const SLAB: u64 = 128;
const SOCK: u64 = 256;
const PAGE_TABLES: u64 = 512;

impl Windows {
    /// Takes an event in, if it is of a kind that is packed; else it is told to be between two rows.
    pub(super) fn take(&mut self, event: &Event) -> bool {
        match &event.what {
            What::Memory(window) => {
                self.begin_row();
                self.memory.write(&mut self.bytes, event.at, window);
            }
            What::Flow(window) => {
                self.begin_row();
                write_flow(&mut self.bytes, &mut self.flow_end, event.at, window);
            }
            _ => {
                self.pass();
                return false;
            }
        }
        true
    }

    /// Tells of an event that stands among the others.
    pub(super) const fn pass(&mut self) {
        self.others += 1;
    }

    fn begin_row(&mut self) {
        write_varint(&mut self.bytes, std::mem::take(&mut self.others));
    }

    /// What was taken in.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Puts packed windows and a batch's other events into their order; none where the bytes are no
/// packed windows.
pub(super) fn unpack(bytes: &[u8], others: Vec<Event>) -> Option<Vec<Event>> {
    if bytes.is_empty() {
        return Some(others);
    }
    let mut events = Vec::with_capacity(others.len() + (bytes.len() / ROW).min(ROWS));
    let mut others = others.into_iter();
    let (mut memory, mut flow_end) = (Before::default(), 0);
    let mut rest = bytes;
    while !rest.is_empty() {
        for _ in 0..read_varint(&mut rest)? {
            events.push(others.next()?);
        }
        let flags = read_varint(&mut rest)?;
        events.push(if flags & FLOW == 0 {
            memory.read(&mut rest, flags)?
        } else {
            read_flow(&mut rest, &mut flow_end)?
        });
    }
    events.extend(others);
    Some(events)
}

fn write_signed(out: &mut Vec<u8>, value: u64) {
    write_varint(out, zigzag(value.cast_signed()));
}

fn read_signed(rest: &mut &[u8]) -> Option<u64> {
    Some(unzigzag(read_varint(rest)?).cast_unsigned())
}

/// The change of what is likely, which becomes what it is now.
const fn change(likely: &mut u64, now: u64) -> u64 {
    now.wrapping_sub(std::mem::replace(likely, now))
}

/// The bands of a window; which one each mostly follows is told by [`FOLLOWS`].
const fn bands(window: &MemoryWindow) -> [Band; BANDS] {
    [
        window.usage,
        window.working_set,
        window.rss,
        window.cache,
        window.shmem,
        window.unreclaimable_low,
        window.unreclaimable_high,
    ]
}

/// The place of the band that another one mostly follows; an earlier one.
const FOLLOWS: [Option<usize>; BANDS] = [None, Some(0), None, None, None, Some(2), Some(5)];

/// Bands of kernel memory that are there, in the order of their flags.
fn kernel_bands(kernel: &KernelBands) -> [Option<Band>; KERNEL_BANDS] {
    let parts = kernel.parts.as_ref();
    [
        Some(kernel.total),
        parts.map(|parts| parts.slab_reclaimable),
        parts.and_then(|parts| parts.slab),
        parts.and_then(|parts| parts.sock),
        parts.and_then(|parts| parts.page_tables),
    ]
}

/// What [`kernel_bands`] took apart.
fn kernel_of(bands: [Option<Band>; KERNEL_BANDS]) -> Option<KernelBands> {
    let [total, slab_reclaimable, slab, sock, page_tables] = bands;
    let parts = slab_reclaimable.map(|slab_reclaimable| KernelParts {
        slab,
        slab_reclaimable,
        sock,
        page_tables,
    });
    Some(KernelBands { total: total?, parts })
}

const KERNEL_FLAGS: [u64; KERNEL_BANDS] = [KERNEL, PARTS, SLAB, SOCK, PAGE_TABLES];

/// Levels in bytes or pages, as signed differences, for they wrap.
#[derive(Clone, Copy)]
struct Levels {
    shift: u32,
}

impl Levels {
    const fn new(in_pages: bool) -> Self {
        Self { shift: if in_pages { PAGE_BITS } else { 0 } }
    }

    fn write(self, out: &mut Vec<u8>, value: u64) {
        write_signed(out, (value.cast_signed() >> self.shift).cast_unsigned());
    }

    fn read(self, rest: &mut &[u8]) -> Option<u64> {
        Some(read_signed(rest)? << self.shift)
    }

    fn write_band(self, out: &mut Vec<u8>, band: &Band, followed: u64, likely: &mut u64) {
        let [min, max, last] = [band.min, band.max, band.last].map(Bytes::get);
        self.write(out, change(likely, min.wrapping_sub(followed)));
        self.write(out, max.wrapping_sub(min));
        self.write(out, last.wrapping_sub(min));
    }

    fn read_band(self, rest: &mut &[u8], followed: u64, likely: &mut u64) -> Option<Band> {
        *likely = likely.wrapping_add(self.read(rest)?);
        let min = likely.wrapping_add(followed);
        let (max, last) = (self.read(rest)?.wrapping_add(min), self.read(rest)?.wrapping_add(min));
        Some(Band { min: Bytes::new(min), max: Bytes::new(max), last: Bytes::new(last) })
    }
}

/// Whether all levels are whole pages.
fn is_in_pages(window: &MemoryWindow) -> bool {
    let kernel = window.kernel.as_ref().map(kernel_bands);
    let bands = bands(window).into_iter().chain(kernel.into_iter().flatten().flatten());
    let bits = bands.fold(window.peak.get(), |bits, band| {
        bits | band.min.get() | band.max.get() | band.last.get()
    });
    bits.trailing_zeros() >= PAGE_BITS
}

fn flags(window: &MemoryWindow, in_pages: bool) -> u64 {
    let kernel = window.kernel.as_ref().map(kernel_bands).unwrap_or_default();
    let told = [
        (in_pages, IN_PAGES),
        (window.limit_hits.is_some(), HITS),
        (window.oom_kills.is_some(), KILLS),
        (window.held_mean.is_some(), HELD),
    ];
    let kernel = kernel.iter().map(Option::is_some).zip(KERNEL_FLAGS);
    told.into_iter().chain(kernel).filter(|row| row.0).map(|row| row.1).sum()
}

impl Before {
    /// Differences between bytes can't be told in pages.
    fn turn(&mut self, in_pages: bool) -> Levels {
        if std::mem::replace(&mut self.in_pages, in_pages) != in_pages {
            self.likely = Likely::default();
        }
        Levels::new(in_pages)
    }

    fn write(&mut self, out: &mut Vec<u8>, at: Moment, window: &MemoryWindow) {
        let in_pages = is_in_pages(window);
        let levels = self.turn(in_pages);
        write_varint(out, flags(window, in_pages));
        for number in [window.life.0, window.ticks, window.missed] {
            write_varint(out, number.into());
        }
        let (start, at) = (window.start.as_nanos(), at.as_nanos());
        write_signed(out, start.wrapping_sub(std::mem::replace(&mut self.end, at)));
        write_signed(out, at.wrapping_sub(start));
        write_signed(out, window.peak_at.as_nanos().wrapping_sub(start));
        let (likely, bands) = (&mut self.likely, bands(window));
        for ((band, follows), likely) in bands.iter().zip(FOLLOWS).zip(&mut likely.least) {
            let followed = follows.map_or(0, |place| bands[place].min.get());
            levels.write_band(out, band, followed, likely);
        }
        levels.write(out, window.peak.get().wrapping_sub(window.usage.max.get()));
        let kernel = window.kernel.as_ref().map(kernel_bands).unwrap_or_default();
        for (band, likely) in kernel.iter().zip(&mut likely.kernel) {
            if let Some(band) = band {
                levels.write_band(out, band, 0, likely);
            }
        }
        let held = window.held_mean.map(|held| held.get().wrapping_sub(window.rss.min.get()));
        for (number, likely) in [
            (held, &mut likely.held),
            (window.limit_hits, &mut likely.hits),
            (window.oom_kills, &mut likely.kills),
        ] {
            if let Some(number) = number {
                write_signed(out, change(likely, number));
            }
        }
    }

    fn read(&mut self, rest: &mut &[u8], flags: u64) -> Option<Event> {
        let levels = self.turn(flags & IN_PAGES != 0);
        let [life, ticks, missed] = [read_varint(rest)?, read_varint(rest)?, read_varint(rest)?];
        let start = self.end.wrapping_add(read_signed(rest)?);
        let at = start.wrapping_add(read_signed(rest)?);
        let peak_at = start.wrapping_add(read_signed(rest)?);
        self.end = at;
        let likely = &mut self.likely;
        let mut bands = [Band::default(); BANDS];
        for place in 0..BANDS {
            let followed = FOLLOWS[place].map_or(0, |place| bands[place].min.get());
            bands[place] = levels.read_band(rest, followed, &mut likely.least[place])?;
        }
        let [usage, working_set, rss, cache, shmem, unreclaimable_low, unreclaimable_high] = bands;
        let peak = Bytes::new(levels.read(rest)?.wrapping_add(usage.max.get()));
        let kernel = kernel_of(levels.read_kernel(rest, flags, &mut likely.kernel)?);
        let mut told = |flag: u64, likely: &mut u64| -> Option<Option<u64>> {
            if flags & flag == 0 {
                return Some(None);
            }
            *likely = likely.wrapping_add(read_signed(rest)?);
            Some(Some(*likely))
        };
        let held = told(HELD, &mut likely.held)?;
        let window = MemoryWindow {
            life: LifeId(life.try_into().ok()?),
            start: Moment::from_nanos(start),
            ticks: ticks.try_into().ok()?,
            missed: missed.try_into().ok()?,
            usage,
            peak,
            peak_at: Moment::from_nanos(peak_at),
            rss,
            cache,
            shmem,
            working_set,
            unreclaimable_low,
            unreclaimable_high,
            limit_hits: told(HITS, &mut likely.hits)?,
            oom_kills: told(KILLS, &mut likely.kills)?,
            kernel,
            held_mean: held.map(|over| Bytes::new(over.wrapping_add(rss.min.get()))),
        };
        Some(Event { at: Moment::from_nanos(at), what: What::Memory(window) })
    }
}

impl Levels {
    fn read_kernel(
        self,
        rest: &mut &[u8],
        flags: u64,
        likely: &mut [u64; KERNEL_BANDS],
    ) -> Option<[Option<Band>; KERNEL_BANDS]> {
        let mut bands = [None; KERNEL_BANDS];
        for ((band, likely), flag) in bands.iter_mut().zip(likely).zip(KERNEL_FLAGS) {
            if flags & flag != 0 {
                *band = Some(self.read_band(rest, 0, likely)?);
            }
        }
        Some(bands)
    }
}

/// Sums and steps of traffic are as small as they are: only times and the sums over steps are set
/// against something.
fn write_flow(out: &mut Vec<u8>, end: &mut u64, at: Moment, window: &FlowWindow) {
    write_varint(out, FLOW);
    let (start, at) = (window.start.as_nanos(), at.as_nanos());
    write_signed(out, start.wrapping_sub(std::mem::replace(end, at)));
    write_signed(out, at.wrapping_sub(start));
    write_varint(out, window.steps.len() as u64);
    for row in &window.steps {
        write_varint(out, row.step.into());
        for number in [row.sent, row.ended, row.in_flight_max, row.in_flight_end] {
            write_varint(out, number.into());
        }
        // None, or one more than it is: no sum of microseconds comes near to the greatest number.
        write_varint(out, row.in_flight_us.map_or(0, |us| us.saturating_add(1)));
        write_varint(out, row.body_bytes_sent);
        write_varint(out, row.bytes_received);
    }
    let counts = &window.counts;
    let [sent, ended] = over_steps(&window.steps);
    for number in [
        counts.due.wrapping_sub(counts.sent),
        counts.sent.wrapping_sub(sent),
        counts.ended.wrapping_sub(ended),
    ] {
        write_signed(out, number);
    }
    for number in [
        counts.failed,
        counts.unsent,
        counts.bytes_sent,
        counts.bytes_received,
        counts.checks_passed,
        counts.checks_failed,
    ] {
        write_varint(out, number);
    }
}

fn read_flow(rest: &mut &[u8], end: &mut u64) -> Option<Event> {
    let start = end.wrapping_add(read_signed(rest)?);
    let at = start.wrapping_add(read_signed(rest)?);
    *end = at;
    let count = usize::try_from(read_varint(rest)?).ok()?;
    // At least eight bytes each: a damaged count must not reserve more than that.
    let mut steps = Vec::with_capacity(count.min(rest.len() / 8));
    for _ in 0..count {
        steps.push(read_step(rest)?);
    }
    let [sent, ended] = over_steps(&steps);
    let [due_over, sent_over, ended_over] =
        [read_signed(rest)?, read_signed(rest)?, read_signed(rest)?];
    let sent = sent.wrapping_add(sent_over);
    let counts = Counts {
        due: sent.wrapping_add(due_over),
        sent,
        ended: ended.wrapping_add(ended_over),
        failed: read_varint(rest)?,
        unsent: read_varint(rest)?,
        bytes_sent: read_varint(rest)?,
        bytes_received: read_varint(rest)?,
        checks_passed: read_varint(rest)?,
        checks_failed: read_varint(rest)?,
    };
    let window = FlowWindow { start: Moment::from_nanos(start), counts, steps };
    Some(Event { at: Moment::from_nanos(at), what: What::Flow(window) })
}

fn read_step(rest: &mut &[u8]) -> Option<StepFlow> {
    let mut number = || read_varint(rest);
    Some(StepFlow {
        step: number()?.try_into().ok()?,
        sent: number()?.try_into().ok()?,
        ended: number()?.try_into().ok()?,
        in_flight_max: number()?.try_into().ok()?,
        in_flight_end: number()?.try_into().ok()?,
        in_flight_us: number()?.checked_sub(1),
        body_bytes_sent: number()?,
        bytes_received: number()?,
    })
}

/// Requests sent and ended over all steps.
fn over_steps(steps: &[StepFlow]) -> [u64; 2] {
    let sum = |of: fn(&StepFlow) -> u32| steps.iter().map(|row| u64::from(of(row))).sum();
    [sum(|row| row.sent), sum(|row| row.ended)]
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
