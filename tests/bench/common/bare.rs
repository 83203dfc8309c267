//! The least that sending on a schedule takes, as yardsticks for the load engine: each is one
//! thread around a timerfd that does nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use highwater::clock::nanos;
use highwater::event::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde_json::{Value, json};

use super::{monotonic_ns, pin, thread_cpu_ns};

/// What stands for the timer in epoll; connections stand for their index.
const TIMER: u64 = u64::MAX;

/// What a loop came to.
#[derive(Debug, Default)]
pub(crate) struct Looped {
    pub(crate) sent: u64,
    /// From due to just before the write, in microseconds.
    pub(crate) lateness: Histogram,
    /// From due to the answer, in microseconds; empty where nothing answers.
    pub(crate) latency: Histogram,
    /// CPU time of the loop's thread.
    pub(crate) cpu_ns: u64,
    /// Connections that were made.
    pub(crate) connections: u64,
}

impl Looped {
    fn of(lateness_us: &[u64], latency_us: &[u64], cpu_ns: u64) -> Self {
        let histogram = |times: &[u64]| {
            let mut histogram = Histogram::new();
            for us in times {
                histogram.record(*us);
            }
            histogram
        };
        Self {
            sent: lateness_us.len() as u64,
            lateness: histogram(lateness_us),
            latency: histogram(latency_us),
            cpu_ns,
            connections: 1,
        }
    }

    /// All of it that is to be kept.
    pub(crate) fn json(&self) -> Value {
        let of = |times: &Histogram| {
            let at = |percent| times.percentile(percent);
            json!({"p50": at(50.0), "p99": at(99.0), "p99_9": at(99.9), "max": times.max()})
        };
        json!({
            "sent": self.sent,
            "connections": self.connections,
            "lateness_us": of(&self.lateness),
            "latency_us": of(&self.latency),
            "cpu_ns": self.cpu_ns,
        })
    }
}

/// Wakes at each due time and writes one byte to a TCP connection on 127.0.0.1, whose other end is
/// read, and thrown away, by a thread on core 0. A thread of its own; times as nanoseconds of
/// `CLOCK_MONOTONIC`. Never waits out a rest: it goes when the kernel wakes it.
pub(crate) fn timer_loop(due_ns: Vec<u64>) -> Looped {
    let mut stream = thrown_away();
    let work = move || {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC);
        let timer = timer.expect("a timer can be had");
        let mut lateness_us = Vec::with_capacity(due_ns.len());
        let cpu = thread_cpu_ns();
        for due in due_ns {
            if monotonic_ns() < due {
                set(&timer, due);
                timer.wait().expect("a timer rings");
            }
            let now = monotonic_ns();
            stream.write_all(&[0]).expect("somebody reads");
            lateness_us.push(micros(due, now));
        }
        Looped::of(&lateness_us, &[], thread_cpu_ns() - cpu)
    };
    std::thread::spawn(work).join().expect("the loop does not panic")
}

/// A connection whose other end is read and thrown away.
fn thrown_away() -> TcpStream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound"));
    let stream = stream.expect("it listens");
    stream.set_nodelay(true).expect("sockets can be made so");
    let (mut reader, _) = listener.accept().expect("somebody has connected");
    std::thread::spawn(move || {
        pin(0);
        let mut buffer = [0; 4096];
        while reader.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    });
    stream
}

fn set(timer: &TimerFd, due_ns: u64) {
    let at = Expiration::OneShot(Duration::from_nanos(due_ns).into());
    timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).expect("a timer can be set");
}

fn micros(from_ns: u64, to_ns: u64) -> u64 {
    to_ns.saturating_sub(from_ns).div_ceil(1000)
}

/// Sends `GET /` at each due time and reads the answers: one epoll for the timer and all
/// connections, no blocking. Takes the idle connection that was used last, makes another one only
/// when none is idle, and lets what is due wait where there are `lines_max` already. It writes a request that was put together before, takes as many bytes
/// for a whole answer as the first one had, has no timeouts, and keeps two times a request.
pub(crate) fn client_loop(address: SocketAddr, due_ns: Vec<u64>, lines_max: usize) -> Looped {
    let work = move || {
        let mut client = Client::new(address, lines_max);
        client.run(&due_ns);
        let cpu_ns = client.cpu_ns;
        Looped {
            connections: client.lines.len() as u64,
            ..Looped::of(&client.lateness_us, &client.latency_us, cpu_ns)
        }
    };
    std::thread::spawn(work).join().expect("the loop does not panic")
}

/// A connection of the bare client.
struct Line {
    stream: TcpStream,
    due_ns: u64,
    /// Bytes of the answer that have not come yet.
    missing: usize,
}

struct Client {
    address: SocketAddr,
    epoll: Epoll,
    timer: TimerFd,
    request: Vec<u8>,
    answer_bytes: usize,
    lines: Vec<Line>,
    lines_max: usize,
    idle: Vec<usize>,
    buffer: Vec<u8>,
    lateness_us: Vec<u64>,
    latency_us: Vec<u64>,
    cpu_ns: u64,
}

impl Client {
    fn new(address: SocketAddr, lines_max: usize) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll can be had");
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).expect("a timer can be had");
        epoll
            .add(timer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, TIMER))
            .expect("a timer can be waited for");
        let mut client = Self {
            address,
            epoll,
            timer,
            request: format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes(),
            answer_bytes: 0,
            lines: Vec::new(),
            lines_max,
            idle: Vec::new(),
            buffer: vec![0; 64 << 10],
            lateness_us: Vec::new(),
            latency_us: Vec::new(),
            cpu_ns: 0,
        };
        client.connect();
        let stream = &mut client.lines[0].stream;
        stream.set_nonblocking(false).expect("sockets can be made so");
        stream.write_all(&client.request).expect("the server reads");
        client.answer_bytes = stream.read(&mut client.buffer).expect("the server answers");
        stream.set_nonblocking(true).expect("sockets can be made so");
        client
    }

    /// Makes an idle connection.
    fn connect(&mut self) {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_nodelay(true).expect("sockets can be made so");
        stream.set_nonblocking(true).expect("sockets can be made so");
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.lines.len() as u64);
        self.epoll.add(&stream, event).expect("a socket can be waited for");
        self.idle.push(self.lines.len());
        self.lines.push(Line { stream, due_ns: 0, missing: 0 });
    }

    fn run(&mut self, due_ns: &[u64]) {
        self.lateness_us.reserve(due_ns.len());
        self.latency_us.reserve(due_ns.len());
        let cpu = thread_cpu_ns();
        let mut events = [EpollEvent::empty(); 64];
        let mut next = 0;
        set(&self.timer, due_ns[0]);
        while self.latency_us.len() < due_ns.len() {
            let count = self.epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
            for event in &events[..count] {
                if event.data() == TIMER {
                    next = self.send_due(due_ns, next);
                } else {
                    let line = usize::try_from(event.data()).expect("connections are few");
                    self.receive(line);
                }
            }
            if due_ns.get(next).is_some_and(|due| *due <= monotonic_ns()) {
                next = self.send_due(due_ns, next);
            }
        }
        self.cpu_ns = thread_cpu_ns() - cpu;
    }

    /// Sends what is due, and sets the timer for what comes next.
    fn send_due(&mut self, due_ns: &[u64], mut next: usize) -> usize {
        while let Some(due) = due_ns.get(next)
            && *due <= monotonic_ns()
        {
            if self.idle.is_empty() && self.lines.len() >= self.lines_max {
                // The next answer makes room.
                return next;
            }
            self.send(*due);
            next += 1;
        }
        match due_ns.get(next) {
            Some(due) => set(&self.timer, *due),
            // Taking back its last ring keeps it silent from now on.
            None => drop(self.timer.wait()),
        }
        next
    }

    fn send(&mut self, due_ns: u64) {
        if self.idle.is_empty() {
            self.connect();
        }
        let number = self.idle.pop().expect("one was just made");
        let line = &mut self.lines[number];
        (line.due_ns, line.missing) = (due_ns, self.answer_bytes);
        let now = monotonic_ns();
        line.stream.write_all(&self.request).expect("a small request finds room");
        self.lateness_us.push(micros(due_ns, now));
    }

    fn receive(&mut self, number: usize) {
        let line = &mut self.lines[number];
        let bytes = match line.stream.read(&mut self.buffer) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the server broke a connection: {error}"),
        };
        assert!(bytes > 0 && bytes <= line.missing, "the server answers, and always alike");
        line.missing -= bytes;
        if line.missing == 0 {
            self.latency_us.push(micros(line.due_ns, monotonic_ns()));
            self.idle.push(number);
        }
    }
}

/// Due times from a start on, in nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn from_start(schedule: impl Iterator<Item = Duration>, start_ns: u64) -> Vec<u64> {
    schedule.map(|due| start_ns + nanos(due)).collect()
}
