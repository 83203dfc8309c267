//! What selectors may filter by.

use std::collections::BTreeMap;

use super::{Metric, RuleError};

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

/// Reads `metric{tag:value,…}`.
pub(super) fn parse_selector(text: &str) -> Result<(Metric, BTreeMap<Tag, String>), RuleError> {
    let (name, rest) = text.split_once('{').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let metric = Metric::parse(name.trim())?;
    let Some(rest) = rest else {
        return Ok((metric, BTreeMap::new()));
    };
    let inner = rest.trim_end().strip_suffix('}').ok_or_else(|| {
        RuleError::new(format!("`{text}` has no closing brace"), "write `metric{phase:burst}`")
    })?;
    let mut tags = BTreeMap::new();
    for pair in inner.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (tag, value) = parse_tag(pair)?;
        if !metric.tags().contains(&tag) {
            return Err(misplaced(name.trim(), metric, tag));
        }
        if tags.insert(tag, value).is_some() {
            let help = "one value for each tag; write a rule for each";
            return Err(RuleError::new(format!("`{}` stands there twice", tag.name()), help));
        }
    }
    Ok((metric, tags))
}

/// Reads `tag:value`, either of them in quotes or not, as k6 does. Values may hold colons.
fn parse_tag(pair: &str) -> Result<(Tag, String), RuleError> {
    let bare = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let help = "tags are written `phase:burst`, `scenario:orders`, `step:POST /orders`, \
                `name:…`, `method:GET`, `status:503` or `expected_response:true`";
    let (name, value) = pair
        .split_once(':')
        .ok_or_else(|| RuleError::new(format!("`{}` is no tag", pair.trim()), help))?;
    let name = bare(name);
    let Some(tag) = Tag::ALL.into_iter().find(|tag| tag.name() == name) else {
        let foreign = FOREIGN.iter().find(|row| row.0 == name);
        let help = foreign.map_or(help, |row| row.1);
        return Err(RuleError::new(format!("no tag is called `{name}`"), help));
    };
    Ok((tag, tag.value(&bare(value))?))
}

fn misplaced(name: &str, metric: Metric, tag: Tag) -> RuleError {
    let known: Vec<String> = metric.tags().iter().map(|tag| format!("`{}`", tag.name())).collect();
    let message = format!("`{name}` is not told apart by `{}`", tag.name());
    RuleError::new(message, format!("it takes {}", known.join(", ")))
}
