//! `highwater completions` and `highwater man`: what a shell and a reader want to have.

use clap::CommandFactory;

use super::options::{Completions, Man};
use super::print::print_all;
use super::{Arguments, Exit, Fault};

/// `highwater completions SHELL`
pub(super) fn completions(options: &Completions) -> Result<Exit, Fault> {
    let (mut command, mut out) = (Arguments::command(), Vec::new());
    clap_complete::generate(options.shell, &mut command, "highwater", &mut out);
    print_all(String::from_utf8_lossy(&out).trim_end())?;
    Ok(Exit::Pass)
}

/// `highwater man [VERB]`
pub(super) fn man(options: &Man) -> Result<Exit, Fault> {
    // Only a built command knows its verbs' whole names.
    let mut command = Arguments::command();
    command.build();
    let shown = match &options.verb {
        None => command,
        Some(name) => match command.find_subcommand(name) {
            Some(verb) => verb.clone(),
            None => {
                let text = format!("there is no verb `{name}`");
                return Err(Fault::plain(Exit::BadUse, &text, "`highwater help` lists them"));
            }
        },
    };
    let mut out = Vec::new();
    clap_mangen::Man::new(shown)
        .render(&mut out)
        .map_err(|error| Fault::new(Exit::Bug, &error, None))?;
    print_all(String::from_utf8_lossy(&out).trim_end())?;
    Ok(Exit::Pass)
}
