//! What is printed: results on standard output, notes on standard error.

use std::io::{self, Write};

use super::{Exit, Fault};

/// Prints a result. A reader that has seen enough (`| head`) takes nothing from the verdict;
/// whatever else keeps the result from being printed is told.
pub(super) fn print_all(text: &str) -> Result<(), Fault> {
    printed(print_to(&mut io::stdout().lock(), text))
}

/// Prints a note. Where even that can't be done, nobody is left to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether what was printed has arrived, as far as its reader cares.
pub(super) fn printed(done: io::Result<()>) -> Result<(), Fault> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let text = format!("failed to print the result: {error}");
            let help = "is there room where standard output goes?";
            Err(Fault::plain(Exit::HostCannot, &text, help))
        }
        _ => Ok(()),
    }
}

fn print_to(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{text}")?;
    // Else a failure would only come when nobody listens any more.
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_a_closed_pipe_is_not() {
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let fault = printed(print_to(&mut full, "text")).unwrap_err();
        assert_eq!(fault.exit, Exit::HostCannot);
        let (reader, mut pipe) = io::pipe().unwrap();
        drop(reader);
        assert!(printed(print_to(&mut pipe, "text")).is_ok());
    }
}
