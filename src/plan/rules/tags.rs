//! What selectors may filter by.

use std::collections::BTreeMap;

use super::{Metric, RuleError};
use crate::scenario::Words;

/// What a selector may filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// The phase's name.
    Phase,
    /// The scenario's name.
    Scenario,
    /// The step's label.
    Step,
    /// The same, as k6 calls it.
    Name,
    /// The request's method.
    Method,
    /// The answer's status; 0 where there was no answer, as in k6.
    Status,
    /// Whether the answer's status was one of those expected.
    ExpectedResponse,
}

/// Tags of k6 that nothing here carries, and what to write.
const FOREIGN: [(&str, &str); 3] = [
    ("group", "there are no groups: name the `scenario`, or the `step`"),
    ("url", "requests are told apart by their step: write `name:GET /path`"),
    ("check", "checks have no names: leave the tag away, or name the `step`"),
];

impl Tag {
    pub(super) const ALL: [Self; 7] = [
        Self::Phase,
        Self::Scenario,
        Self::Step,
        Self::Name,
        Self::Method,
        Self::Status,
        Self::ExpectedResponse,
    ];

    /// Whether a name is that of a tag, carried here or not.
    #[must_use]
    pub fn is_known(name: &str) -> bool {
        Self::ALL.iter().any(|tag| tag.name() == name) || FOREIGN.iter().any(|row| row.0 == name)
    }

    /// Its name in selectors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Scenario => "scenario",
            Self::Step => "step",
            Self::Name => "name",
            Self::Method => "method",
            Self::Status => "status",
            Self::ExpectedResponse => "expected_response",
        }
    }

    /// A tag's value as it is compared.
    fn value(self, text: &str) -> Result<String, RuleError> {
        let refused = |help| {
            let message = format!("`{}` can't be `{text}`", self.name());
            Err(RuleError::new(message, help))
        };
        match self {
            Self::Method => Ok(text.to_uppercase()),
            Self::ExpectedResponse if !["true", "false"].contains(&text) => {
                refused("write `expected_response:true` or `expected_response:false`")
            }
            Self::Status => match text.parse::<u16>() {
                Ok(status) if status == 0 || (100..1000).contains(&status) => {
                    Ok(status.to_string())
                }
                _ => refused("write `status:503`, or `status:0` for requests without an answer"),
            },
            _ => Ok(text.to_owned()),
        }
    }
}

/// What a selector names.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) metric: Metric,
    pub(super) tags: BTreeMap<Tag, String>,
    /// Tags of the scenario's own.
    pub(super) own_tags: BTreeMap<String, String>,
}

/// Reads `metric{tag:value,…}`.
pub(super) fn parse_selector(words: &Words, text: &str) -> Result<Selected, RuleError> {
    let (name, rest) = text.split_once('{').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let metric = Metric::parse(words, name.trim())?;
    let mut selected = Selected { metric, tags: BTreeMap::new(), own_tags: BTreeMap::new() };
    let Some(rest) = rest else { return Ok(selected) };
    let inner = rest.trim_end().strip_suffix('}').ok_or_else(|| {
        RuleError::new(format!("`{text}` has no closing brace"), "write `metric{phase:burst}`")
    })?;
    for pair in inner.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (tag, value) = split_tag(pair)?;
        let before = match Tag::ALL.into_iter().find(|known| known.name() == tag) {
            Some(known) if !metric.tags().contains(&known) => {
                return Err(misplaced(name.trim(), metric, &tag));
            }
            Some(known) => selected.tags.insert(known, known.value(&value)?),
            None if !words.tags.contains(&tag) => return Err(unknown(words, &tag)),
            None if !metric.is_of_steps() => return Err(misplaced(name.trim(), metric, &tag)),
            None => selected.own_tags.insert(tag.clone(), value),
        };
        if before.is_some() {
            let help = "one value for each tag; write a rule for each";
            return Err(RuleError::new(format!("`{tag}` stands there twice"), help));
        }
    }
    Ok(selected)
}

const TAG_HELP: &str = "tags are written `phase:burst`, `scenario:orders`, `step:POST /orders`, \
                        `name:…`, `method:GET`, `status:503` or `expected_response:true`";

/// Reads `tag:value`, either of them in quotes or not, as k6 does. Values may hold colons.
fn split_tag(pair: &str) -> Result<(String, String), RuleError> {
    let bare = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let (name, value) = pair
        .split_once(':')
        .ok_or_else(|| RuleError::new(format!("`{}` is no tag", pair.trim()), TAG_HELP))?;
    Ok((bare(name), bare(value)))
}

fn unknown(words: &Words, tag: &str) -> RuleError {
    let foreign = FOREIGN.iter().find(|row| row.0 == tag);
    let help = match foreign {
        Some((_, help)) => (*help).to_owned(),
        None if words.tags.is_empty() => TAG_HELP.to_owned(),
        None => {
            let own: Vec<String> = words.tags.iter().map(|own| format!("`{own}`")).collect();
            format!("{TAG_HELP}; steps also carry {}", own.join(", "))
        }
    };
    RuleError::new(format!("no tag is called `{tag}`"), help)
}

fn misplaced(name: &str, metric: Metric, tag: &str) -> RuleError {
    let known: Vec<String> = metric.tags().iter().map(|tag| format!("`{}`", tag.name())).collect();
    let message = format!("`{name}` is not told apart by `{tag}`");
    RuleError::new(message, format!("it takes {}", known.join(", ")))
}
