//! Secrets of the target's environment: nowhere in what a run prints or leaves, even where the
//! target itself prints them.

use crate::run::{Done, Going, command, docker, files, main_container};
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "secrets/native", when: When::Always, make: || secrets(Runtime::Native, &[]) },
    Fault {
        name: "secrets/helper",
        when: When::OnRequest,
        make: || secrets(Runtime::Docker, &["--via", "helper"]),
    },
    Fault { name: "secrets/docker", when: When::OnRequest, make: || secrets(Runtime::Docker, &[]) },
];

const SECRET: &str = "s3cr3t \"of\" the/house+7";

/// Parts of it, long enough to be no chance: JSON and URLs write the rest in another way.
const TRACES: [&str; 5] = ["s3cr3t", "the/house", "the%2Fhouse", "house+7", "house%2B7"];

fn secrets(runtime: Runtime, more: &[&str]) -> Option<String> {
    if !runtime.is_there() {
        return None;
    }
    // Once it ends while it starts, and its last lines are quoted; once it runs.
    for (exits, code) in [(true, 4), (false, 0)] {
        let bench = Bench::new();
        let mut service = vec!["hostile", "--say-env", "API_KEY"];
        if exits {
            service.extend(["--exit", "7"]);
        }
        let rest = "env = { API_KEY = { from = \"HIGHWATER_TEST_KEY\", secret = true } }\n\
                    limits = { memory = \"64MiB\" }\n[startup]\ntrials = 1\nsettle = \"200ms\"\n\
                    [[phase]]\nname = \"idle\"\nfor = \"3s\"\n";
        bench.scenario(&service, rest);
        let mut command = command(&bench, runtime);
        command.args(more).args(["--raw", "--junit", "junit.xml"]);
        command.env("HIGHWATER_TEST_KEY", SECRET);
        let going = Going::start(command);
        if runtime == Runtime::Docker && !exits {
            // It is there all the same: where the target looks for it.
            let name = main_container(&docker);
            let format = "{{.Config.Env}}";
            let inspected = docker().args(["inspect", "--format", format, &name]).output();
            let text =
                String::from_utf8_lossy(&inspected.expect("docker runs").stdout).into_owned();
            assert!(text.contains(SECRET), "{text}");
        }
        let done = going.wait(&bench);
        done.expect_clean();
        assert_eq!(done.ended.code, code, "{}", done.ended.stderr);
        let log = files(&done.ended.out)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .map(|path| std::fs::read_to_string(path).expect("a log"))
            .collect::<String>();
        assert!(log.contains("API_KEY is ***"), "what was printed is masked: {log}");
        assert!(log.contains("halves: "), "and the rest is kept: {log}");
        assert_free(&done, &bench, more);
    }
    Some("in no file of the run, in no output, masked in the target's log".to_owned())
}

fn assert_free(done: &Done, bench: &Bench, more: &[&str]) {
    let assert = |what: &str, bytes: &[u8]| {
        for trace in TRACES {
            let found = memchr::memmem::find(bytes, trace.as_bytes());
            assert!(found.is_none(), "{what} holds {trace:?} ({more:?})");
        }
    };
    assert("standard output", done.ended.stdout.as_bytes());
    assert("standard error", done.ended.stderr.as_bytes());
    let mut looked_at = 0;
    for path in files(bench.path()) {
        assert(&path.display().to_string(), &std::fs::read(&path).expect("a file"));
        looked_at += 1;
    }
    assert!(looked_at >= 6, "only {looked_at} files");
    // The recording is packed: what it holds is looked at unpacked.
    let directory = highwater::record::RunDirectory::open(&done.ended.out).expect("a run");
    let recording = highwater::record::Recording::open(&directory).expect("a recording");
    assert("the header", format!("{:?}", recording.header()).as_bytes());
    for event in recording.events() {
        assert("the recording", format!("{event:?}").as_bytes());
    }
}
