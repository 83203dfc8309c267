//! What one user keeps from request to request: values, cookies.

use std::sync::Arc;

use cookie_store::{CookieStore, RawCookie};
use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

use crate::clock::Moment;
use crate::load::template::Values;
use crate::plan::Budget;

/// Cookies that one user keeps, at most, as browsers do for one host.
const COOKIES_MAX: usize = Budget::COOKIES;
/// The longest cookie.
const COOKIE_BYTES_MAX: usize = Budget::COOKIE;

/// One user, in one scenario.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) values: Arc<Values>,
    /// Whether its first steps were done.
    pub(super) started: bool,
    /// When its last paced step was due.
    pub(super) paced: Option<Moment>,
    cookies: Option<Box<CookieStore>>,
}

impl Session {
    pub(super) fn new(values: Values) -> Self {
        Self { values: Arc::new(values), ..Self::default() }
    }

    /// The values, to be changed.
    pub(super) fn values_mut(&mut self) -> &mut Values {
        Arc::make_mut(&mut self.values)
    }

    /// The cookies that belong to a request, as the value of its header.
    pub(super) fn cookies(&self, host: Option<&HeaderValue>, path: &str) -> Option<HeaderValue> {
        let cookies = self.cookies.as_ref()?;
        let url = url_of(host?, path)?;
        let pairs: Vec<String> = cookies
            .get_request_values(&url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if pairs.is_empty() { None } else { HeaderValue::try_from(pairs.join("; ")).ok() }
    }

    /// Keeps the cookies that an answer sets.
    pub(super) fn take_cookies(&mut self, answer: &HeaderMap, host: &HeaderValue, path: &str) {
        for cookie in answer.get_all(SET_COOKIE) {
            let Ok(text) = cookie.to_str() else { continue };
            let Ok(cookie) = RawCookie::parse(text.to_owned()) else { continue };
            let Some(url) = url_of(host, path) else { continue };
            let cookies = self.cookies.get_or_insert_default();
            let room = cookies.iter_any().count() < COOKIES_MAX
                || cookies.iter_any().any(|kept| kept.name() == cookie.name());
            if room && text.len() <= COOKIE_BYTES_MAX {
                // A cookie for another host is refused, which is all that is to be said of it.
                let _ = cookies.insert_raw(&cookie, &url);
            }
        }
    }
}

/// The target is trusted like an encrypted one, as browsers trust localhost: else services that
/// set `Secure` cookies could not be tested without TLS.
fn url_of(host: &HeaderValue, path: &str) -> Option<Url> {
    Url::parse(&format!("https://{}{path}", host.to_str().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(session: &mut Session, cookies: &[&str]) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        session.take_cookies(&headers, &HeaderValue::from_static("127.0.0.1:8080"), "/login");
    }

    fn sent(session: &Session, path: &str) -> Option<String> {
        let host = HeaderValue::from_static("127.0.0.1:8080");
        Some(session.cookies(Some(&host), path)?.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_are_sent_back_where_they_belong() {
        let mut session = Session::default();
        assert_eq!(sent(&session, "/"), None);
        answered(
            &mut session,
            &["a=1; Path=/; HttpOnly; Secure", "b=2; Path=/admin", "c=3; Domain=evil.example"],
        );
        assert_eq!(sent(&session, "/x").as_deref(), Some("a=1"));
        let mut both: Vec<String> =
            sent(&session, "/admin/x").unwrap().split("; ").map(str::to_owned).collect();
        both.sort();
        assert_eq!(both, ["a=1", "b=2"]);
        answered(&mut session, &["a=gone; Path=/; Max-Age=0"]);
        assert_eq!(sent(&session, "/x"), None);
    }

    #[test]
    fn cookies_are_bounded() {
        let mut session = Session::default();
        let many: Vec<String> = (0..200).map(|n| format!("c{n}=1; Path=/")).collect();
        answered(&mut session, &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(sent(&session, "/").unwrap().split("; ").count(), COOKIES_MAX);
        let long = format!("long={}; Path=/", "x".repeat(5000));
        let mut session = Session::default();
        answered(&mut session, &[&long, "garbage", "=;;"]);
        assert!(sent(&session, "/").is_none_or(|text| !text.contains("long")));
    }
}
