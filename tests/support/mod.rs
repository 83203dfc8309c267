//! What tests of the real thing share: the fixture services, built once for release, and whether
//! this host can do what a test needs.

#![allow(dead_code, reason = "each test target uses its own part")]

pub(crate) mod browser;
pub(crate) mod harness;
pub(crate) mod made;
pub(crate) mod sampled;
pub(crate) mod schema;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fixture services' binary, built for release: a debug build would be refused.
pub(crate) fn fixtures() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--release", "--quiet", "--package", "highwater-fixtures"])
            .args(["--message-format", "json"])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
            .find(|path| path.ends_with("highwater-fixtures"))
            .expect("cargo names the binary")
    })
}

/// Says that a test is skipped, or fails where skipping is not allowed (in CI).
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("HIGHWATER_REQUIRE_DOCKER").is_none(),
        "this test may not be skipped here: {why}"
    );
    let mut out = std::io::stderr();
    let _ = std::io::Write::write_fmt(&mut out, format_args!("skipped: {why}\n"));
}

/// Whether we may make cgroups (root, or a delegated subtree).
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The loader and the libraries that a program is linked to, as `ldd` finds them.
pub(crate) fn libraries(program: &Path) -> std::io::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().flat_map(str::split_whitespace);
    Ok(words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}
