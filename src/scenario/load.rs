//! From a path to a checked scenario: reading, `extends`, `--set`, choosing phases.

use std::path::{Path, PathBuf};

use super::check;
use super::fault::{Fault, Faults, Sources};
use super::reader::{Notes, nearest};
use super::tree::{Entry, Node, Value};
use super::{Pattern, Phase, RuleCheck, Scenario};

/// How deep `extends` may go.
const EXTENDS_MAX: usize = 16;

/// What the command line changes in a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `key.path=value` pairs; lists of tables are addressed by name or index.
    pub set: Vec<String>,
    /// Names or tags of the only phases to run; empty: all.
    pub only: Vec<String>,
    /// Names or tags of phases to leave out.
    pub skip: Vec<String>,
    /// Phases to run instead of the scenario's own.
    pub pattern: Option<Pattern>,
}

/// Reads and checks a scenario file.
///
/// # Errors
/// All its faults, with their places.
pub fn load(path: &Path, overrides: &Overrides, rules: &dyn RuleCheck) -> Result<Scenario, Faults> {
    let mut sources = Sources::default();
    match tree_of(path, &mut sources, &mut Vec::new()) {
        Ok(tree) => checked(path, tree, sources, overrides, rules),
        Err(faults) => Err(Faults::new(sources, faults)),
    }
}

/// Checks a scenario's text as if it stood in the file `path`.
///
/// # Errors
/// All its faults, with their places.
pub fn parse(
    path: &Path,
    text: &str,
    overrides: &Overrides,
    rules: &dyn RuleCheck,
) -> Result<Scenario, Faults> {
    let mut sources = Sources::default();
    let file = sources.add(path.display().to_string(), text);
    match Node::parse(text, file) {
        Ok(tree) => checked(path, tree, sources, overrides, rules),
        Err((message, place)) => Err(Faults::new(sources, vec![Fault::at(&place, message, "")])),
    }
}

fn checked(
    path: &Path,
    mut tree: Node,
    mut sources: Sources,
    overrides: &Overrides,
    rules: &dyn RuleCheck,
) -> Result<Scenario, Faults> {
    let mut faults = Vec::new();
    if let Some(pattern) = overrides.pattern {
        let text = pattern.text();
        let file = sources.add(format!("--pattern {pattern}"), text.as_str());
        match Node::parse(&text, file) {
            Ok(phases) => {
                leave_rules_of(&mut tree, &phases);
                tree.merge(phases);
            }
            Err((message, place)) => faults.push(Fault::at(&place, message, "")),
        }
    }
    for pair in &overrides.set {
        faults.extend(set(&mut tree, pair, &mut sources).err());
    }
    let notes = Notes::default();
    let scenario = check::scenario(path, &tree, rules, &notes);
    faults.extend(notes.into_faults());
    let Some(mut scenario) = scenario.filter(|_| faults.is_empty()) else {
        return Err(Faults::new(sources, faults));
    };
    if let Err(fault) = choose(&mut scenario.phases, overrides) {
        return Err(Faults::new(sources, vec![fault]));
    }
    scenario.sources = sources;
    Ok(scenario)
}

/// Drops rules about phases that other phases have taken the place of.
fn leave_rules_of(tree: &mut Node, phases: &Node) {
    let Value::Table(entries) = &mut tree.value else { return };
    let rules = entries.iter_mut().find(|entry| entry.key == "thresholds");
    let Some(Entry { node: Node { value: Value::Table(rules), .. }, .. }) = rules else { return };
    let named = |name: &str| {
        match phases.get("phase") {
        Some(Node { value: Value::Array(phases), .. }) => phases.iter().any(|phase| {
            matches!(phase.get("name"), Some(Node { value: Value::String(own), .. }) if own == name)
        }),
        _ => false,
    }
    };
    rules.retain(|rule| {
        let phase = rule.key.split_once("phase:").map(|(_, rest)| rest);
        let name = phase.and_then(|rest| rest.split([',', '}']).next()).map(str::trim);
        name.is_none_or(named)
    });
}

/// A file's tree, on top of the one that it extends.
fn tree_of(
    path: &Path,
    sources: &mut Sources,
    above: &mut Vec<PathBuf>,
) -> Result<Node, Vec<Fault>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("failed to read the scenario `{}`: {error}", path.display());
        let help = "give a scenario file, or a target: `--image`, `--bin` or `--cargo`";
        vec![Fault::nowhere(message, help)]
    })?;
    let file = sources.add(path.display().to_string(), text.as_str());
    let tree = Node::parse(&text, file)
        .map_err(|(message, place)| vec![Fault::at(&place, message, "")])?;
    let Some(Node { value: Value::String(base), place }) = tree.get("extends") else {
        return Ok(tree);
    };
    let base = path.parent().unwrap_or(Path::new("")).join(base);
    let here = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let next = base.canonicalize().unwrap_or_else(|_| base.clone());
    above.push(here);
    if above.contains(&next) || above.len() > EXTENDS_MAX {
        let message = format!("`extends` leads back to `{}`", base.display());
        return Err(vec![Fault::at(place, message, "let one of the files extend nothing")]);
    }
    if !base.exists() {
        let message = format!("there is no file `{}` to extend", base.display());
        return Err(vec![Fault::at(place, message, "paths are relative to this file")]);
    }
    let mut under = tree_of(&base, sources, above)?;
    under.merge(tree);
    Ok(under)
}

/// Applies one `key.path=value`.
fn set(tree: &mut Node, pair: &str, sources: &mut Sources) -> Result<(), Fault> {
    let refused = |message: String| Fault::nowhere(message, "write `--set phase.soak.for=10m`");
    let (path, text) =
        pair.split_once('=').ok_or_else(|| refused(format!("`--set {pair}` sets nothing")))?;
    if path.trim() == "extends" {
        return Err(refused("`extends` can't be set: files were read before".to_owned()));
    }
    let file = sources.add(format!("--set {pair}"), pair);
    let parsed = Node::parse(&format!("value = {text}"), file).ok();
    let mut value = parsed.and_then(|tree| tree.get("value").cloned()).unwrap_or_else(|| Node {
        value: Value::String(text.to_owned()),
        place: tree.place.clone(),
    });
    value.place = super::Place { file, range: path.len() + 1..pair.len() };
    let parts: Vec<&str> = path.split('.').map(str::trim).collect();
    set_below(tree, &parts, value)
        .map_err(|part| refused(format!("`--set {pair}`: there is no `{part}` in the scenario")))
}

/// Sets a value below a node; the error is the part of the path that is not there.
fn set_below<'p>(node: &mut Node, path: &[&'p str], value: Node) -> Result<(), &'p str> {
    let Some((part, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    match &mut node.value {
        Value::Array(items) => {
            let by_name = items.iter().position(|item| {
                matches!(item.get("name"), Some(Node { value: Value::String(name), .. }) if name == part)
            });
            let index = by_name.or_else(|| part.parse().ok()).filter(|index| *index < items.len());
            set_below(&mut items[index.ok_or(*part)?], rest, value)
        }
        Value::Table(entries) => {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *part) {
                return set_below(&mut entry.node, rest, value);
            }
            let place = value.place.clone();
            let mut node = Node { value: Value::Table(Vec::new()), place: place.clone() };
            set_below(&mut node, rest, value)?;
            entries.push(Entry { key: (*part).to_owned(), place, node });
            Ok(())
        }
        _ => Err(part),
    }
}

/// Keeps the phases that `--only` and `--skip` leave.
fn choose(phases: &mut Vec<Phase>, overrides: &Overrides) -> Result<(), Fault> {
    let carries = |phase: &Phase, tag: &String| phase.name == *tag || phase.tags.contains(tag);
    for tag in overrides.only.iter().chain(&overrides.skip) {
        if !phases.iter().any(|phase| carries(phase, tag)) {
            let names: Vec<&str> = phases
                .iter()
                .flat_map(|phase| std::iter::once(&phase.name).chain(&phase.tags))
                .map(String::as_str)
                .collect();
            let message = format!("no phase has the name or tag `{tag}`");
            return Err(Fault::nowhere(message, nearest(tag, &names)));
        }
    }
    let (only, skip) = (&overrides.only, &overrides.skip);
    phases.retain(|phase| only.is_empty() || only.iter().any(|tag| carries(phase, tag)));
    phases.retain(|phase| !skip.iter().any(|tag| carries(phase, tag)));
    Ok(())
}
