//! The names that values commonly have in JSON logs, in small letters; those that come first win.
//!
//! Sources: nginx's variables (`ngx_http_core_module`, with `log_format … escape=json`), Traefik's
//! access log fields, Caddy's `http.log.access`, Envoy's JSON access log, the Elastic Common
//! Schema, Google Cloud's `httpRequest` and Echo's logger.

/// Times: starts of requests before ends, exact ones before those in whole seconds.
pub(super) const TIME: &[&str] = &[
    "start_time",
    "startutc",
    "msec",
    "@timestamp",
    "ts",
    "timestamp",
    "time_iso8601",
    "time",
    "time_local",
];

/// Methods.
pub(super) const METHOD: &[&str] = &[
    "http.request.method",
    "request.method",
    "request_method",
    "requestmethod",
    "method",
    "verb",
    "httprequest.requestmethod",
];

/// Paths and addresses: those with query before those without.
pub(super) const PATH: &[&str] = &[
    "request_uri",
    "request.uri",
    "request.url",
    "requestpath",
    "target",
    "http.target",
    "url.original",
    "url.full",
    "httprequest.requesturl",
    "url",
    "uri",
    "path",
    "url.path",
    "request.path",
];

/// Queries that stand beside a path without one.
pub(super) const QUERY: &[&str] = &["url.query", "query_string", "args"];

/// Whole request lines.
pub(super) const REQUEST: &[&str] = &["request", "request_line"];

/// Sizes of bodies of requests.
pub(super) const REQUEST_BODY: &[&str] = &[
    "http.request.body.bytes",
    "request_bytes",
    "bytes_received",
    "bytes_read",
    "bytes_in",
    "requestcontentsize",
    "request_size",
];

/// Sizes of requests that count line and headers too: nginx's and Google Cloud's.
pub(super) const REQUEST_WHOLE: &[&str] = &["request_length", "httprequest.requestsize"];

/// Sizes of bodies of answers: bodies before whole messages.
pub(super) const RESPONSE_BODY: &[&str] = &[
    "http.response.body.bytes",
    "response_bytes",
    "body_bytes_sent",
    "bytes_sent",
    "bytes_out",
    "downstreamcontentsize",
    "response_size",
    "size",
    "bytes",
    "httprequest.responsesize",
];

/// Statuses.
pub(super) const STATUS: &[&str] = &[
    "http.response.status_code",
    "status",
    "status_code",
    "response_code",
    "downstreamstatus",
    "response.status",
    "httprequest.status",
];
