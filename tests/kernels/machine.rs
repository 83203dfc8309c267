//! A guest under QEMU, emulated: slow, and the same everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guest::{DONE, EXIT_STATUS, FIXTURES, HIGHWATER, MARK, ORDER, Order};
use super::support;

const QEMU: &str = "qemu-system-x86_64";

/// Whether QEMU is installed.
pub(crate) fn is_there() -> bool {
    Command::new(QEMU).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Boots a kernel with this program as its first process, and gives what it tells.
///
/// # Errors
/// When the guest did not come to its end within `time`, with what its console showed.
pub(crate) fn boot(kernel: &Path, orders: &[Order], time: Duration) -> Result<Vec<Value>, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = dir.path().join("root.cpio");
    write_root(&root, orders).map_err(|error| format!("writing the guest's root: {error}"))?;
    // `max` without `cx16`: with it, emulated guests crash now and then.
    let mut qemu = Command::new(QEMU)
        .args(["-accel", "tcg", "-cpu", "max,-cx16", "-M", "q35", "-smp", "1", "-m", "1024"])
        .args(["-nodefaults", "-no-user-config", "-serial", "stdio", "-display", "none"])
        .args(["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
        .args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(&root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{QEMU}: {error}"))?;
    let mut pipe = qemu.stdout.take().expect("its output is piped");
    let reader = std::thread::spawn(move || {
        let mut console = Vec::new();
        let _ = pipe.read_to_end(&mut console);
        String::from_utf8_lossy(&console).into_owned()
    });
    let status = wait(&mut qemu, time);
    let console = reader.join().expect("reading never panics");
    // QEMU exits with 0 after a panic of the guest's kernel: only its own words count.
    let done = console.lines().any(|line| line.trim_end() == DONE);
    match status {
        Some(EXIT_STATUS) if done => {}
        None => return Err(format!("the guest hung for {} s\n{console}", time.as_secs())),
        status => return Err(format!("the guest did not come to its end: {status:?}\n{console}")),
    }
    let told = console.lines().filter_map(|line| line.trim_end().strip_prefix(MARK));
    Ok(told.filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// QEMU's exit status; none where it had to be killed.
fn wait(qemu: &mut Child, time: Duration) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Ok(Some(status)) = qemu.try_wait() {
            return status.code().or(Some(-1));
        }
        if began.elapsed() > time {
            let _ = qemu.kill();
            let _ = qemu.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The guest's root: this program, those under test, and what they are linked to.
fn write_root(path: &Path, orders: &[Order]) -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    let programs = [
        (own, "init"),
        (PathBuf::from(env!("CARGO_BIN_EXE_highwater")), HIGHWATER),
        (support::fixtures().to_owned(), FIXTURES),
    ];
    let dir = tempfile::tempdir()?;
    let mut files = Vec::new();
    let mut linked = BTreeSet::new();
    for (n, (program, name)) in programs.iter().enumerate() {
        linked.extend(support::libraries(program)?);
        files.push((stripped(program, &dir.path().join(n.to_string())), (*name).to_owned()));
    }
    files.extend(linked.into_iter().map(|file| {
        let name = file.to_string_lossy().trim_start_matches('/').to_owned();
        (file, name)
    }));
    let mut out = std::io::BufWriter::new(fs::File::create(path)?);
    let mut directories = BTreeSet::new();
    for (_, name) in &files {
        directories.extend(Path::new(name).ancestors().skip(1).map(Path::to_owned));
    }
    for directory in directories.iter().filter(|directory| !directory.as_os_str().is_empty()) {
        let entry = cpio::newc::Builder::new(&directory.to_string_lossy()).mode(0o040_755);
        entry.write(&mut out, 0).finish()?;
    }
    for (file, name) in files {
        let bytes = fs::read(file)?;
        append(&mut out, &name, &bytes)?;
    }
    append(&mut out, ORDER, &serde_json::to_vec(orders)?)?;
    cpio::newc::trailer(out)?;
    Ok(())
}

fn append(out: &mut impl std::io::Write, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let size = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    let mut writer = cpio::newc::Builder::new(name).mode(0o100_755).write(out, size);
    std::io::Write::write_all(&mut writer, bytes)?;
    writer.finish()?;
    Ok(())
}

/// A copy without debugging information where that can be made: a guest unpacks slowly.
fn stripped(program: &Path, copy: &Path) -> PathBuf {
    let made = Command::new("strip").arg("-o").arg(copy).arg(program).output();
    if made.is_ok_and(|output| output.status.success()) {
        copy.to_owned()
    } else {
        program.to_owned()
    }
}
