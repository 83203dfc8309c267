//! Servers in processes of their own, bound to core 0: a fixture service, and one that this module
//! is, for what no service does.
//!
//! The latter is one thread around epoll. It takes each read for one request, since all who send
//! here write a request without a body at once and wait for its answer.

#![allow(clippy::print_stdout, reason = "a server tells the benchmark what it did")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{Backlog, listen};
use serde_json::{Value, json};

use super::{Ending, monotonic_ns, pinned, start_again};

/// Connections that may wait to be accepted: all that are made in a stall.
const BACKLOG: i32 = 4096;
const SECOND_NS: u64 = 1_000_000_000;
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, World!";
const BAD: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 13\r\n\r\nHello, Error!";
/// Of [`GOOD`], what is sent before a connection is closed in the middle.
const BROKEN_BYTES: usize = 45;

/// A server that runs until this is dropped.
pub(crate) struct Server {
    _child: Ending,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// The fixture service with small quick replies, on one thread.
    pub(crate) fn steady() -> Self {
        let mut command = pinned("0", super::fixtures());
        command.args(["--bind", "127.0.0.1", "--port", "0", "--threads", "1", "steady"]);
        Self::start(command)
    }

    /// The program started anew, which comes to [`serve_if_asked`].
    pub(crate) fn own(manner: &Manner) -> Self {
        let Manner { stall_s, every_s, first_s, mixed } = manner;
        let numbers = [*stall_s, *every_s, *first_s, u64::from(*mixed)];
        let numbers = numbers.map(|number| number.to_string());
        let arguments: Vec<&str> =
            std::iter::once("serve").chain(numbers.iter().map(String::as_str)).collect();
        Self::start(start_again(&["taskset", "-c", "0"], &arguments))
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = lines.next().expect("the server says where it listens").expect("text");
        let first: Value = serde_json::from_str(&first).expect("servers say it in JSON");
        let port = first["port"].as_u64().and_then(|port| port.try_into().ok());
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    kept.lock().expect("nobody panics with the lock").push(value);
                }
            }
        });
        let address = (Ipv4Addr::LOCALHOST, port.expect("a port")).into();
        Self { _child: Ending(child), address, log }
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().expect("nobody panics with the lock").clone()
    }

    /// The number that it said last under a name; 0 before.
    pub(crate) fn last(&self, name: &str) -> u64 {
        let log = self.log.lock().expect("nobody panics with the lock");
        log.iter().rev().find_map(|line| line[name].as_u64()).unwrap_or(0)
    }
}

/// How a server of our own answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// For how long it does nothing at all, in seconds; 0 for a server that never does.
    pub(crate) stall_s: u64,
    /// From the start of one stall to the next, in seconds.
    pub(crate) every_s: u64,
    /// From listening to the start of the first stall, in seconds.
    pub(crate) first_s: u64,
    /// Whether of 1,000 requests 100 are answered with 500 and one with half an answer and the
    /// connection's end. Otherwise all are answered with 200.
    pub(crate) mixed: bool,
}

/// Allows this process and its children as many open connections as it may, and at least so many.
pub(crate) fn allow_descriptors(needed: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked for");
    let limit = hard.max(needed);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).expect("needs root, or `ulimit -Hn` higher");
}

/// Serves for ever if the command line says so: to be called first in `main`.
pub(crate) fn serve_if_asked() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_none_or(|mode| mode != "serve") {
        return;
    }
    let number = |index: usize| -> u64 { arguments[index].parse().expect("a whole number") };
    let manner = Manner {
        stall_s: number(1),
        every_s: number(2),
        first_s: number(3),
        mixed: number(4) == 1,
    };
    Serving::new(manner).run();
}

/// A server of our own at work.
struct Serving {
    manner: Manner,
    epoll: Epoll,
    listener: TcpListener,
    /// By descriptor.
    peers: Vec<Option<TcpStream>>,
    open: u64,
    open_max: u64,
    served: u64,
    broken: u64,
    bad: u64,
    /// When the next stall begins and when the next line is due, in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    stall_ns: u64,
    say_ns: u64,
}

impl Serving {
    fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("sockets can be made so");
        // The standard library lets fewer wait, and who can't wait tries again a second later.
        let backlog = Backlog::new(BACKLOG).expect("a small number");
        listen(&listener, backlog).expect("a socket that listens can be told so again");
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll can be had");
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number_of(&listener));
        epoll.add(&listener, event).expect("a socket can be waited for");
        let port = listener.local_addr().expect("it is bound").port();
        println!("{}", json!({ "port": port }));
        let now = monotonic_ns();
        Self {
            manner,
            epoll,
            listener,
            peers: Vec::new(),
            open: 0,
            open_max: 0,
            served: 0,
            broken: 0,
            bad: 0,
            stall_ns: if manner.stall_s == 0 { u64::MAX } else { now + manner.first_s * SECOND_NS },
            say_ns: now + SECOND_NS,
        }
    }

    fn run(mut self) {
        let mut events = [EpollEvent::empty(); 1024];
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = self.epoll.wait(&mut events, 1_u8).unwrap_or(0);
            let now = monotonic_ns();
            if now >= self.stall_ns {
                // What has come meanwhile is answered afterwards, with all that comes in the stall.
                self.stall(now);
            }
            if now >= self.say_ns {
                self.say();
                self.say_ns = now + SECOND_NS;
            }
            for event in &events[..count] {
                if event.data() == number_of(&self.listener) {
                    self.accept(&mut buffer);
                } else {
                    self.answer(event.data(), &mut buffer);
                }
            }
        }
    }

    /// Does nothing for a while, and says from when to when.
    fn stall(&mut self, began_ns: u64) {
        let end = self.stall_ns + self.manner.stall_s * SECOND_NS;
        std::thread::sleep(Duration::from_nanos(end.saturating_sub(began_ns)));
        println!("{}", json!({"stall_from_ns": began_ns, "stall_to_ns": monotonic_ns()}));
        self.stall_ns += self.manner.every_s * SECOND_NS;
    }

    fn say(&self) {
        let Self { served, bad, broken, open, open_max, .. } = self;
        let line = json!({
            "served": served, "bad": bad, "broken": broken, "open": open, "open_max": open_max,
        });
        println!("{line}");
    }

    /// Takes in all who wait, and answers each at once.
    fn accept(&mut self, buffer: &mut [u8]) {
        while let Ok((peer, _)) = self.listener.accept() {
            peer.set_nonblocking(true).expect("sockets can be made so");
            peer.set_nodelay(true).expect("sockets can be made so");
            let number = number_of(&peer);
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
            self.epoll.add(&peer, event).expect("a socket can be waited for");
            let index = index(number);
            if self.peers.len() <= index {
                self.peers.resize_with(index + 1, || None);
            }
            self.peers[index] = Some(peer);
            self.open += 1;
            self.open_max = self.open_max.max(self.open);
            self.answer(number, buffer);
        }
    }

    /// Answers what has been asked on a connection, or forgets one that was closed.
    fn answer(&mut self, number: u64, buffer: &mut [u8]) {
        let Some(peer) = &mut self.peers[index(number)] else { return };
        let goes_on = match peer.read(buffer) {
            Ok(0) => false,
            Ok(_) => {
                self.served += 1;
                let breaks = self.manner.mixed && self.served % 1000 == 999;
                let fails = self.manner.mixed && self.served % 10 == 5;
                self.broken += u64::from(breaks);
                self.bad += u64::from(fails);
                let whole = if fails { BAD } else { GOOD };
                let part = if breaks { &whole[..BROKEN_BYTES] } else { whole };
                peer.write_all(part).is_ok() && !breaks
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if !goes_on {
            self.peers[index(number)] = None;
            self.open -= 1;
        }
    }
}

/// What stands for a socket in epoll.
fn number_of(socket: &impl AsRawFd) -> u64 {
    u64::try_from(socket.as_raw_fd()).expect("open descriptors are not negative")
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("descriptors are few")
}
