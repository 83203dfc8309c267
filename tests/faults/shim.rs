//! A wall clock that jumps, for one process: a library that is loaded before the C library's.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Adds `JUMP_S` seconds to the wall clock, from `JUMP_AFTER_MS` after the process began.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long began_ms, after_ms, jump_s;

static long now_ms(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((constructor)) static void begin(void) {
    const char *jump = getenv("JUMP_S"), *after = getenv("JUMP_AFTER_MS");
    jump_s = jump ? atol(jump) : 0;
    after_ms = after ? atol(after) : 0;
    began_ms = now_ms();
}

static long jump(void) { return now_ms() - began_ms >= after_ms ? jump_s : 0; }

int clock_gettime(clockid_t id, struct timespec *t) {
    int failed = syscall(SYS_clock_gettime, id, t);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += jump();
    return failed;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, t, zone);
    if (!failed && t) t->tv_sec += jump();
    return failed;
}

time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
"#;

/// Builds the library in a directory.
pub(crate) fn build(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("jump.c"), dir.join("jump.so"));
    std::fs::write(&source, SOURCE).expect("the file can be written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status()
        .expect("a C compiler is there");
    assert!(built.success());
    library
}

/// Lets the wall clock of a command jump.
pub(crate) fn jump<'a>(
    command: &'a mut Command,
    library: &Path,
    seconds: i64,
    after_ms: u64,
) -> &'a mut Command {
    command
        .env("LD_PRELOAD", library)
        .env("JUMP_S", seconds.to_string())
        .env("JUMP_AFTER_MS", after_ms.to_string())
}
