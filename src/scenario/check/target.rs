//! `[target]`

use std::path::PathBuf;
use std::time::Duration;

use super::{Context, bounded};
use crate::scenario::reader::{At, Reader};
use crate::scenario::tree::{Entry, Node, Value};
use crate::scenario::{Cargo, Kubernetes, Ready, Source, Target};
use crate::units::Bytes;

/// The least memory limit that container runtimes take.
const LEAST_MEMORY: Bytes = Bytes::from_mib(6);

/// Where a program can come from.
const SOURCES: [&str; 4] = ["cargo", "bin", "image", "dockerfile"];

pub(super) fn target(table: Reader<'_>, context: &Context<'_>) -> Target {
    let base = table.string("base").map(|at| at.value);
    let source = source(&table, base, context).unwrap_or_default();
    let port = table.whole("port", 1, u64::from(u16::MAX));
    if port.is_none() && !table.has("port") {
        let help = "add `port = 8080`: the TCP port that the target listens on";
        context.notes.fault(table.place, "`[target]` has no `port`", help);
    }
    let (ready, ready_within) = ready(&table, context);
    let (stop_signal, stop_within) = stop(&table, context);
    let mut target = Target {
        source,
        port: port.and_then(|at| u16::try_from(at.value).ok()).unwrap_or_default(),
        args: table.strings("args"),
        env: environment(table.entries("env"), context),
        files: table
            .entries("files")
            .iter()
            .filter_map(|entry| {
                let from = existing(&context.path(&entry.key), &entry.place, context)?;
                Some((from, PathBuf::from(text_of(&entry.node, context)?)))
            })
            .collect(),
        tmpfs: table.strings("tmpfs").into_iter().map(PathBuf::from).collect(),
        user: table.string("user").map(|at| at.value),
        extra_hosts: table.strings("extra-hosts"),
        ready,
        ready_within,
        stop_signal,
        stop_within,
        ..Target::default()
    };
    limits(&table, &mut target);
    for (key, path) in target
        .files
        .values()
        .map(|path| ("files", path))
        .chain(target.tmpfs.iter().map(|path| ("tmpfs", path)))
    {
        if !path.is_absolute() {
            let message = format!("`{}` in `{key}` is no absolute path", path.display());
            context.notes.fault(table.place, message, "in the container paths begin with a slash");
        }
    }
    table.finish();
    target
}

fn text_of(node: &Node, context: &Context<'_>) -> Option<String> {
    if let Value::String(text) = &node.value {
        return Some(text.clone());
    }
    let message = format!("{} stands where a string is wanted", node.value.kind());
    context.notes.fault(&node.place, message, "");
    None
}

fn existing(
    path: &std::path::Path,
    place: &crate::scenario::Place,
    context: &Context<'_>,
) -> Option<PathBuf> {
    if let Ok(full) = path.canonicalize() {
        return Some(full);
    }
    let message = format!("there is no file `{}`", path.display());
    context.notes.fault(place, message, "paths are relative to the scenario's directory");
    None
}

fn existing_file(at: &At<String>, context: &Context<'_>) -> Option<PathBuf> {
    let path = existing(&context.path(&at.value), &at.place, context)?;
    if path.is_file() {
        return Some(path);
    }
    context.notes.fault(&at.place, format!("`{}` is no file", path.display()), "");
    None
}

fn source(table: &Reader<'_>, base: Option<String>, context: &Context<'_>) -> Option<Source> {
    let given: Vec<&'static str> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
    if base.is_some() && !table.has("cargo") && !table.has("bin") {
        let message = "`base` goes with `cargo` and `bin` only";
        context.notes.fault(table.place, message, "leave it out: an image has its own base");
    }
    match given.as_slice() {
        ["cargo"] => cargo(table, base, context).map(Source::Cargo),
        ["bin"] => {
            let at = table.string("bin")?;
            let path = existing_file(&at, context)?;
            Some(Source::Binary(path, base))
        }
        ["image"] => table.string("image").map(|at| Source::Image(at.value)),
        ["dockerfile"] => {
            let at = table.string("dockerfile")?;
            existing_file(&at, context).map(Source::Dockerfile)
        }
        [] => {
            let help = "add one of `cargo`, `bin`, `image` or `dockerfile`";
            context.notes.fault(table.place, "`[target]` does not say what to run", help);
            None
        }
        several => {
            let message =
                format!("`[target]` says several times what to run: {}", several.join(", "));
            context.notes.fault(table.place, message, "keep one of them");
            None
        }
    }
}

fn cargo(table: &Reader<'_>, base: Option<String>, context: &Context<'_>) -> Option<Cargo> {
    let node = table.node("cargo")?;
    let mut cargo = Cargo { base, ..Cargo::default() };
    let path = if let Value::String(path) = &node.value {
        At { value: path.clone(), place: node.place.clone() }
    } else {
        let inner = table.table("cargo")?;
        let path = inner.string("path");
        let text = |key| inner.string(key).map(|at| at.value);
        cargo.bin = text("bin");
        cargo.package = text("package");
        cargo.profile = text("profile");
        cargo.target = text("target");
        cargo.features = inner.strings("features");
        inner.finish();
        path.unwrap_or_else(|| At { value: ".".to_owned(), place: node.place.clone() })
    };
    cargo.directory = context.path(&path.value);
    if !cargo.directory.join("Cargo.toml").exists() {
        let message = format!("there is no Cargo.toml in `{}`", cargo.directory.display());
        context.notes.fault(&path.place, message, "paths are relative to the scenario's directory");
    }
    Some(cargo)
}

/// Variables: a text with `${NAME}` filled in, or `{ from = "NAME", secret = true }`.
fn environment(entries: &[Entry], context: &Context<'_>) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for entry in entries {
        let read = match &entry.node.value {
            Value::String(text) => fill_in(text, &entry.node, context).map(|text| (text, false)),
            Value::Integer(number) => Some((number.to_string(), false)),
            Value::Bool(truth) => Some((truth.to_string(), false)),
            _ => from_here(entry, context),
        };
        found.extend(read.map(|(value, secret)| (entry.key.clone(), value, secret)));
    }
    found
}

fn from_here(entry: &Entry, context: &Context<'_>) -> Option<(String, bool)> {
    let table = Reader::new(format!("`{}`", entry.key), &entry.node, context.notes)?;
    let from = table.string("from");
    let value = table.string("value");
    let secret = table.bool("secret").unwrap_or(false);
    let place = table.place;
    table.finish();
    match (from, value) {
        (Some(from), None) => {
            let value = variable(&from.value, &entry.node, context)?;
            Some((value, secret))
        }
        (None, Some(value)) => Some((value.value, secret)),
        _ => {
            let help = "write `{ from = \"API_KEY\", secret = true }`";
            context.notes.fault(place, format!("`{}` has no value", entry.key), help);
            None
        }
    }
}

fn variable(name: &str, node: &Node, context: &Context<'_>) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        let message = format!("the environment variable `{name}` is not set");
        context.notes.fault(&node.place, message, "set it before the run");
    }
    value
}

fn fill_in(text: &str, node: &Node, context: &Context<'_>) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else {
            context.notes.fault(&node.place, "`${` has no closing brace", "write `${NAME}`");
            return None;
        };
        filled += before;
        filled += &variable(name, node, context)?;
        rest = tail;
    }
    Some(filled + rest)
}

fn ready(table: &Reader<'_>, context: &Context<'_>) -> (Ready, Duration) {
    let within = Duration::from_secs(30);
    let Some(ready) = table.table("ready") else { return (Ready::Tcp, within) };
    let hour = Duration::from_secs(3600);
    let within = bounded(&ready, "within", within, Duration::from_millis(1), hour);
    let status = ready.whole("status", 100, 599).and_then(|at| u16::try_from(at.value).ok());
    let tcp = ready.bool("tcp").unwrap_or(false);
    let http = ready.string("http");
    if ready.has("status") && !ready.has("http") {
        context.notes.fault(
            ready.place,
            "`status` goes with `http` only",
            "add `http = \"/health\"`",
        );
    }
    let log = ready.string("log");
    let check = match (http, log) {
        (Some(http), None) if !tcp => {
            if !http.value.starts_with('/') {
                let message = format!("`http` is `{}`, not a path", http.value);
                context.notes.fault(&http.place, message, "a path begins with a slash: `/health`");
            }
            Ready::Http(http.value, status.unwrap_or(200))
        }
        (None, Some(log)) if !tcp => match regex::Regex::new(&log.value) {
            Ok(pattern) => Ready::Log(pattern),
            Err(error) => {
                context.notes.fault(&log.place, format!("`log` is no expression: {error}"), "");
                Ready::Tcp
            }
        },
        (None, None) => Ready::Tcp,
        _ => {
            let message = "`ready` names several checks";
            context.notes.fault(ready.place, message, "keep one of `http`, `tcp` and `log`");
            Ready::Tcp
        }
    };
    ready.finish();
    (check, within)
}

/// The whole name of a signal.
pub(super) fn signal(at: &At<String>, context: &Context<'_>) -> String {
    let name = at.value.to_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    if name.parse::<nix::sys::signal::Signal>().is_err() {
        let message = format!("`{}` is no signal", at.value);
        context.notes.fault(&at.place, message, "write `SIGTERM` or `SIGINT`");
    }
    name
}

fn stop(table: &Reader<'_>, context: &Context<'_>) -> (String, Duration) {
    let (signal, within) = ("SIGTERM".to_owned(), Duration::from_secs(10));
    let Some(stop) = table.table("stop") else { return (signal, within) };
    let signal = match stop.string("signal") {
        Some(at) => self::signal(&at, context),
        None => signal,
    };
    let within = bounded(&stop, "within", within, Duration::ZERO, Duration::from_secs(90));
    stop.finish();
    (signal, within)
}

fn limits(table: &Reader<'_>, target: &mut Target) {
    let Some(limits) = table.table("limits") else { return };
    if let Some(memory) = limits.bytes("memory") {
        if memory.value < LEAST_MEMORY {
            let least = LEAST_MEMORY;
            let message = format!("the memory limit of {} is below {least}", memory.value);
            let help = format!("container runtimes take {least} at least");
            limits.notes.fault(&memory.place, message, help);
        }
        target.memory = Some(memory.value);
    }
    if let Some(cpus) = limits.number("cpus") {
        if !(0.01..=1024.0).contains(&cpus.value) {
            let message = format!("`cpus` is {}, not between 0.01 and 1024", cpus.value);
            limits.notes.fault(&cpus.place, message, "");
        }
        target.cpus = Some(cpus.value);
    }
    let pids = limits.whole("pids", 1, u64::from(u32::MAX));
    target.pids = pids.and_then(|at| u32::try_from(at.value).ok());
    kubernetes(&limits, target);
    limits.finish();
}

/// `like = "kubernetes"`, and what only goes with it.
fn kubernetes(limits: &Reader<'_>, target: &mut Target) {
    let like = limits.string("like");
    let request = limits.bytes("request");
    let qos = limits.node("memory-qos").map(|node| &node.place);
    let memory_qos = limits.bool("memory-qos");
    if let Some(at) = &like
        && at.value != "kubernetes"
    {
        let message = format!("limits can't be like `{}`", at.value);
        limits.notes.fault(&at.place, message, "write `kubernetes`, or leave it out");
    }
    if like.is_none() {
        for place in request.iter().map(|at| &at.place).chain(qos) {
            let message = "this key has a meaning for Kubernetes only";
            limits.notes.fault(place, message, "add `like = \"kubernetes\"`");
        }
        return;
    }
    if let (Some(request), Some(limit)) = (&request, target.memory)
        && request.value > limit
    {
        let message = format!("the request of {} is above the limit of {limit}", request.value);
        limits.notes.fault(&request.place, message, "lower `request` or raise `memory`");
    }
    target.kubernetes = Some(Kubernetes {
        request: request.map(|at| at.value),
        memory_qos: memory_qos.unwrap_or(false),
    });
}
