//! Targets that print without end.

use crate::run::{Done, MIB};
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "flood/lines-native", when: When::Always, make: || lines(Runtime::Native, 512) },
    Fault {
        name: "flood/lines-docker",
        when: When::OnRequest,
        make: || lines(Runtime::Docker, 64),
    },
    Fault {
        name: "flood/one-line-native",
        when: When::OnRequest,
        make: || long(Runtime::Native, 0),
    },
    Fault {
        name: "flood/one-line-docker",
        when: When::OnRequest,
        make: || long(Runtime::Docker, 0),
    },
    Fault {
        name: "flood/10-GiB-native",
        when: When::OnRequest,
        make: || lines(Runtime::Native, 10 * 1024),
    },
    Fault {
        name: "flood/10-GiB-docker",
        when: When::OnRequest,
        make: || lines(Runtime::Docker, 10 * 1024),
    },
    Fault {
        name: "flood/lines-of-100-MiB-native",
        when: When::OnRequest,
        make: || long(Runtime::Native, 100 * 1024),
    },
    Fault {
        name: "flood/lines-of-100-MiB-docker",
        when: When::OnRequest,
        make: || long(Runtime::Docker, 100 * 1024),
    },
];

fn lines(runtime: Runtime, mib: u64) -> Option<String> {
    flood(runtime, mib, 1)
}

/// 100 MiB without a line's end, or several such lines.
fn long(runtime: Runtime, line_kib: u64) -> Option<String> {
    let lines = if line_kib == 0 { 1 } else { 3 };
    flood(runtime, lines * 100, line_kib)
}

fn flood(runtime: Runtime, mib: u64, line_kib: u64) -> Option<String> {
    if !runtime.is_there() {
        return None;
    }
    let bench = Bench::new();
    let (amount, line) = (mib.to_string(), line_kib.to_string());
    // It runs until all was printed: then it is stopped.
    bench.scenario(
        &["hostile", "--log-mib", &amount, "--log-line-kib", &line],
        "limits = { memory = \"256MiB\" }\nready = { http = \"/health\" }\n\
         [startup]\ntrials = 0\n[[phase]]\nname = \"flood\"\nfor = \"30m\"\n",
    );
    let mut command = crate::run::command(&bench, runtime);
    command.args(["--progress", "lines"]);
    let going = crate::run::Going::start(command);
    let log = bench.path().join("out");
    // The last thing that it prints is a word of its own, which is not to be cut away.
    wait_for_end(&log, mib);
    going.signal(nix::sys::signal::Signal::SIGINT);
    let done = going.wait(&bench);
    done.expect_clean();
    Some(check(&done, runtime, mib))
}

/// Waits until the recording has told that all was printed.
fn wait_for_end(out: &std::path::Path, mib: u64) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30 * 60);
    let mut before = None;
    loop {
        std::thread::sleep(std::time::Duration::from_secs(2));
        let printed = highwater_says(out);
        // What Docker loses of a flood never comes.
        let stands = printed.is_some() && printed == before;
        if printed.is_some_and(|bytes| bytes >= mib * MIB) || (stands && printed > Some(MIB)) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{printed:?} bytes after half an hour");
        before = printed;
    }
}

/// How much the target has printed so far, as the recording that is being written tells.
fn highwater_says(out: &std::path::Path) -> Option<u64> {
    use highwater::event::What;
    let directory = highwater::record::RunDirectory::open(out).ok()?;
    let recording = highwater::record::Recording::open(&directory).ok()?;
    let vitals = recording.events().filter_map(|event| match &event.ok()?.what {
        What::Vitals(vitals) => vitals.log_bytes,
        _ => None,
    });
    vitals.last()
}

fn check(done: &Done, runtime: Runtime, mib: u64) -> String {
    let json = done.ended.expect_code(130).json();
    let told = json["written"]["log_bytes"].as_u64().expect("what was printed");
    if runtime == Runtime::Native {
        // All of it, and the service's own lines.
        assert!((mib * MIB..mib * MIB + 4096).contains(&told), "{told} bytes of {mib} MiB");
    } else {
        assert!(told <= mib * MIB + 4096, "{told} bytes of {mib} MiB");
        assert!(told > mib * MIB / 2, "{told} bytes of {mib} MiB");
    }
    let kept = std::fs::metadata(done.ended.out.join("target-main.log")).expect("a log").len();
    let most = highwater::plan::Budget::default().target_output.get();
    assert!(kept <= most + 4096 && kept > most / 2, "{kept} bytes are kept, {most} allowed");
    let whole: u64 = crate::run::files(&done.ended.out)
        .iter()
        .filter_map(|path| Some(std::fs::metadata(path).ok()?.len()))
        .sum();
    assert!(whole < 32 * MIB, "the run's directory has {whole} bytes");
    let (missed, ticks) = (&json["sampler"]["missed_ticks"], &json["sampler"]["ticks"]);
    format!(
        "{}, {} MiB read in {:.0} s, {} KiB kept, {missed} of {ticks} ticks missed",
        done.told(),
        told / MIB,
        done.took.as_secs_f64(),
        kept / 1024
    )
}
