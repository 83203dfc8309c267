//! Clues in a service's source: the port that it binds and the routes that it answers.
//!
//! Nothing is parsed; patterns that servers are commonly written in are looked for, in comments
//! and tests not at all. What is found is likely, and never certain.

mod ports;
mod routes;

use std::path::Path;

use super::{Clues, SourceText};

/// How much of a line is quoted as a reason.
const QUOTE_MAX: usize = 60;

/// What the files say, the first of them being looked at first.
#[must_use]
pub fn clues(files: &[SourceText]) -> Clues {
    let pages: Vec<Page> = files.iter().map(Page::of).collect();
    let mut clues = Clues::default();
    ports::take(&pages, &mut clues);
    routes::take(&pages, &mut clues);
    clues
}

/// A file without its comments and tests, line for line.
struct Page<'a> {
    name: &'a str,
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'a> Page<'a> {
    fn of(file: &'a SourceText) -> Self {
        // Unit tests stand at the end.
        let end = file.text.find("#[cfg(test)]\nmod ").unwrap_or(file.text.len());
        let ending = Path::new(&file.name).extension().and_then(|ending| ending.to_str());
        let hash = matches!(ending, Some("py" | "rb"));
        let comment = if hash { "#" } else { "//" };
        let (mut text, mut starts) = (String::new(), Vec::new());
        for line in file.text[..end].lines() {
            starts.push(text.len());
            if !line.trim_start().starts_with(comment) {
                text.push_str(line);
            }
            text.push('\n');
        }
        Self { name: &file.name, text, starts }
    }

    /// The line that a place in the text is in, from 0.
    fn line_at(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// The lines `from..to`, as far as there are any.
    fn lines(&self, from: usize, to: usize) -> &str {
        let begin = self.starts.get(from).copied().unwrap_or(self.text.len());
        let end = self.starts.get(to).copied().unwrap_or(self.text.len());
        &self.text[begin..end]
    }

    /// A place as a reason: its file, its line, and what stands there.
    fn reason(&self, at: usize) -> String {
        let line = self.line_at(at);
        let quote: String = self.lines(line, line + 1).trim().chars().take(QUOTE_MAX).collect();
        format!("{}:{}: {}", self.name, line + 1, quote.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clues_of(text: &str) -> Clues {
        clues(&[SourceText { name: "src/main.rs".to_owned(), text: text.to_owned() }])
    }

    fn port(text: &str) -> Option<u16> {
        clues_of(text).port.map(|guess| guess.value)
    }

    #[test]
    fn common_ways_to_bind_are_known() {
        for (wanted, text) in [
            (3000, r#"TcpListener::bind("0.0.0.0:3000").await"#),
            (3001, "let addr = SocketAddr::from(([0, 0, 0, 0], 3001));"),
            (3002, r#".bind(("127.0.0.1", 3002))?"#),
            (3003, "SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 3003)"),
            (3004, "const PORT: u16 = 3004;"),
            (3005, r#"env::var("PORT").ok().and_then(|p| p.parse::<u16>().ok()).unwrap_or(3005)"#),
            (3006, r#"env::var("HTTP_PORT").unwrap_or_else(|_| "3006".to_owned())"#),
            (3007, "/// The port\n#[arg(long, env = \"P\", default_value_t = 3007)]\nport: u16,"),
            (3008, r#"http.ListenAndServe(":3008", nil)"#),
            (3009, "app.listen(3009)"),
            (3010, "const port = process.env.PORT || 3010;"),
            (
                3011,
                r#"#[arg(long, default_value = "3011")]
                      pub port: u16,"#,
            ),
            (3013, "env::var(\"PORT\").unwrap_or(3013_u16)"),
            (3012, r#"std::net::TcpListener::bind("[::]:3012")"#),
        ] {
            assert_eq!(port(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_not_bound_is_no_port() {
        for text in [
            r#"connect("postgres://127.0.0.1:5432/db")"#,
            r#"redis("127.0.0.1:6379")"#,
            r#"bind("127.0.0.1:0")"#,
            r#"// bind("0.0.0.0:3000")"#,
            "#[cfg(test)]\nmod tests { fn f() { bind(\"0.0.0.0:3000\") } }",
            r#"env::var("DB_PORT").unwrap_or("7777")"#,
        ] {
            assert_eq!(port(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_bound_goes_before_what_only_stands_there() {
        let text = "let upstream = \"127.0.0.1:9000\";\n\n\n\nlet x = 1;\n\n\
                    TcpListener::bind(\"0.0.0.0:4000\")";
        assert_eq!(port(text), Some(4000));
    }

    #[test]
    fn a_variable_without_a_default_is_told() {
        let clues = clues_of(r#"let port: u16 = env::var("PORT")?.parse()?;"#);
        assert_eq!(clues.port, None);
        assert_eq!(clues.port_variable.unwrap().value, "PORT");
    }

    fn routes(text: &str) -> (Option<String>, Vec<String>, Vec<String>) {
        let clues = clues_of(text);
        let gets = clues.gets.into_iter().map(|guess| guess.value).collect();
        (clues.ready.map(|guess| guess.value), gets, clues.others)
    }

    #[test]
    fn routes_of_common_frameworks_are_known() {
        let some = |text: &str| Some(text.to_owned());
        let list = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let axum = "Router::new()\n.route(\"/\", get(root))\n.route(\"/health\", get(health))\n\
                    .route(\n  \"/items\",\n  get(list).post(make),\n)\n\
                    .route(\"/items/{id}\", get(item))\n.route(\"/orders\", post(order))";
        let found = routes(axum);
        assert_eq!(found.0, some("/health"));
        assert_eq!(found.1, list(&["/items", "/"]));
        assert_eq!(found.2, list(&["GET /items/{id}", "POST /orders"]));
        let actix = "#[get(\"/ready\")]\n#[get(\"/live\")]\n#[post(\"/orders\")]";
        assert_eq!(routes(actix), (some("/ready"), Vec::new(), list(&["POST /orders"])));
        let hyper = "(&Method::GET, \"/healthz\") => ok(),\n(&Method::POST, \"/echo\") => echo(),";
        assert_eq!(routes(hyper), (some("/healthz"), Vec::new(), list(&["POST /echo"])));
        let by_hand =
            "if line.starts_with(\"GET /work HTTP/1.1\") {}\nmatch path { \"/health\" => 1 }";
        assert_eq!(routes(by_hand), (some("/health"), list(&["/work"]), Vec::new()));
        let flask = "@app.route('/health')\n@app.get('/a')";
        assert_eq!(routes(flask), (some("/health"), list(&["/a"]), Vec::new()));
    }

    #[test]
    fn other_paths_are_no_routes() {
        let text = "File::open(\"/etc/hosts\")\nlet x = path.split(\"/\");\nread(\"/proc/stat\")\n\
                    println!(\"/health\");\nclient.get(\"http://x/health\")";
        assert_eq!(routes(text), (None, Vec::new(), Vec::new()));
    }

    #[test]
    fn routes_below_others_are_not_relied_on() {
        let text = ".nest(\"/api\", Router::new().route(\"/health\", get(h)))";
        assert!(clues_of(text).nested);
        assert!(!clues_of(".mount(\"/\", routes![x])").nested);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,300}", code in "[a-z:(\"/. 0-9\\n\\]\\[,)#]{0,200}") {
            let _ = clues_of(&text);
            let _ = clues_of(&code);
        }
    }
}
