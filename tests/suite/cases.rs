//! The cases: which service, which traffic, and what is true of it.

use super::Extent;
use super::draw::Draw;

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
/// By how much the kernel may charge a CPU ahead of use.
const SLACK_A_CPU: u64 = 252 * KIB;

/// One run, or one search for a limit.
pub(crate) struct Case {
    /// Its kind and number.
    pub(crate) name: String,
    /// The fixture service and its options.
    pub(crate) service: Vec<String>,
    /// The scenario behind `args` of `[target]`.
    pub(crate) rest: String,
    /// What is true of it.
    pub(crate) truth: Truth,
}

/// What the analysis should find.
pub(crate) enum Truth {
    /// Whether memory is lost, and how much of it over the run.
    Growth { leaks: Option<u64> },
    /// What a request in flight of each step costs, in bytes, and its share of the memory.
    Costs(Vec<StepTruth>),
    /// The step that causes the spikes at known times.
    Suspects(Vec<BurstTruth>),
    /// The limit that `size` recommends survives, and is not much above the least that does.
    Size {
        /// Fresh runs under the recommended limit.
        proofs: u32,
    },
}

/// A step of known cost.
pub(crate) struct StepTruth {
    pub(crate) scenario: String,
    pub(crate) bytes: f64,
    /// Its mean memory as a share of that of all steps.
    pub(crate) share: f64,
}

/// Bursts of one step.
pub(crate) struct BurstTruth {
    pub(crate) scenario: String,
    /// The first one, from the phase's start.
    pub(crate) first_ms: f64,
    pub(crate) every_ms: f64,
    pub(crate) hold_ms: f64,
    /// What all of a burst's requests hold together, in bytes.
    pub(crate) bytes: f64,
}

/// The cases of an extent.
pub(crate) fn all(extent: Extent, seed: u64) -> Vec<Case> {
    let (growth, costs, sizes) = match extent {
        Extent::Few => (1, 0, 0),
        Extent::All => (4, 8, 6),
    };
    let length = Length::of(extent);
    let mut cases = Vec::new();
    let kinds: &[(&str, Growing)] = match extent {
        Extent::Few => &GROWING[..2],
        Extent::All => &GROWING,
    };
    for (name, kind) in kinds {
        cases.extend((1..=growth).map(|n| kind(&format!("growth/{name}-{n}"), length, seed, n)));
    }
    cases.extend((1..=costs).map(|n| costly(length, seed, n)));
    cases.extend((1..=costs).map(|n| suspicious(length, seed, n)));
    cases.extend((1..=sizes).map(|n| sized(seed, n)));
    cases
}

/// How long the phases of the runs are.
#[derive(Debug, Clone, Copy)]
struct Length {
    seconds: u64,
    /// Between bursts, from and to.
    every: (u64, u64),
}

impl Length {
    const fn of(extent: Extent) -> Self {
        match extent {
            Extent::Few => Self { seconds: 24, every: (2, 2) },
            Extent::All => Self { seconds: 60, every: (3, 5) },
        }
    }
}

type Growing = fn(&str, Length, u64, u64) -> Case;

const GROWING: [(&str, Growing); 8] = [
    ("leak-by-request", leak_by_request),
    ("cache-fills-up", warming),
    ("flat", flat),
    ("random-keys", random_keys),
    ("retained", retained),
    ("page-cache", page_cache),
    ("leak-by-time", leak_by_time),
    ("leak-on-one-route", leak_on_one_route),
];

/// The traffic of a growth case: the keys of the phase, and how many requests it makes.
struct Traffic {
    keys: String,
    requests: u64,
}

fn traffic(draw: &mut Draw, length: Length) -> Traffic {
    let rate = draw.between(20, 60);
    let steady = rate * length.seconds;
    let bursts = |size: u64, every: u64| length.seconds / every * size;
    let (size, every) = (draw.between(20, 60), draw.between(length.every.0, length.every.1));
    let (keys, requests) = match draw.between(0, 3) {
        0 => (
            format!("rate = {rate}\nburst = {{ every = \"{every}s\", size = {size} }}"),
            steady + bursts(size, every),
        ),
        1 => (format!("rate = {rate}"), steady),
        2 => (format!("rate = {rate}\narrivals = \"poisson\""), steady),
        _ => (
            format!(
                "rate = {rate}\narrivals = \"poisson\"\n\
                 burst = {{ every = \"{every}s\", size = {size}, jitter = 0.2 }}"
            ),
            steady + bursts(size, every),
        ),
    };
    let seed = draw.between(1, 1_000_000);
    let keys = format!("{keys}\nfor = \"{}s\"\n[traffic]\nseed = {seed}\n", length.seconds);
    Traffic { keys, requests }
}

fn scenario(limit_mib: u64, steps: &str, phase: &str) -> String {
    format!(
        "limits = {{ memory = \"{limit_mib}MiB\" }}\nready = {{ http = \"/health\" }}\n\
         [startup]\ntrials = 0\nsettle = \"300ms\"\n{steps}\
         [[phase]]\nname = \"soak\"\n{phase}"
    )
}

const ONE_STEP: &str = "[[scenario]]\nname = \"requests\"\n[[scenario.step]]\npost = \"/\"\n\
                        body = { size = \"2KiB\" }\n";

fn growing(name: &str, service: &[&str], base_mib: u64, keys: &str, leaks: Option<u64>) -> Case {
    let base = base_mib.to_string();
    let service = [service, &["--base-mib", &base]].concat();
    Case {
        name: name.to_owned(),
        service: service.into_iter().map(str::to_owned).collect(),
        rest: scenario(base_mib + 200, ONE_STEP, keys),
        truth: Truth::Growth { leaks },
    }
}

/// So many bytes that a leak has to be found: four times the kernel's slack, up to 30 times.
fn leaked(draw: &mut Draw) -> u64 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let slack = SLACK_A_CPU * cpus;
    draw.between(4 * slack, 30 * slack)
}

fn leak_by_request(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "leak-by-request", number);
    let traffic = traffic(&mut draw, length);
    let leaked = leaked(&mut draw);
    let bytes = leaked.div_ceil(traffic.requests).to_string();
    let base = draw.between(0, 120);
    growing(name, &["leaky", "--bytes", &bytes], base, &traffic.keys, Some(leaked))
}

fn leak_by_time(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "leak-by-time", number);
    let traffic = traffic(&mut draw, length);
    let leaked = leaked(&mut draw);
    let bytes = (leaked / length.seconds).to_string();
    let base = draw.between(0, 120);
    growing(name, &["leaky", "--bytes-per-second", &bytes], base, &traffic.keys, Some(leaked))
}

fn leak_on_one_route(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "leak-on-one-route", number);
    let traffic = traffic(&mut draw, length);
    let leaked = leaked(&mut draw);
    // One request in four goes there.
    let bytes = (4 * leaked).div_ceil(traffic.requests).to_string();
    let base = draw.between(0, 120);
    let service = ["leaky", "--bytes", &bytes, "--on-path", "/lost"];
    let mut case = growing(name, &service, base, &traffic.keys, Some(leaked));
    let steps = "[[scenario]]\nname = \"kept\"\nweight = 3\n[[scenario.step]]\nget = \"/\"\n\
                 [[scenario]]\nname = \"lost\"\n[[scenario.step]]\nget = \"/lost\"\n";
    case.rest = scenario(base + 200, steps, &traffic.keys);
    case
}

/// A cache that is full after 15 % to 55 % of the run.
fn warming(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "warming", number);
    let traffic = traffic(&mut draw, length);
    let entries = super::score::rounded(float(traffic.requests) * draw.share(0.15, 0.55));
    let mib = draw.between(4, 60);
    let kib = (mib * KIB).div_ceil(entries.max(1)).to_string();
    let (mib, base) = (mib.to_string(), draw.between(0, 120));
    growing(name, &["warming", "--max-mib", &mib, "--entry-kib", &kib], base, &traffic.keys, None)
}

/// A cache that fills ever more slowly, for its keys are drawn at random.
fn random_keys(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "random-keys", number);
    let traffic = traffic(&mut draw, length);
    // Each key is asked for three to eight times: 95 % to all of them are there at the end.
    let keys = float(traffic.requests) / draw.share(3.0, 8.0);
    let mib = draw.between(8, 60);
    let kib = super::score::rounded(float(mib * KIB) / keys).max(1).to_string();
    let (mib, base) = (mib.to_string(), draw.between(0, 120));
    let service = ["warming", "--max-mib", &mib, "--entry-kib", &kib, "--random-keys"];
    growing(name, &service, base, &traffic.keys, None)
}

fn flat(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "flat", number);
    let traffic = traffic(&mut draw, length);
    let base = draw.between(0, 120);
    let factor = draw.between(10, 400).to_string();
    match number % 2 {
        1 => {
            let service = ["payload", "--factor", &factor, "--hold-ms", "40"];
            growing(name, &service, base, &traffic.keys, None)
        }
        _ => growing(name, &["steady"], base, &traffic.keys, None),
    }
}

/// Buffers that are kept for reuse, up to the highest concurrency.
fn retained(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "retained", number);
    let traffic = traffic(&mut draw, length);
    let (kib, hold) = (draw.between(128, 1024).to_string(), draw.between(10, 60).to_string());
    let base = draw.between(0, 120);
    let service = ["retaining", "--buffer-kib", &kib, "--hold-ms", &hold];
    growing(name, &service, base, &traffic.keys, None)
}

fn page_cache(name: &str, length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "page-cache", number);
    let traffic = traffic(&mut draw, length);
    let mib = draw.between(16, 300).to_string();
    let base = draw.between(0, 60);
    let service = ["cachey", "--file-mib", &mib, "--every-ms", "2000"];
    growing(name, &service, base, &traffic.keys, None)
}

/// Two or three steps that hold different amounts for different times.
fn costly(length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "costs", number);
    let count = draw.between(2, 3);
    let (mut steps, mut loads, mut truths) = (String::new(), Vec::new(), Vec::new());
    for step in 0..count {
        let name = ["orders", "uploads", "reports"][usize::try_from(step).unwrap_or(0)];
        let body_kib = draw.between(10, 100);
        let factor = draw.between(2, 12);
        let hold_ms = draw.between(40, 150);
        let rate = draw.between(8, 25);
        let every = draw.between(length.every.0, length.every.1);
        let size = draw.between(8, 30);
        steps.push_str(&step_of(name, factor, hold_ms, body_kib));
        loads.push(format!(
            "{{ scenario = \"{name}\", rate = {rate}, arrivals = \"poisson\", \
             burst = {{ every = \"{every}s\", size = {size} }}, start-after = \"{}ms\" }}",
            step * 700
        ));
        let in_flight = float(hold_ms) / 1000.0 * (float(rate) + float(size) / float(every));
        // What it holds by its own account: an open connection's 20 KiB stay when the request ends.
        let bytes = float(factor * body_kib * KIB);
        truths.push((name, bytes, in_flight * bytes));
    }
    let sum: f64 = truths.iter().map(|row| row.2).sum();
    let truths = truths.into_iter().map(|(scenario, bytes, mean)| StepTruth {
        scenario: scenario.to_owned(),
        bytes,
        share: mean / sum,
    });
    let truth = Truth::Costs(truths.collect());
    let seconds = length.seconds;
    let phase = format!("for = \"{seconds}s\"\nload = [{}]\n", loads.join(", "));
    mixed(format!("costs/{number}"), &steps, &phase, truth)
}

/// Bursts of one or two heavy steps amid many cheap requests.
fn suspicious(length: Length, seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "suspects", number);
    let every = length.every.1;
    let decoy = draw.between(60, 150);
    let mut steps = step_of("browse", 1, 5, 1);
    let mut loads =
        vec![format!("{{ scenario = \"browse\", rate = {decoy}, arrivals = \"poisson\" }}")];
    let mut truths = Vec::new();
    for heavy in 0..draw.between(1, 2) {
        let name = ["upload", "export"][usize::try_from(heavy).unwrap_or(0)];
        let (size, body_kib) = (draw.between(4, 20), draw.between(30, 100));
        let (factor, hold_ms) = (draw.between(6, 12), draw.between(20, 80));
        steps.push_str(&step_of(name, factor, hold_ms, body_kib));
        // The second one's bursts come between the first one's.
        let after_ms = heavy * every * 500;
        loads.push(format!(
            "{{ scenario = \"{name}\", burst = {{ every = \"{every}s\", size = {size} }}, \
             start-after = \"{after_ms}ms\" }}"
        ));
        truths.push(BurstTruth {
            scenario: name.to_owned(),
            first_ms: float(after_ms + every * 500),
            every_ms: float(every * 1000),
            hold_ms: float(hold_ms),
            bytes: float(size * factor * body_kib * KIB),
        });
    }
    let phase = format!("for = \"{}s\"\nload = [{}]\n", length.seconds, loads.join(", "));
    mixed(format!("suspects/{number}"), &steps, &phase, Truth::Suspects(truths))
}

fn step_of(name: &str, factor: u64, hold_ms: u64, body_kib: u64) -> String {
    format!(
        "[[scenario]]\nname = \"{name}\"\n[[scenario.step]]\n\
         post = \"/{name}?factor={factor}&hold_ms={hold_ms}\"\n\
         body = {{ size = \"{body_kib}KiB\" }}\n"
    )
}

fn mixed(name: String, steps: &str, phase: &str, truth: Truth) -> Case {
    let service = ["payload", "--base-mib", "20"].map(str::to_owned).to_vec();
    Case { name, service, rest: scenario(512, steps, phase), truth }
}

/// A service whose least limit is to be found.
fn sized(seed: u64, number: u64) -> Case {
    let mut draw = Draw::new(seed, "size", number);
    let base = draw.between(4, 40).to_string();
    let burst = draw.between(20, 60);
    let (service, steps): (Vec<String>, String) = match number % 3 {
        // A startup that takes more than all that follows.
        0 => {
            let peak = draw.between(60, 120).to_string();
            let service = ["startup", "--peak-mib", &peak, "--base-mib", &base];
            (service.map(str::to_owned).to_vec(), ONE_STEP.to_owned())
        }
        1 => {
            let kib = draw.between(256, 1024).to_string();
            let service = ["retaining", "--buffer-kib", &kib, "--base-mib", &base];
            (service.map(str::to_owned).to_vec(), ONE_STEP.to_owned())
        }
        _ => {
            let (factor, hold) = (draw.between(3, 9), draw.between(20, 60));
            let step = step_of("upload", factor, hold, draw.between(50, 200));
            (["payload", "--base-mib", &base].map(str::to_owned).to_vec(), step)
        }
    };
    let rest = format!(
        "limits = {{ memory = \"256MiB\" }}\nready = {{ http = \"/health\" }}\n\
         [startup]\ntrials = 1\nsettle = \"300ms\"\n{steps}\
         [[phase]]\nname = \"burst\"\nrate = 30\n\
         burst = {{ every = \"1s\", size = {burst} }}\nfor = \"6s\"\n"
    );
    Case { name: format!("size/{number}"), service, rest, truth: Truth::Size { proofs: 10 } }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}
