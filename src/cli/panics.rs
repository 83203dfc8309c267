//! What is made of panics: the run in progress is told, and its recording says so at its end.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once, PoisonError};

use crate::event::Finish;
use crate::record::LastWords;
use crate::session::{Breakdown, BreakdownHandle, Breakdowns};

/// Who is told of panics now.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

struct Listener {
    last_words: LastWords,
    breakdowns: BreakdownHandle,
}

/// Lets a run hear of panics from now on, and makes them its last words where it says nothing else.
pub(super) fn listen(last_words: &LastWords) -> Breakdowns {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            told(info);
        }));
    });
    let (breakdowns, heard) = Breakdowns::new();
    let listener = Listener { last_words: last_words.clone(), breakdowns };
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    heard
}

fn told(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let text = text_of(info);
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(listener) = &*listener {
        let end = format!("Highwater itself broke down (thread `{thread}`): {text}");
        listener.last_words.say(Finish::Failed { text: end });
        listener.breakdowns.tell(Breakdown { thread, text });
    }
}

/// `index out of bounds, at src/x.rs:12`, on one line.
fn text_of(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let said = payload.downcast_ref::<&str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("a panic without words");
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match info.location() {
        Some(place) => format!("{said}, at {}:{}", place.file(), place.line()),
        None => said,
    }
}
