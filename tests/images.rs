//! Targets that are images: one that is there, one built from a Dockerfile, and a binary put on a
//! base image. The images are made here, from scratch: no registry is asked.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::harness::{Bench, Ended, Runtime, left_behind};

const REST: &str = "limits = { memory = \"64MiB\" }\nready = { http = \"/health\" }\n\
                    [startup]\ntrials = 1\nsettle = \"200ms\"\n\
                    [[phase]]\nname = \"idle\"\nfor = \"1s\"\n";

/// A build context with the fixture services and the shared objects that they need.
fn context(dir: &Path) -> PathBuf {
    let binary = support::fixtures();
    let listed = Command::new("ldd").arg(binary).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    let root = dir.join("context/root");
    for file in libraries {
        let to = root.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(file, to).unwrap();
    }
    std::fs::copy(binary, root.join("service")).unwrap();
    let dockerfile = dir.join("context/Dockerfile");
    let text = "FROM scratch\nCOPY root/ /\nENTRYPOINT [\"/service\"]\n";
    std::fs::write(&dockerfile, text).unwrap();
    dockerfile
}

/// An image of a test's own, removed at its end.
struct Image(String);

impl Image {
    fn build(dockerfile: &Path) -> Self {
        let name = format!("highwater-test-{}:1", std::process::id());
        let built = Command::new("docker")
            .args(["build", "--quiet", "--tag", &name])
            .arg(dockerfile.parent().unwrap())
            .env("DOCKER_BUILDKIT", "0")
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

fn run(bench: &Bench, target: &str) -> Ended {
    let args = "port = 8080\nargs = [\"steady\", \"--base-mib\", \"20\"]\n";
    bench.write("highwater.toml", &format!("name = \"test\"\n[target]\n{target}\n{args}{REST}"));
    let _ = std::fs::remove_dir_all(bench.path().join("out"));
    bench.run_scenario(Runtime::Docker)
}

#[test]
fn images_of_every_kind_run_and_only_our_own_are_removed() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::new();
    let dockerfile = context(bench.path());
    let image = Image::build(&dockerfile);
    let name = &image.0;
    let binary = support::fixtures().to_string_lossy();
    for (target, release) in [
        (format!("image = \"{name}\""), "unknown"),
        (format!("dockerfile = {:?}", dockerfile.to_string_lossy()), "unknown"),
        (format!("bin = {binary:?}\nbase = \"{name}\""), "yes"),
    ] {
        let json = run(&bench, &target).expect_code(0).json();
        assert_eq!(json["verdict"], "pass", "{target}: {json:#}");
        let settled = json["startup"]["settled_bytes"].as_u64().unwrap();
        assert!(settled > 20 << 20 && settled < 30 << 20, "{target}: {settled}");
        if release == "unknown" {
            assert_eq!(json["target"]["release_build"], release, "{target}");
        }
        assert_eq!(left_behind(), Vec::<String>::new(), "{target}");
    }
    let kept = Command::new("docker").args(["image", "inspect", name]).output().unwrap();
    assert!(kept.status.success(), "the user's own image stays");
}

#[test]
fn native_says_that_an_image_needs_docker() {
    if !Runtime::Native.is_there() {
        return;
    }
    let bench = Bench::new();
    bench.write("highwater.toml", &format!("[target]\nimage = \"api\"\nport = 1\n{REST}"));
    let ended = bench.run(&["run", "--runtime", "native"]);
    ended.expect_code(3);
    assert!(ended.stderr.contains("needs Docker"), "{}", ended.stderr);
}
