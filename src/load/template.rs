//! Templates: texts with values in them, rendered anew for each request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Object, Serde, Value};
use minijinja::{Environment, Error as TemplateError, ErrorKind};

use crate::load::draw::Draw;
use crate::plan::{Constants, Feed, templating};

/// Numbers that `sequence()` has given out, over all workers.
pub(super) type Sequences = Arc<Mutex<BTreeMap<String, u64>>>;

/// Values that all users share: what the setup has captured.
pub(super) type Shared = Arc<BTreeMap<String, Value>>;

/// All templates of one worker.
pub(super) struct Templates {
    environment: Environment<'static>,
    chance: Arc<AtomicU64>,
    count: usize,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templates").field("count", &self.count).finish_non_exhaustive()
    }
}

/// One of a worker's templates.
#[derive(Debug, Clone)]
pub(super) struct Template(String);

impl Templates {
    pub(super) fn new(constants: &Constants, sequences: Sequences) -> Self {
        let chance = Arc::new(AtomicU64::new(0));
        let mut environment = templating(constants);
        add_chance(&mut environment, &chance);
        environment.add_function("now", |format: Option<String>| now(format.as_deref()));
        environment.add_function("sequence", move |name: Option<String>| {
            let mut all = sequences.lock().unwrap_or_else(PoisonError::into_inner);
            let next = all.entry(name.unwrap_or_default()).or_default();
            *next += 1;
            *next
        });
        Self { environment, chance, count: 0 }
    }

    /// Takes in a template.
    pub(super) fn add(&mut self, text: &str) -> Result<Template, TemplateError> {
        let name = self.count.to_string();
        self.environment.add_template_owned(name.clone(), text.to_owned())?;
        self.count += 1;
        Ok(Template(name))
    }

    /// The text that a template gives with these values. What is left to chance in it is drawn
    /// from `draw`.
    pub(super) fn render(
        &self,
        template: &Template,
        values: &Arc<Values>,
        draw: &mut Draw,
    ) -> Result<String, TemplateError> {
        self.chance.store(draw.next(), Ordering::Relaxed);
        let template = self.environment.get_template(&template.0)?;
        template.render(Value::from_dyn_object(Arc::clone(values)))
    }
}

/// Numbers drawn while a template is rendered. Only its worker's thread uses them.
fn add_chance(environment: &mut Environment<'static>, chance: &Arc<AtomicU64>) {
    let draw = |chance: &AtomicU64| {
        let mut draw = Draw::new(chance.load(Ordering::Relaxed), &[]);
        let next = draw.next();
        chance.store(next, Ordering::Relaxed);
        Draw::new(next, &[1])
    };
    let own = Arc::clone(chance);
    environment.add_function("uuid", move || {
        let mut draw = draw(&own);
        let bits = u128::from(draw.next()) << 64 | u128::from(draw.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    });
    let own = Arc::clone(chance);
    environment.add_function("random", move |min: Option<i64>, max: Option<i64>| {
        let mut draw = draw(&own);
        match (min, max) {
            (None, _) => Ok(Value::from(draw.unit())),
            (Some(max), None) => between(&mut draw, 0, max),
            (Some(min), Some(max)) => between(&mut draw, min, max),
        }
    });
    let own = Arc::clone(chance);
    environment.add_function("choice", move |items: Vec<Value>| {
        let index = draw(&own).below(items.len() as u64);
        let item = usize::try_from(index).ok().and_then(|index| items.get(index));
        item.cloned().ok_or_else(|| refused("choice() of nothing".to_owned()))
    });
}

/// A whole number between two others, both possible.
fn between(draw: &mut Draw, min: i64, max: i64) -> Result<Value, TemplateError> {
    let spread = max.checked_sub(min).and_then(|spread| u64::try_from(spread).ok());
    let spread = spread.ok_or_else(|| refused(format!("random({min}, {max}) is empty")))?;
    let above = draw.below(spread.saturating_add(1)).cast_signed();
    Ok(Value::from(min.wrapping_add(above)))
}

/// The present time: RFC 3339, seconds (`"s"`) or milliseconds (`"ms"`) since 1970, or by a
/// `strftime` format.
fn now(format: Option<&str>) -> Result<Value, TemplateError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match format {
        None => Ok(Value::from(jiff::Timestamp::now().to_string())),
        Some("s") => Ok(Value::from(since.as_secs())),
        Some("ms") => Ok(Value::from(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))),
        Some(format) => {
            let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
            let text = jiff::fmt::strtime::format(format, &now);
            text.map(Value::from).map_err(|error| refused(error.to_string()))
        }
    }
}

fn refused(why: String) -> TemplateError {
    TemplateError::new(ErrorKind::InvalidOperation, why)
}

/// The values that one user's templates see.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    pub(super) user: u64,
    pub(super) iteration: u64,
    pub(super) own: BTreeMap<String, Value>,
    pub(super) record: Option<Record>,
    pub(super) shared: Shared,
}

/// A record of a feed.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) feed: Arc<Feed>,
    pub(super) row: usize,
}

impl Record {
    fn value(&self, name: &str) -> Option<Value> {
        let column = self.feed.columns.iter().position(|column| column == name)?;
        Some(Value::from(Serde(self.feed.rows.get(self.row)?.get(column)?)))
    }
}

impl Object for Values {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let own = self.own.get(name).cloned();
        own.or_else(|| self.record.as_ref()?.value(name))
            .or_else(|| self.shared.get(name).cloned())
            .or_else(|| match name {
                "user" => Some(Value::from(self.user)),
                "iteration" => Some(Value::from(self.iteration)),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn templates() -> Templates {
        let mut constants = Constants::default();
        constants.env.insert("TOKEN".to_owned(), "secret".to_owned());
        Templates::new(&constants, Sequences::default())
    }

    fn render(text: &str, values: &Values) -> Result<String, TemplateError> {
        let mut templates = templates();
        let template = templates.add(text)?;
        templates.render(&template, &Arc::new(values.clone()), &mut Draw::new(1, &[]))
    }

    #[test]
    fn values_come_from_captures_then_records_then_setup() {
        let row = vec![serde_json::json!("ann"), serde_json::json!(7)];
        let feed = Feed {
            columns: vec!["name".to_owned(), "age".to_owned()],
            rows: vec![row].into(),
            order: crate::plan::FeedOrder::Sequential,
            again: true,
        };
        let mut values = Values {
            user: 3,
            record: Some(Record { feed: Arc::new(feed), row: 0 }),
            shared: Arc::new([("token".to_owned(), Value::from("t"))].into()),
            ..Values::default()
        };
        let text = "{{name}} {{age + 1}} {{token}} {{user}} {{iteration}}";
        assert_eq!(render(text, &values).unwrap(), "ann 8 t 3 0");
        values.own.insert("name".to_owned(), Value::from("<bob>"));
        assert_eq!(render("{{name}}", &values).unwrap(), "<bob>");
        assert!(render("{{missing}}", &values).is_err());
    }

    #[test]
    fn functions_give_what_they_say() {
        let values = Values::default();
        let text = |text: &str| render(text, &values).unwrap();
        assert_eq!(text("{{uuid()}}").len(), 36);
        assert_ne!(text("{{uuid()}}"), text("{{uuid()}} {{uuid()}}")[37..]);
        let drawn: i64 = text("{{random(5, 9)}}").parse().unwrap();
        assert!((5..=9).contains(&drawn));
        assert!(["a", "b"].contains(&text("{{choice(['a', 'b'])}}").as_str()));
        assert_eq!(text("{{sequence()}} {{sequence()}} {{sequence('x')}}"), "1 2 1");
        assert_eq!(text("{{env('TOKEN')}}"), "secret");
        assert!(text("{{now('ms')}}").parse::<u64>().unwrap() > 1_700_000_000_000);
        assert!(render("{{env('OTHER')}}", &values).is_err());
        assert!(render("{{random(9, 5)}}", &values).is_err());
    }

    #[test]
    fn endless_templates_are_stopped() {
        let text =
            "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}";
        assert!(render(text, &Values::default()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_rendered_or_refused(text in "[ -~]{0,40}|.{0,10}\\{\\{.{0,20}\\}\\}|\\{%.{0,20}%\\}") {
            let _ = render(&text, &Values::default());
        }
    }
}
