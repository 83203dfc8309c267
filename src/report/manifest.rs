//! A limit put into a Kubernetes manifest, with its comments and its layout as they were.
//!
//! The parser tells where each value stands; only these places of the text are changed, and the
//! result is read again to see that it says what it should.
//!
//! Rejected: `yamlpatch`, which needs a later compiler than the rest, and printing the parsed
//! document anew, which loses comments.

use std::ops::Range;

use saphyr::{LoadableYamlNode, MarkedYaml};

use super::snippets::kubernetes;
use crate::units::Bytes;

type Node<'a> = MarkedYaml<'a>;

/// Why a manifest was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no YAML.
    #[error("the manifest is no YAML that can be read: {text}")]
    Unreadable {
        /// What the parser said.
        text: String,
    },
    /// It has no container, or none of that name.
    #[error("the manifest has no container{}; there {}", named(wanted.as_deref()), list(found))]
    NoContainer {
        /// The name that was asked for.
        wanted: Option<String>,
        /// Those that it has.
        found: Vec<String>,
    },
    /// It has several that fit.
    #[error("the manifest has several containers{}: {}", named(wanted.as_deref()), found.join(", "))]
    Several {
        /// The name that was asked for.
        wanted: Option<String>,
        /// Those that fit.
        found: Vec<String>,
    },
    /// Its layout can't be changed in place.
    #[error("failed to change the manifest in place: {text}")]
    Layout {
        /// Why.
        text: String,
    },
}

fn named(wanted: Option<&str>) -> String {
    wanted.map_or_else(String::new, |name| format!(" named `{name}`"))
}

fn list(found: &[String]) -> String {
    if found.is_empty() { "is none at all".to_owned() } else { format!("are {}", found.join(", ")) }
}

impl ManifestError {
    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Unreadable { .. } => "templates have to be rendered first: `helm template`",
            Self::NoContainer { wanted: Some(_), found } if !found.is_empty() => {
                "choose one of these with `--container NAME`"
            }
            Self::NoContainer { .. } => {
                "give a rendered manifest with a Deployment, StatefulSet, DaemonSet, Job, CronJob \
                 or Pod"
            }
            Self::Several { wanted: None, .. } => "choose one with `--container NAME`",
            Self::Several { .. } => "give a file with one of these workloads only",
            Self::Layout { .. } => {
                "put the `resources:` in by hand: `--format kubernetes` prints them"
            }
        };
        Some(text.to_owned())
    }
}

/// A container of a manifest.
struct Found<'a> {
    workload: String,
    name: String,
    node: &'a Node<'a>,
}

/// The manifest with the memory limit and request of one container set. `container` chooses among
/// several.
///
/// # Errors
/// When the manifest can't be read, does not tell which container is meant, or can't be changed in
/// place.
pub fn patched(
    manifest: &str,
    container: Option<&str>,
    limit: Bytes,
    request: Bytes,
) -> Result<String, ManifestError> {
    let documents = read(manifest)?;
    let found = chosen(&documents, container)?;
    let wanted = [("requests", kubernetes(request)), ("limits", kubernetes(limit))];
    let text = Text::of(manifest);
    let mut edits = edits(&text, found.node, &wanted)?;
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.0.start));
    let mut after = manifest.to_owned();
    for (range, new) in edits {
        after.replace_range(range, &new);
    }
    let unclear = || ManifestError::Layout { text: "its layout is unusual".to_owned() };
    let again = read(&after).map_err(|_| unclear())?;
    let found = chosen(&again, container).map_err(|_| unclear())?;
    let resources = value_of(found.node, "resources");
    let says = |key: &str, size: &String| {
        let memory =
            resources.and_then(|row| value_of(row, key)).and_then(|r| value_of(r, "memory"));
        memory.and_then(|node| node.data.as_str()) == Some(size)
    };
    let right = wanted.iter().all(|(key, size)| says(key, size));
    drop(again);
    if right { Ok(after) } else { Err(unclear()) }
}

fn read(manifest: &str) -> Result<Vec<Node<'_>>, ManifestError> {
    Node::load_from_str(manifest)
        .map_err(|error| ManifestError::Unreadable { text: error.to_string() })
}

fn chosen<'a>(
    documents: &'a [Node<'a>],
    container: Option<&str>,
) -> Result<Found<'a>, ManifestError> {
    let mut fitting: Vec<Found<'a>> = documents.iter().flat_map(containers).collect();
    let names = |rows: &[Found<'_>]| {
        rows.iter().map(|row| format!("{} ({})", row.name, row.workload)).collect::<Vec<_>>()
    };
    let all = names(&fitting);
    fitting.retain(|row| container.is_none_or(|name| row.name == name));
    let wanted = container.map(str::to_owned);
    match fitting.len() {
        0 => Err(ManifestError::NoContainer { wanted, found: all }),
        1 => Ok(fitting.remove(0)),
        _ => Err(ManifestError::Several { wanted, found: names(&fitting) }),
    }
}

fn containers<'a>(document: &'a Node<'a>) -> Vec<Found<'a>> {
    let text = |node: Option<&Node<'_>>| {
        node.and_then(|node| node.data.as_str()).unwrap_or("?").to_owned()
    };
    let kind = text(value_of(document, "kind"));
    let path: &[&str] = match kind.as_str() {
        "Pod" => &["spec", "containers"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec", "containers"],
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            &["spec", "template", "spec", "containers"]
        }
        _ => return Vec::new(),
    };
    let found = path.iter().try_fold(document, |node, key| value_of(node, key));
    let rows = found.and_then(|node| node.data.as_sequence()).map(Vec::as_slice);
    let name = text(value_of(document, "metadata").and_then(|node| value_of(node, "name")));
    let workload = format!("{kind} {name}");
    let each = rows.unwrap_or_default().iter().map(|node| Found {
        workload: workload.clone(),
        name: text(value_of(node, "name")),
        node,
    });
    each.collect()
}

fn entry_of<'a>(node: &'a Node<'a>, key: &str) -> Option<(&'a Node<'a>, &'a Node<'a>)> {
    let mapping = node.data.as_mapping()?;
    mapping.iter().find(|(name, _)| name.data.as_str() == Some(key))
}

fn value_of<'a>(node: &'a Node<'a>, key: &str) -> Option<&'a Node<'a>> {
    entry_of(node, key).map(|(_, value)| value)
}

/// A text whose characters are counted.
struct Text<'a> {
    text: &'a str,
    /// Where each character begins, and the end.
    starts: Vec<usize>,
}

impl<'a> Text<'a> {
    fn of(text: &'a str) -> Self {
        let ends = std::iter::once(text.len());
        Self { text, starts: text.char_indices().map(|(at, _)| at).chain(ends).collect() }
    }

    fn range(&self, node: &Node<'_>) -> Range<usize> {
        let at = |index: usize| self.starts.get(index).copied().unwrap_or(self.text.len());
        at(node.span.start.index())..at(node.span.end.index())
    }

    /// The end of the line that a place is on, without what ends it.
    fn line_end(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        at + rest.find('\n').map_or(rest.len(), |end| rest[..end].trim_end_matches('\r').len())
    }
}

type Edit = (Range<usize>, String);

fn edits(
    text: &Text<'_>,
    container: &Node<'_>,
    wanted: &[(&str, String); 2],
) -> Result<Vec<Edit>, ManifestError> {
    let whole = || {
        let rows = wanted.iter().map(|(key, size)| (*key, Tree::memory(size)));
        Tree::Mapping(rows.collect())
    };
    let Some((name, resources)) = entry_of(container, "resources") else {
        return Ok(vec![added(text, container, "resources", &whole())?]);
    };
    if resources.data.is_null() {
        let end = text.range(name).end;
        let colon = text.text[end..].find(':').map_or(end, |at| end + at + 1);
        return Ok(vec![(colon..colon, format!(" {}", whole().flow()))]);
    }
    let inside = text.range(container);
    let mut edits = Vec::new();
    for (key, size) in wanted {
        let Some(row) = value_of(resources, key).filter(|row| !row.data.is_null()) else {
            edits.push(added(text, resources, key, &Tree::memory(size))?);
            continue;
        };
        match value_of(row, "memory") {
            None => edits.push(added(text, row, "memory", &Tree::Scalar(size.clone()))?),
            Some(old) if old.data.as_str() == Some(size) => {}
            Some(old) => edits.push((text.range(old), size.clone())),
        }
    }
    // An alias stands for a text elsewhere, which is not this container's alone.
    let own = edits.iter().all(|(at, _)| inside.start <= at.start && at.end <= text.text.len());
    let own = own && edits.iter().all(|(at, _)| at.start <= text.line_end(inside.end));
    if own {
        Ok(edits)
    } else {
        let text = "its resources are an alias of others".to_owned();
        Err(ManifestError::Layout { text })
    }
}

/// What is added.
enum Tree<'a> {
    Scalar(String),
    Mapping(Vec<(&'a str, Self)>),
}

impl Tree<'_> {
    fn memory(size: &str) -> Self {
        Self::Mapping(vec![("memory", Self::Scalar(size.to_owned()))])
    }

    /// On one line.
    fn flow(&self) -> String {
        match self {
            Self::Scalar(text) => text.clone(),
            Self::Mapping(rows) => {
                let rows: Vec<_> =
                    rows.iter().map(|(key, row)| format!("{key}: {}", row.flow())).collect();
                format!("{{ {} }}", rows.join(", "))
            }
        }
    }

    /// Behind its key, on lines of their own.
    fn block(&self, key: &str, indent: usize) -> String {
        let inset = " ".repeat(indent);
        match self {
            Self::Scalar(text) => format!("{inset}{key}: {text}"),
            Self::Mapping(rows) => {
                let rows =
                    rows.iter().map(|(key, row)| format!("\n{}", row.block(key, indent + 2)));
                format!("{inset}{key}:{}", rows.collect::<String>())
            }
        }
    }
}

/// A key more in a mapping.
fn added(
    text: &Text<'_>,
    mapping: &Node<'_>,
    key: &str,
    tree: &Tree<'_>,
) -> Result<Edit, ManifestError> {
    let failed = || ManifestError::Layout { text: format!("there is no place for `{key}`") };
    let rows = mapping.data.as_mapping().ok_or_else(failed)?;
    let range = text.range(mapping);
    if text.text[range.start..].starts_with('{') {
        let more = if rows.is_empty() { " " } else { "," };
        let at = range.start + 1;
        return Ok((at..at, format!(" {key}: {}{more}", tree.flow())));
    }
    let (first, _) = rows.iter().next().ok_or_else(failed)?;
    let indent = first.span.start.col();
    let on_one_line = |node: &Node<'_>| {
        let value = node.data.is_mapping() || node.data.is_sequence() || node.data.is_null();
        !value && node.span.start.line() == node.span.end.line()
    };
    // Behind the last plain value: a `name` stays the first.
    match rows.iter().rfind(|(_, value)| on_one_line(value)) {
        Some((_, value)) => {
            let at = text.line_end(text.range(value).end);
            Ok((at..at, format!("\n{}", tree.block(key, indent))))
        }
        None => {
            let at = text.range(first).start;
            let block = tree.block(key, indent);
            Ok((at..at, format!("{}\n{}", block.trim_start(), " ".repeat(indent))))
        }
    }
}

/// What changes, as a unified diff.
#[must_use]
pub fn diff(name: &str, before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    diff.unified_diff().header(&format!("a/{name}"), &format!("b/{name}")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: &str = "\
# the shop
apiVersion: v1
kind: Service
metadata: { name: shop }
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop   # keep
spec:
  template:
    spec:
      containers:
        # the service itself
        - name: api
          image: shop:1.4
          resources:
            limits:
              cpu: \"1\"
              memory: 512Mi # too much?
        - name: proxy
          image: proxy:2
";

    fn set(text: &str, container: Option<&str>) -> Result<String, ManifestError> {
        patched(text, container, Bytes::from_mib(54), Bytes::from_mib(51))
    }

    #[test]
    fn one_container_changes_and_comments_stay() {
        let after = set(DEPLOYMENT, Some("api")).unwrap();
        insta::assert_snapshot!(diff("shop.yaml", DEPLOYMENT, &after), @r#"
        --- a/shop.yaml
        +++ b/shop.yaml
        @@ -15,8 +15,10 @@
                 - name: api
                   image: shop:1.4
                   resources:
        +            requests:
        +              memory: 51Mi
                     limits:
                       cpu: "1"
        -              memory: 512Mi # too much?
        +              memory: 54Mi # too much?
                 - name: proxy
                   image: proxy:2
        "#);
        let after = set(DEPLOYMENT, Some("proxy")).unwrap();
        let added = "          image: proxy:2\n          resources:\n            requests:\n              \
                     memory: 51Mi\n            limits:\n              memory: 54Mi\n";
        assert!(after.ends_with(added), "{after}");
        assert!(after.starts_with(&DEPLOYMENT[..DEPLOYMENT.len() - 40]));
    }

    #[test]
    fn an_alias_is_not_changed_for_others() {
        let text = "kind: Pod\nspec:\n  initContainers:\n  - name: i\n    resources: &r\n      \
                    limits: { memory: 1Gi }\n  containers:\n  - name: a\n    resources: *r\n";
        assert!(
            matches!(set(text, None), Err(ManifestError::Layout { .. })),
            "{:?}",
            set(text, None)
        );
    }

    #[test]
    fn what_is_meant_must_be_clear() {
        let error = set(DEPLOYMENT, None).unwrap_err();
        assert!(matches!(&error, ManifestError::Several { found, .. } if found.len() == 2));
        let error = set(DEPLOYMENT, Some("db")).unwrap_err();
        let text = "the manifest has no container named `db`; there are api (Deployment shop), \
                    proxy (Deployment shop)";
        assert_eq!(error.to_string(), text);
        assert!(matches!(set("a: b", None), Err(ManifestError::NoContainer { .. })));
        let template = "kind: Pod\nspec: {{ .Values.x }}\n";
        assert!(set(template, None).is_err(), "a template");
        assert!(matches!(set("a: [", None), Err(ManifestError::Unreadable { .. })));
    }

    #[test]
    fn flow_mappings_and_pods_and_cron_jobs() {
        let pod = "kind: Pod\nspec:\n  containers:\n  - {name: a, image: b}\n";
        let after = set(pod, None).unwrap();
        let wanted =
            "  - { resources: { requests: { memory: 51Mi }, limits: { memory: 54Mi } },name: a";
        assert!(after.contains(wanted), "{after}");
        let again = set(&after, Some("a")).unwrap();
        assert_eq!(again, after, "a second time nothing changes");
    }
}
