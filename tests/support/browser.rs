//! A headless Chromium, driven by the `DevTools` protocol over a pair of pipes: no port, no socket.
//!
//! `--remote-debugging-pipe` reads commands from descriptor 3 and answers on 4; a shell puts the
//! child's own standard input and output there.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// The browser, with one page.
pub(crate) struct Browser {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<Value>,
    events: VecDeque<Value>,
    number: u64,
    session: Option<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it; none where there is none.
    pub(crate) fn start() -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let name = names.into_iter().find(|name| {
            let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output();
            found.is_ok_and(|output| output.status.success())
        })?;
        let profile = tempfile::tempdir().expect("a temporary directory");
        let script = format!(
            "exec {name} --headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars \
             --disable-background-networking --disable-component-update --disable-sync \
             --disable-dev-shm-usage --user-data-dir=\"$0\" --remote-debugging-pipe \
             3<&0 4>&1 </dev/null >/dev/null 2>&1"
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell runs");
        let output = child.stdout.take().expect("it is piped");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let messages = BufReader::new(output).split(0);
            for message in messages.map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            input: child.stdin.take(),
            child,
            answers,
            events: VecDeque::new(),
            number: 0,
            session: None,
            _profile: profile,
        };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let id = target["targetId"].clone();
        let how = json!({ "targetId": id, "flatten": true });
        let session = self.call("Target.attachToTarget", &how);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Does one thing, and gives its result.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let input = self.input.as_mut().expect("the browser runs");
        input.write_all(message.to_string().as_bytes()).expect("the browser listens");
        input.write_all(&[0]).expect("the browser listens");
        input.flush().expect("the browser listens");
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.answers.recv_timeout(left);
            let answer = answer.unwrap_or_else(|_| panic!("the browser does not answer {method}"));
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.events.push_back(answer);
        }
    }

    /// Opens a file, and waits until it is loaded.
    pub(crate) fn open(&mut self, path: &Path) {
        self.events.clear();
        let url = format!("file://{}", path.display());
        self.call("Page.navigate", &json!({ "url": url }));
        let until = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.answers.recv_timeout(left).expect("the page loads");
            self.events.push_back(event);
        }
        self.settle();
    }

    /// Waits until what was asked for is drawn.
    pub(crate) fn settle(&mut self) {
        self.eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
    }

    /// What an expression gives in the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", &params);
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        result["result"]["value"].clone()
    }

    /// The middle of an element, scrolled into view.
    pub(crate) fn middle(&mut self, selector: &str) -> (f64, f64) {
        let selector = serde_json::to_string(selector).expect("a string");
        let found = self.eval(&format!(
            "(() => {{ const e = document.querySelector({selector}); \
             e.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const b = e.getBoundingClientRect(); \
             return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        ));
        let at = |n: usize| found[n].as_f64().expect("the element is there");
        (at(0), at(1))
    }

    pub(crate) fn mouse(&mut self, kind: &str, (x, y): (f64, f64), down: bool) {
        let pressed = if down { "left" } else { "none" };
        let params = json!({
            "type": kind, "x": x, "y": y, "button": pressed, "buttons": u8::from(down), "clickCount": 1
        });
        self.call("Input.dispatchMouseEvent", &params);
    }

    /// Presses the mouse's button on an element.
    pub(crate) fn click(&mut self, selector: &str) {
        let at = self.middle(selector);
        self.mouse("mouseMoved", at, false);
        self.mouse("mousePressed", at, true);
        self.mouse("mouseReleased", at, true);
        self.settle();
    }

    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({ "type": kind, "key": key }));
        }
        self.settle();
    }

    /// How wide the window is, and whether the reader prefers dark ground.
    pub(crate) fn look(&mut self, width: u32, height: u32, dark: bool) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let value = if dark { "dark" } else { "light" };
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", &scheme);
        self.settle();
    }

    /// Keeps a picture of the whole page.
    pub(crate) fn picture(&mut self, path: &Path) {
        self.settle();
        let taken = self.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let text = taken["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        std::fs::write(path, bytes).expect("the picture can be written");
    }

    /// What a page that is as it should be has none of: errors, warnings of the policy, and requests
    /// for anything but itself.
    pub(crate) fn troubles(&self, own: &Path) -> Vec<String> {
        let own = format!("file://{}", own.display());
        let told = |event: &Value| {
            let params = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => Some(params.to_string()),
                "Log.entryAdded" => Some(params["entry"].to_string()),
                "Network.requestWillBeSent" => {
                    let url = params["request"]["url"].as_str()?;
                    (url != own).then(|| format!("a request for {url}"))
                }
                _ => None,
            }
        };
        self.events.iter().filter_map(told).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when nobody can drive it any more.
        drop(self.input.take());
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
