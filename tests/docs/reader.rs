//! A reader who does what the pages say, page by page, and each page in a directory of its own.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::pages::{Block, Wish, blocks, pages};
use super::shell;
use super::support::harness::{Runtime, left_behind, turn};
use super::support::{fixtures, root};

/// Pages that are read at once: runs wait for time to pass more than for the CPU.
const READERS: usize = 3;
/// What a run ends with where this machine was too busy to be trusted, as it may be in a test.
const UNTRUSTED: i32 = 5;

#[test]
fn every_command_does_what_its_page_says() {
    let Some(runtime) = Runtime::BOTH.into_iter().find(|runtime| runtime.is_there()) else {
        return;
    };
    let _turn = turn();
    let began = Instant::now();
    let shared = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start();
    let mut left: Vec<_> = pages(root());
    // The longest first.
    left.sort_by_key(|(name, _)| name != "docs/first-run.md");
    left.reverse();
    let left = Mutex::new(left);
    let count = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                    let Some((name, text)) = next else { return };
                    let reader = Reader::new(&name, shared.path(), runtime, &server.address);
                    let blocks = blocks(&name, &text);
                    count.fetch_add(reader.read(&blocks), Ordering::Relaxed);
                }
            });
        }
    });
    let count = count.into_inner();
    assert!(count > 25, "only {count} commands were run");
    assert_eq!(left_behind(), Vec::<String>::new());
    let mut err = std::io::stderr();
    let _ = writeln!(err, "{count} commands in {:.1} s", began.elapsed().as_secs_f64());
}

/// A service on this host that pages send requests to, in the place of 127.0.0.1:8080.
struct Server {
    child: std::process::Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let port = port.expect("a port is free").port();
        let child = Command::new(fixtures())
            .args(["mixed", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the service starts");
        let address = format!("127.0.0.1:{port}");
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < until, "the service does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Reader {
    page: String,
    /// Where commands are typed; `cd` changes it.
    here: Arc<Mutex<PathBuf>>,
    shared: PathBuf,
    runtime: Runtime,
    server: String,
}

impl Reader {
    fn new(page: &str, shared: &Path, runtime: Runtime, server: &str) -> Self {
        let here = shared.join(page.replace(['/', '.'], "-"));
        std::fs::create_dir_all(&here).expect("a directory");
        let bin = shared.join("bin");
        std::fs::create_dir_all(&bin).expect("a directory");
        let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_highwater"), bin.join("highwater"));
        let reader = Self {
            page: page.to_owned(),
            here: Arc::new(Mutex::new(here)),
            shared: shared.to_owned(),
            runtime,
            server: server.to_owned(),
        };
        // The tutorial makes all by itself; other pages are read by those who have a service.
        if page != "docs/first-run.md" {
            reader.furnish();
        }
        reader
    }

    fn here(&self) -> PathBuf {
        self.here.lock().expect("one thread reads a page").clone()
    }

    /// A service, and a scenario with the phases that pages speak of.
    fn furnish(&self) {
        let here = self.here();
        super::scenarios::write_files(&here);
        let text = format!(
            "name = \"shop-api\"\n[target]\nbin = {:?}\nargs = [\"mixed\"]\n\
             port = 8080\nready = {{ http = \"/health\" }}\n{}",
            fixtures().to_string_lossy(),
            super::scenarios::SHOP
        );
        std::fs::write(here.join("highwater.toml"), text).expect("the file can be written");
    }

    /// Does what the blocks of a page say; gives how many commands were run.
    fn read(&self, blocks: &[Block]) -> u32 {
        let mut count = 0;
        for block in blocks {
            for wish in &block.wishes {
                match wish {
                    Wish::File(path) => self.write(block, path),
                    Wish::Patch(path) => self.patch(block, path),
                    _ => {}
                }
            }
            let parsed = block.wishes.iter().any(|wish| matches!(wish, Wish::Parse(_)));
            if block.language == "console" && !parsed {
                count += self.type_in(block);
            }
        }
        count
    }

    fn write(&self, block: &Block, path: &str) {
        let mut text = block.text.clone();
        if block.language == "toml" && self.page != "docs/first-run.md" {
            // Other pages have no crate to build: the same scenario, of a service that is there.
            let bin = format!("bin = {:?}\nargs = [\"mixed\"]", fixtures().to_string_lossy());
            text = text.replace("cargo  = { path = \".\" }", &bin);
        }
        std::fs::write(self.here().join(path), text).expect("the file can be written");
    }

    /// Applies a diff without line numbers: its old lines have to be in the file, once.
    fn patch(&self, block: &Block, path: &str) {
        let place = block.place();
        let file = self.here().join(path);
        let before = std::fs::read_to_string(&file).expect("the file is there");
        let side = |other: char| -> String {
            let kept = block.text.lines().filter(|line| !line.starts_with(other));
            kept.flat_map(|line| [line.get(1..).unwrap_or_default(), "\n"]).collect()
        };
        let (old, new) = (side('+'), side('-'));
        assert_eq!(before.matches(&old).count(), 1, "{place}: `{path}` does not have\n{old}");
        std::fs::write(&file, before.replace(&old, &new)).expect("the file can be written");
    }

    /// Runs the commands of a block; gives how many there were.
    fn type_in(&self, block: &Block) -> u32 {
        let commands = shell::commands(&block.text);
        for command in &commands {
            let command = shell::without_comment(command);
            match command.split_once(' ') {
                Some(("cd", directory)) => {
                    let mut here = self.here.lock().expect("one thread reads a page");
                    *here = here.join(directory);
                }
                Some(("highwater", _)) => self.run(block, command),
                Some(("cargo", rest)) if rest.starts_with("new ") => self.run(block, command),
                Some(("cargo", rest)) if rest.starts_with("run --release -- ") => {
                    self.run(block, &command.replace("cargo run --release -- ", "highwater "));
                }
                Some(("cargo", rest))
                    if rest.starts_with("test ") || rest.starts_with("install ") => {}
                Some(("docker", _)) => {}
                _ => panic!("{}: what is to become of `{command}`?", block.place()),
            }
        }
        u32::try_from(commands.len()).expect("a page has fewer")
    }

    fn run(&self, block: &Block, command: &str) {
        let mut command = command.replace("127.0.0.1:8080", &self.server);
        let (mut wanted, mut here) = (0, self.here());
        for wish in &block.wishes {
            match wish {
                Wish::With(more) => command = format!("{command} {more}"),
                Wish::Replace(from, to) => command = command.replace(from, to),
                Wish::Exit(code) => wanted = *code,
                Wish::InCheckout => {
                    let out = here.join(format!("out-{}", block.line));
                    command = format!("{command} --out {}", out.display());
                    root().clone_into(&mut here);
                }
                Wish::Parse(_) | Wish::File(_) | Wish::Patch(_) => {}
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let began = Instant::now();
        // Asks it to stop after a while, which no page means to take.
        let mut shell = Command::new("timeout");
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("HIGHWATER_")) {
            shell.env_remove(key);
        }
        let output = shell
            .args(["-s", "INT", "-k", "20", "150", "bash", "-c", &command])
            .current_dir(&here)
            .stdin(Stdio::null())
            .env("PATH", format!("{}:{path}", self.shared.join("bin").display()))
            .env("HIGHWATER_RUNTIME", self.runtime.name())
            .env("CARGO_NET_OFFLINE", "true")
            .output()
            .expect("timeout and bash run");
        let place = block.place();
        let (out, err) = (&output.stdout, &output.stderr);
        let code = output.status.code();
        let _ = writeln!(std::io::stderr(), "{place}: {:.1} s", began.elapsed().as_secs_f64());
        assert!(
            code == Some(wanted) || (wanted == 0 && code == Some(UNTRUSTED)),
            "{place}: {command}: {code:?}\n{}\n{}",
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(err)
        );
        if here != root() {
            super::tables::files_are_known(&here);
        }
    }
}
