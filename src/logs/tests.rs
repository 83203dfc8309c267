use proptest::prelude::*;

use super::*;

fn logged(at: Option<Duration>, method: &str, path: &str) -> Logged {
    let (method, path) = (method.to_owned(), path.to_owned());
    Logged { at, method, path, request_bytes: None, response_bytes: None, status: None }
}

fn paths(log: &Log) -> Vec<&str> {
    log.requests.iter().map(|request| request.path.as_str()).collect()
}

#[test]
fn a_combined_log() {
    let text = "\u{feff}127.0.0.1 - frank [10/Oct/2000:13:55:38 -0700] \"GET /late?b HTTP/1.0\" 200 2326 \"http://r/\" \"Mozilla\"\r\n\
        \n\
        ::1 - - [10/Oct/2000:13:55:36 -0700] \"POST /first HTTP/1.1\" 304 -\n\
        broken\n\
        ::1 - - [10/Oct/2000:13:55:36 -0700] \"OPTIONS * HTTP/1.1\" 200 -\n\
        ::1 - - [10/Oct/2000:20:55:36 +0000] \"GET /second HTTP/1.1\" 500 7";
    let with = |logged, bytes, status| Logged {
        response_bytes: Some(bytes),
        status: Some(status),
        ..logged
    };
    let expected = Log {
        format: Format::Common,
        requests: vec![
            with(logged(Some(Duration::from_secs(0)), "POST", "/first"), 0, 304),
            with(logged(Some(Duration::from_secs(0)), "GET", "/second"), 7, 500),
            with(logged(Some(Duration::from_secs(2)), "GET", "/late?b"), 2326, 200),
        ],
        skipped: 2,
        first_fault: Some((4, "it has no time in brackets before its request".to_owned())),
    };
    assert_eq!(parse(text.as_bytes()), Ok(expected));
}

#[test]
fn json_lines_with_and_without_time() {
    let text = br#"server started
{"method":"GET","path":"/timeless","size":1}
{"time":"2000-10-10T20:55:37Z","method":"GET","path":"/b","status":200}
{"time":"2000-10-10T20:55:36Z","method":"PUT","path":"/a","request_bytes":9}
"#;
    let log = parse(text).unwrap();
    assert_eq!((log.format, log.skipped), (Format::JsonLines, 1));
    assert_eq!(log.first_fault.as_ref().map(|fault| fault.0), Some(1));
    assert_eq!(
        log.requests,
        [
            Logged { request_bytes: Some(9), ..logged(Some(Duration::from_secs(0)), "PUT", "/a") },
            Logged { status: Some(200), ..logged(Some(Duration::from_secs(1)), "GET", "/b") },
            Logged { response_bytes: Some(1), ..logged(None, "GET", "/timeless") },
        ]
    );
}

#[test]
fn an_http_archive() {
    let text = br#"{"log":{"version":"1.2","creator":{"name":"x"},"entries":[
        {"startedDateTime":"2000-10-10T13:55:36.500-07:00","time":50,
         "request":{"method":"POST","url":"https://h:1/a?b#c","headers":[],"bodySize":0,
                    "postData":{"mimeType":"text/plain","text":"12345"}},
         "response":{"status":201,"bodySize":33,"content":{"size":99,"text":"..."}}},
        {"startedDateTime":"2000-10-10T13:55:36.500-07:00",
         "request":{"method":"GET","url":"blob:x"},"response":{}},
        {"startedDateTime":"2000-10-10T13:55:36.250-07:00",
         "request":{"method":"GET","url":"http://h"},"response":{"status":200}}
    ]}}"#;
    let expected = Log {
        format: Format::Har,
        requests: vec![
            Logged { status: Some(200), ..logged(Some(Duration::from_secs(0)), "GET", "/") },
            Logged {
                request_bytes: Some(5),
                response_bytes: Some(33),
                status: Some(201),
                ..logged(Some(Duration::from_millis(250)), "POST", "/a?b")
            },
        ],
        skipped: 1,
        first_fault: Some((2, "`blob:x` is no address of HTTP".to_owned())),
    };
    assert_eq!(parse(text), Ok(expected));
}

#[test]
fn files_of_which_nothing_can_be_read() {
    assert_eq!(parse(b""), Err(Error::Empty));
    assert_eq!(parse(b"\xef\xbb\xbf\n \r\n"), Err(Error::Empty));
    let long = format!("\n{}", "\u{1b}é".repeat(200));
    let Err(Error::Foreign { line: 2, shown, .. }) = parse(long.as_bytes()) else {
        panic!("it is foreign")
    };
    assert_eq!(shown, format!("{}…", "\u{fffd}é".repeat(40)));
    assert_eq!(
        parse(b"{\"a\":1}").unwrap_err().to_string(),
        "no line of the log can be read; line 1 is `{\"a\":1}`: it has no method under a known name"
    );
    let broken = parse(br#"{"log": {"entries": [{"request": {"#).unwrap_err();
    assert!(matches!(broken, Error::Har { .. }), "{broken}");
    let empty = parse(br#"{"log": {"entries": []}}"#).unwrap_err();
    assert_eq!(empty.to_string(), "the HTTP Archive can't be read: it has no entries");
    assert!(!empty.help().is_empty());
}

#[test]
fn lines_beyond_the_bounds_are_skipped() {
    let long = format!("{{\"method\":\"GET\",\"path\":\"/{}\"}}", "a".repeat(LINE_BYTES_MAX));
    let text = format!("{long}\n{}", "{\"method\":\"GET\",\"path\":\"/\"}\n".repeat(5));
    let log = parse(text.as_bytes()).unwrap();
    assert_eq!((paths(&log), log.skipped), (vec!["/"; 5], 1));
    assert_eq!(log.first_fault, Some((1, "it is longer than 65536 bytes".to_owned())));
    let kept = lines::read_most(text.as_bytes(), json_lines::parse, 2);
    assert_eq!((kept.requests.len(), kept.skipped), (2, 4));
}

#[test]
fn invalid_utf_8_is_read_lossily() {
    let log = parse(b"h - \xff [10/Oct/2000:13:55:36 -0700] \"GET /\xff HTTP/1.1\" 200 1").unwrap();
    assert_eq!(paths(&log), ["/%EF%BF%BD"]);
    let log = parse(b"{\"method\":\"GET\",\"path\":\"/\xff\"}").unwrap();
    assert_eq!(paths(&log), ["/%EF%BF%BD"]);
    let log = parse(
        b"{\"log\":{\"entries\":[{\"request\":{\"method\":\"GET\",\"url\":\"http://h/\xff\"}}]}}",
    );
    assert_eq!(paths(&log.unwrap()), ["/%EF%BF%BD"]);
}

/// Bytes from pieces of all formats, which reach further into the readers than random ones.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            "\\x",
            ":",
            ",",
            "\n",
            " ",
            "-",
            "0",
            "200",
            "9999999",
            "1e18",
            "é",
            "\u{0}",
            "\"log\":{\"entries\":[",
            "\"request\":",
            "\"method\":\"GET\"",
            "\"url\":\"http://h\"",
            "\"path\":\"/\"",
            "\"time\":",
            "\"status\":-1",
            "h - - [10/Oct/2000:13:55:36 -0700] \"GET /",
            " HTTP/1.1\" 200 ",
            "HTTP/",
            "http://",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(random in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = parse(&random);
    }

    #[test]
    fn no_pieces_make_it_panic_and_what_is_read_keeps_its_promises(text in pieces()) {
        if let Ok(log) = parse(&text) {
            prop_assert!(!log.requests.is_empty());
            prop_assert_eq!(log.skipped > 0, log.first_fault.is_some());
            prop_assert!(log.requests.is_sorted_by_key(|request| (request.at.is_none(), request.at)));
            for request in &log.requests {
                prop_assert!(request.path.starts_with('/') && request.path.is_ascii());
                prop_assert!(label(&request.path).starts_with('/'));
            }
        }
    }

    #[test]
    fn a_rendered_line_is_read_back(
        host in "[a-z0-9.:]{1,20}",
        user in r"[a-z \[]{1,10}",
        seconds in 0_u64..3_000_000_000,
        method in "[A-Z]{1,10}",
        path in r"/[a-zA-Z0-9/?&=%._~!-]{0,40}",
        status in 100_u16..1000,
        bytes in proptest::option::of(any::<u64>()),
        tail in prop_oneof![Just(String::new()), Just(" \"-\" \"a \\\" b\" 0.003".to_owned())],
    ) {
        let at = jiff::Timestamp::from_second(seconds.try_into().unwrap()).unwrap();
        let time = at.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let size = bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        let line = format!("{host} - {user} [{time}] \"{method} {path} HTTP/1.1\" {status} {size}{tail}");
        let expected = Logged {
            response_bytes: Some(bytes.unwrap_or(0)),
            status: Some(status),
            ..logged(Some(Duration::from_secs(seconds)), &method, &path)
        };
        prop_assert_eq!(common::parse(&line), Ok(expected));
    }
}
