//! What is wrong with a scenario: all of it, each with its place and the way out.

use std::fmt::Write as _;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource};

use super::tree::Place;

/// The texts of a scenario's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(Vec<(String, String)>);

impl Sources {
    /// Takes in a file; gives its index.
    pub(super) fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        self.0.push((name.into(), text.into()));
        self.0.len() - 1
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where; none where it concerns no place in a file.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl Fault {
    /// A fault at a place.
    #[must_use]
    pub fn at(place: &Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        let (message, help) = (message.into(), help.into());
        Self { place: Some(place.clone()), message, help: (!help.is_empty()).then_some(help) }
    }

    /// A fault that concerns no place in a file.
    #[must_use]
    pub fn nowhere(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), help: Some(help.into()) }
    }
}

/// Everything that is wrong with a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    sources: Sources,
    faults: Vec<Fault>,
}

impl Faults {
    /// Faults in these files, in the order of their places.
    #[must_use]
    pub fn new(sources: Sources, mut faults: Vec<Fault>) -> Self {
        let key = |fault: &Fault| fault.place.as_ref().map(|place| (place.file, place.range.start));
        faults.sort_by_key(key);
        faults.dedup();
        Self { sources, faults }
    }

    /// The faults.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.faults
    }

    /// The faults as a person reads them, each with the line that it is in.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let theme =
            if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(100);
        let mut text = String::new();
        for fault in &self.faults {
            let diagnostic = diagnostic(fault);
            let done = match fault.place.as_ref().and_then(|place| self.sources.0.get(place.file)) {
                Some((name, source)) => {
                    let source = NamedSource::new(name, source.clone());
                    let report = miette::Report::new(diagnostic).with_source_code(source);
                    handler.render_report(&mut text, report.as_ref())
                }
                None => handler.render_report(&mut text, &diagnostic),
            };
            done.expect("writing to a string never fails");
        }
        let count = self.faults.len();
        if count > 1 {
            let _ = writeln!(text, "{count} faults; nothing was run");
        }
        text
    }
}

fn diagnostic(fault: &Fault) -> MietteDiagnostic {
    let mut diagnostic = MietteDiagnostic::new(&fault.message);
    if let Some(help) = &fault.help {
        diagnostic = diagnostic.with_help(help);
    }
    if let Some(place) = &fault.place {
        let range = place.range.start..place.range.end.max(place.range.start + 1);
        diagnostic = diagnostic.with_label(LabeledSpan::at(range, "here"));
    }
    diagnostic
}
