//! Headers that are not the scenario's to say.

use super::is_template;

/// Why a header can't be sent as it is given, and the way out; none where it can. What says where
/// a body ends goes by the body: said otherwise, both ends of a connection would lose track of it.
#[must_use]
pub fn unsendable(name: &str, value: &str) -> Option<(String, &'static str)> {
    let refused = |why: &str| format!("`{name}` is not for you to say: {why}");
    let leave_out = "leave the header out";
    match name.to_ascii_lowercase().as_str() {
        "content-length" => Some((refused("it goes by the body"), leave_out)),
        "transfer-encoding" => {
            let help = "leave the header out; in a scenario, `chunked = true` in `body` sends \
                        chunks";
            Some((refused("it goes by the body"), help))
        }
        "upgrade" | "te" | "trailer" => {
            Some((refused("it is about the connection, which speaks plain HTTP/1.1"), leave_out))
        }
        "connection" if !is_template(value) && !value.split(',').all(is_plain) => {
            let help = "write `close` or `keep-alive`, or leave the header out";
            Some((
                format!("`{name}` can't be `{value}`: the connection speaks plain HTTP/1.1"),
                help,
            ))
        }
        _ => None,
    }
}

/// Whether it only tells if a connection is kept.
fn is_plain(option: &str) -> bool {
    ["close", "keep-alive"].iter().any(|plain| option.trim().eq_ignore_ascii_case(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_refused_and_the_rest_is_free() {
        for (name, value) in [
            ("Content-Length", "7"),
            ("transfer-encoding", "chunked"),
            ("Connection", "upgrade"),
            ("connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
            ("TE", "trailers"),
            ("Trailer", "expires"),
        ] {
            let (message, help) = unsendable(name, value).unwrap();
            assert!(message.contains(name) && !help.is_empty(), "{message}");
        }
        for (name, value) in [
            ("Host", "shop.example"),
            ("Connection", "close"),
            ("connection", "Keep-Alive"),
            ("connection", "{{ choice(['close', 'keep-alive']) }}"),
            ("content-type", "text/plain"),
        ] {
            assert_eq!(unsendable(name, value), None, "{name}");
        }
    }
}
