//! The live view's hold on the terminal.
//!
//! One thread of low priority reads keys and redraws, a few times a second at most, so that the
//! view takes nothing from the measurement. While it is there the terminal is in raw mode on its
//! other screen; whatever happens (an end, a fault, a panic in any thread) it is put back first.
//! Keys ask for nothing that a signal can't: `q` and Ctrl-C send SIGINT to this process.

use std::io::{self, IsTerminal, Stderr, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{
    self, Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

use super::state::{Kind, State};
use super::text::clean;
use super::view::{self, Palette};
use crate::event::Event;
use crate::plan::Outline;

/// The least time between two pictures.
const REFRESH: Duration = Duration::from_millis(200);
/// How nice the thread is.
const NICE: i32 = 10;
/// Lines of the log that stay on the terminal where a run ends without a report.
const LEFT_BEHIND: usize = 8;

/// Whether the terminal is in our hands.
static HELD: AtomicBool = AtomicBool::new(false);

/// The live view; the terminal is put back when it is dropped.
pub(super) struct Screen {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    over: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left numbers behind at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a live view can be shown: on a terminal that can move its cursor, in the foreground.
pub(super) fn is_possible() -> bool {
    let stderr = io::stderr();
    let able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    // In the background, taking the terminal would stop this process.
    stderr.is_terminal() && able && tcgetpgrp(&stderr).is_ok_and(|group| group == getpgrp())
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open(outline: Outline, color: bool) -> io::Result<Self> {
        put_back_on_panic();
        enable_raw_mode()?;
        HELD.store(true, Ordering::SeqCst);
        let opened = execute!(io::stderr(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stderr())));
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(outline)),
            over: AtomicBool::new(false),
        });
        let started = opened.and_then(|terminal| {
            let shared = Arc::clone(&shared);
            let run = move || run(&shared, terminal, Palette { color });
            std::thread::Builder::new().name("view".to_owned()).spawn(run)
        });
        match started {
            Ok(thread) => Ok(Self { shared, thread: Some(thread) }),
            Err(error) => {
                put_back();
                Err(error)
            }
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        self.shared.state().take(event);
        // What comes after the end, an error perhaps, belongs on the terminal itself.
        if self.shared.state().finished {
            self.close();
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        if self.thread.is_none() {
            let _ = writeln!(io::stderr(), "{}", clean(text));
            return;
        }
        let mut state = self.shared.state();
        let kind = if text.starts_with("note:") { Kind::Note } else { Kind::Step };
        state.push(None, kind, text);
    }

    pub(super) fn stopping(&mut self) {
        self.shared.state().stopping = true;
    }

    pub(super) fn live_page(&mut self, url: &str) {
        self.shared.state().page = Some(clean(url));
    }

    /// Puts the terminal back.
    pub(super) fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = thread.join();
        put_back();
        let state = self.shared.state();
        if !state.finished {
            let skipped = state.log.len().saturating_sub(LEFT_BEHIND);
            for entry in state.log.iter().skip(skipped) {
                let _ = writeln!(io::stderr(), "{}", entry.text);
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

/// Draws until it is over.
fn run(shared: &Shared, mut terminal: Terminal<CrosstermBackend<Stderr>>, palette: Palette) {
    let this_thread = rustix::thread::gettid();
    // Without it the view is drawn all the same.
    let _ = rustix::process::setpriority_process(Some(this_thread), NICE);
    let began = Instant::now();
    let mut drawn = None::<Instant>;
    while !shared.over.load(Ordering::SeqCst) && HELD.load(Ordering::SeqCst) {
        if drawn.is_none_or(|drawn| drawn.elapsed() >= REFRESH) {
            let picture = terminal.draw(|frame| {
                let area = frame.area();
                view::draw(&shared.state(), palette, began.elapsed(), area, frame.buffer_mut());
            });
            if picture.is_err() {
                // The terminal is gone, as after a hang-up: the run goes on without.
                return;
            }
            drawn = Some(Instant::now());
        }
        match event::poll(REFRESH) {
            Ok(true) => {
                if let Ok(Input::Key(key)) = event::read() {
                    press(shared, key);
                }
            }
            Ok(false) => {}
            Err(_) => std::thread::sleep(REFRESH),
        }
    }
}

fn press(shared: &Shared, key: KeyEvent) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => interrupt(),
        KeyCode::Char('q') if !control && !shared.state().stopping => {
            // Once is enough, however long it is pressed.
            shared.state().stopping = true;
            interrupt();
        }
        KeyCode::Char('t') => {
            let mut state = shared.state();
            state.recent = !state.recent;
        }
        _ => {}
    }
}

fn interrupt() {
    // In raw mode the terminal sends none.
    let _ = kill(Pid::this(), Signal::SIGINT);
}

/// Leaves the terminal as it was found.
fn put_back() {
    if HELD.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

fn put_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            put_back();
            before(panic);
        }));
    });
}
