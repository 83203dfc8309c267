//! Threads that break down when they are told to, so that tests can see what becomes of their run.
//!
//! In debug builds alone: `HIGHWATER_TRIPWIRE=sampler@1500` lets the thread `sampler` panic 1.5 s
//! after the first thread came by here. In release builds there is nothing of it.

#[cfg(debug_assertions)]
mod wire {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    struct Wire {
        thread: String,
        after: Duration,
        began: Instant,
    }

    fn read() -> Option<Wire> {
        let text = std::env::var("HIGHWATER_TRIPWIRE").ok()?;
        let (thread, after_ms) = text.split_once('@')?;
        let after = Duration::from_millis(after_ms.parse().ok()?);
        Some(Wire { thread: thread.to_owned(), after, began: Instant::now() })
    }

    pub(super) fn pass(thread: &str) {
        static WIRE: OnceLock<Option<Wire>> = OnceLock::new();
        if let Some(wire) = WIRE.get_or_init(read)
            && wire.thread == thread
            && wire.began.elapsed() >= wire.after
        {
            panic!("the tripwire of `{thread}` was met");
        }
    }
}

/// Where a thread comes by again and again.
#[inline]
pub fn pass(thread: &str) {
    #[cfg(debug_assertions)]
    wire::pass(thread);
    #[cfg(not(debug_assertions))]
    let _ = thread;
}
