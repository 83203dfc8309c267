//! One JSON object a line, as servers, proxies and ingress controllers write.
//!
//! There is no standard, so each value is looked for under the [names](super::names) that it commonly has;
//! nested objects count as dotted names, and case doesn't matter.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::lines::cut;
use super::names::{
    METHOD, PATH, QUERY, REQUEST, REQUEST_BODY, REQUEST_WHOLE, RESPONSE_BODY, STATUS, TIME,
};
use super::{Logged, target, time};

/// How deep objects are looked into: `http.request.body.bytes` is the deepest name.
const DEPTH_MAX: usize = 4;

/// Reads a line.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) fn parse(line: &str) -> Result<Logged, String> {
    let object: Map<String, Value> =
        serde_json::from_str(line).map_err(|why| format!("it is no JSON object: {why}"))?;
    let mut fields = Fields::default();
    fields.add(&object, "", 1);
    let (method, path) = fields.method_and_path()?;
    let request_bytes = fields.request_bytes(&method);
    Ok(Logged {
        at: fields.first(TIME, time_of),
        method,
        path,
        request_bytes,
        response_bytes: fields.first(RESPONSE_BODY, size),
        status: fields.first(STATUS, status),
    })
}

/// A line's values by their dotted names in small letters.
#[derive(Default)]
struct Fields<'a>(HashMap<String, &'a Value>);

impl<'a> Fields<'a> {
    fn add(&mut self, object: &'a Map<String, Value>, before: &str, depth: usize) {
        for (name, value) in object {
            let name = format!("{before}{}", name.to_ascii_lowercase());
            match value {
                Value::Object(nested) if depth < DEPTH_MAX => {
                    self.add(nested, &format!("{name}."), depth + 1);
                }
                _ => drop(self.0.entry(name).or_insert(value)),
            }
        }
    }

    /// The first value under `names` that `read` takes.
    fn first<T>(&self, names: &[&str], read: fn(&Value) -> Option<T>) -> Option<T> {
        names.iter().find_map(|name| self.0.get(*name).and_then(|value| read(value)))
    }

    fn method_and_path(&self) -> Result<(String, String), String> {
        let method = self.first(METHOD, |value| target::method(value.as_str()?));
        let path = self.first(PATH, |value| target::path(value.as_str()?.as_bytes()));
        match (method, path) {
            (Some(method), Some(path)) => Ok((method, self.with_query(path))),
            (method, _) => match self.first(REQUEST, |value| value.as_str().map(str::to_owned)) {
                Some(line) => target::request_line(line.as_bytes()),
                None if method.is_some() => Err(self.no("path", PATH)),
                None => Err(self.no("method", METHOD)),
            },
        }
    }

    /// What to say where no value under `names` will do.
    fn no(&self, what: &str, names: &[&str]) -> String {
        match names.iter().find_map(|name| Some((name, self.0.get(*name)?))) {
            Some((name, value)) => {
                format!("its `{name}` is no {what}: `{}`", cut(&value.to_string()))
            }
            None => format!("it has no {what} under a known name"),
        }
    }

    fn with_query(&self, mut path: String) -> String {
        if path.contains('?') {
            return path;
        }
        // Read as a target, so that it is encoded as one.
        let query = self.first(QUERY, |value| {
            let text = value.as_str()?.trim_start_matches('?');
            target::path(format!("/?{text}").as_bytes()).filter(|_| !matches!(text, "" | "-"))
        });
        path.push_str(query.as_deref().map_or("", |query| &query[1..]));
        path
    }

    /// The size of the request's body. A size with line and headers is about that of the body
    /// where there is one, and says nothing where the method has none.
    fn request_bytes(&self, method: &str) -> Option<u64> {
        let whole = || {
            let has_body = !matches!(method, "GET" | "HEAD" | "OPTIONS");
            self.first(REQUEST_WHOLE, size).filter(|_| has_body)
        };
        self.first(REQUEST_BODY, size).or_else(whole)
    }
}

fn time_of(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => time::any(text),
        Value::Number(number) => time::unix(&number.to_string()),
        _ => None,
    }
}

/// Reads a whole number that isn't negative, bare or in quotes.
fn size(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => match number.as_u64() {
            Some(size) => Some(size),
            // JavaScript's and Go's encoders may write a large one as a float.
            None => number.as_f64().filter(|size| size.fract() == 0.0)?.to_string().parse().ok(),
        },
        _ => None,
    }
}

fn status(value: &Value) -> Option<u16> {
    size(value)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (100..=999).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time in milliseconds since 1970, method, path, sizes of request and response, status.
    type Row = (Option<u128>, String, String, Option<u64>, Option<u64>, Option<u16>);

    fn row(line: &str) -> Result<Row, String> {
        let logged = parse(line)?;
        let at = logged.at.map(|at| at.as_millis());
        let Logged { method, path, request_bytes, response_bytes, status, .. } = logged;
        Ok((at, method, path, request_bytes, response_bytes, status))
    }

    fn post(path: &str) -> Row {
        let at = Some(971_211_336_250);
        (at, "POST".to_owned(), path.to_owned(), Some(12), Some(2326), Some(201))
    }

    #[test]
    fn lines_of_well_known_servers() {
        for (server, line) in [
            (
                "nginx",
                r#"{"msec":"971211336.250","time_local":"10/Oct/2000:13:55:36 -0700","request":"POST /a?b HTTP/1.1","request_length":"12","bytes_sent":"2500","body_bytes_sent":"2326","status":"201"}"#,
            ),
            (
                "traefik",
                r#"{"StartUTC":"2000-10-10T20:55:36.25Z","time":"2000-10-10T20:55:39Z","RequestMethod":"POST","RequestPath":"/a?b","RequestContentSize":12,"DownstreamContentSize":2326,"DownstreamStatus":201,"Duration":3}"#,
            ),
            (
                "caddy",
                r#"{"level":"info","ts":971211336.25,"request":{"method":"POST","host":"h","uri":"/a?b","headers":{"Accept":["*/*"]}},"bytes_read":12,"size":2326,"status":201}"#,
            ),
            (
                "envoy",
                r#"{"start_time":"2000-10-10T20:55:36.250Z","method":"POST","path":"/a?b","bytes_received":12,"bytes_sent":2326,"response_code":201}"#,
            ),
            (
                "ecs",
                r#"{"@timestamp":"2000-10-10T20:55:36.250Z","http":{"request":{"method":"post","body":{"bytes":12}},"response":{"status_code":201,"body":{"bytes":2326}}},"url":{"path":"/a","query":"b"}}"#,
            ),
            (
                "dotted",
                r#"{"timestamp":971211336250,"http.request.method":"POST","url.full":"https://h/a?b","http.request.body.bytes":12,"http.response.body.bytes":2326.0,"status":201}"#,
            ),
            (
                "echo",
                r#"{"time":"2000-10-10T20:55:36.25Z","method":"POST","uri":"/a?b","status":201,"bytes_in":"12","bytes_out":2326}"#,
            ),
        ] {
            assert_eq!(row(line), Ok(post("/a?b")), "{server}");
        }
    }

    #[test]
    fn what_is_missing_is_unknown_and_the_rest_is_read() {
        let bare = (None, "GET".to_owned(), "/".to_owned(), None, None, None);
        for line in [
            r#"{"method":"GET","path":"/"}"#,
            r#"{"METHOD":"get","Url":"http://h","size":-1,"status":"-","time":"12ms"}"#,
            r#"{"request":"GET / HTTP/1.1","request_length":300,"bytes":null,"args":"-"}"#,
        ] {
            assert_eq!(row(line), Ok(bare.clone()), "{line}");
        }
    }

    #[test]
    fn faults_name_what_is_wrong() {
        let fault = |line: &str| row(line).unwrap_err();
        assert!(fault("hello").starts_with("it is no JSON object: "));
        assert!(fault("[1]").starts_with("it is no JSON object: "));
        assert_eq!(fault("{}"), "it has no method under a known name");
        assert_eq!(fault(r#"{"method":7}"#), "its `method` is no method: `7`");
        assert_eq!(fault(r#"{"verb":"GET"}"#), "it has no path under a known name");
        assert_eq!(fault(r#"{"verb":"GET","path":"*"}"#), "its `path` is no path: `\"*\"`");
        assert_eq!(fault(r#"{"request":"-"}"#), "`-` is no request line");
    }
}
