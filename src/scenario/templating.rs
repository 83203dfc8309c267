//! How templates are rendered: the same where a scenario is checked and where its load is made.

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::Constants;

/// What one rendering may do, in the engine's own steps, so that no template runs for ever.
const FUEL: u64 = 1_000_000;

/// Functions whose value is another one each time. Whoever makes requests adds them.
pub(super) const CHANGING: [&str; 5] = ["uuid", "random", "choice", "sequence", "now"];

/// An environment in which templates are rendered, with `env` and `file`, but without functions
/// whose value changes. What is missing in it is an error.
#[must_use]
pub fn templating(constants: &Constants) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Texts are JSON, paths and headers, never HTML: nothing is to be escaped behind the writer's
    // back.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    let Constants { env, files } = constants.clone();
    environment.add_function("env", move |name: String| given(env.get(&name), "env", &name));
    environment.add_function("file", move |name: String| given(files.get(&name), "file", &name));
    environment
}

fn given(
    found: Option<&(impl AsRef<str> + ?Sized)>,
    kind: &str,
    name: &str,
) -> Result<String, Error> {
    let missing = || {
        let why = format!("{kind}({name:?}) must be written out in the scenario");
        Error::new(ErrorKind::InvalidOperation, why)
    };
    found.map(|text| text.as_ref().to_owned()).ok_or_else(missing)
}
