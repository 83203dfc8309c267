//! One HTTP/1.1 connection: a request out, its answer in, over one socket.
//!
//! It is driven by the task that uses it, so that an exchange wakes one task only, writes once and
//! reads once where the kernel lets it; an idle connection is driven by nobody. hyper's client,
//! which carries an exchange over channels between two state machines and makes each head anew,
//! took three times as much user time for the same (`tests/bench/README.md`).

use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use httparse::Header;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use nix::errno::Errno;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::clock::{Clock, Moment};
use crate::event::ErrorKind;
use crate::load::deadline::{Cut, Slot};
use crate::load::incoming::{Incoming, Sink};
use crate::load::payload::Payload;
use crate::load::reply::{Answer, Kept};
use crate::load::socket::{Drain, Wire};

/// A buffer for heads that grew beyond this is given back.
const HEAD_KEPT_MAX: usize = 4 << 10;

/// What the kernel may take in for a slow reader; it doubles this for its own bookkeeping.
const SLOW_BUFFER_BYTES: u32 = 16 << 10;

/// Why there is no complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Error(ErrorKind),
    Cut(Cut),
}

/// How much of an answer is kept after it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Its status; its head too where it sets a cookie.
    Status,
    /// Its status and head.
    Head,
    /// All of it.
    Body,
}

/// What an exchange needs beside the head.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) payload: Payload,
    /// Whether the answer has no body whatever its head says, as to HEAD.
    pub(super) bodiless: bool,
    /// Whether the answer may switch to another protocol, because the request asks for that.
    pub(super) may_switch: bool,
    pub(super) keep: Keep,
}

/// What a connection has carried of one request, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    /// When the first byte was written, as it was just before.
    pub(super) sent: Option<Moment>,
    /// When the answer's first byte was read.
    pub(super) first_byte: Option<Moment>,
    /// When the last read was.
    pub(super) last_read: Option<Moment>,
    pub(super) written: u64,
    pub(super) read: u64,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    clock: Clock,
    wire: Rc<Wire>,
    /// Only for a slow reader.
    drain: Option<Box<Drain>>,
    /// The request's head, and what stands between the chunks of its body.
    out: Vec<u8>,
    closed: bool,
    /// Whether it has carried a request before.
    pub(super) used: bool,
    /// When it became idle.
    pub(super) idle_since: Moment,
    /// What it has carried of the present request.
    pub(super) meter: Meter,
}

impl Connection {
    /// Connects, unless the slot's deadline passes before. With a `drain_rate` it reads so many
    /// bytes a second and no more.
    pub(super) async fn open(
        address: SocketAddr,
        clock: Clock,
        wire: Rc<Wire>,
        drain_rate: Option<u64>,
        slot: &Slot,
    ) -> Result<Self, Failure> {
        let mut connecting = pin!(connect(address, drain_rate.is_some()));
        let stream = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(result) => {
                Poll::Ready(result.map_err(|error| Failure::Error(kind_of_connect(&error))))
            }
            Poll::Pending => slot.poll_cut(cx).map(|cut| Err(Failure::Cut(cut))),
        })
        .await?;
        // Where it is refused, small requests may wait for an acknowledgement: slower, not wrong.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            clock,
            wire,
            drain: drain_rate.map(|rate| Box::new(Drain::new(rate))),
            out: Vec::new(),
            closed: false,
            used: false,
            idle_since: Moment::START,
            meter: Meter::default(),
        })
    }

    /// Whether another request can be sent. Notices a peer that has closed, or that says something
    /// unasked, as far as known.
    pub(super) fn is_usable(&self) -> bool {
        let silent = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        !self.closed && self.stream.try_read(&mut [0]).is_err_and(silent)
    }

    /// Where the head of the next request is to be written.
    pub(super) fn head(&mut self) -> &mut Vec<u8> {
        self.out.clear();
        &mut self.out
    }

    /// Sends the request whose head was written before, and reads its answer to the end.
    /// `on_sent` is called once, soon after the first byte was written.
    ///
    /// After a failure the connection is of no use.
    pub(super) async fn exchange(
        &mut self,
        exchange: Exchange,
        slot: &Slot,
        mut on_sent: impl FnMut(Moment),
    ) -> Result<Answer, Failure> {
        self.meter = Meter::default();
        self.used = true;
        let Exchange { payload, bodiless, may_switch, keep } = exchange;
        let mut upload = Upload::new(payload);
        let mut incoming = Incoming::new(bodiless, may_switch);
        let mut reader = Reader { keep, wire: Rc::clone(&self.wire), answer: Answer::default() };
        let mut told = false;
        let result = poll_fn(|cx| {
            if !upload.is_over {
                // An answer may have come although the request could not be sent to its end.
                upload.is_over = match self.poll_send(&mut upload, cx) {
                    Poll::Ready(Ok(())) => true,
                    Poll::Ready(Err(_)) => {
                        self.closed = true;
                        true
                    }
                    Poll::Pending => false,
                };
                if !told && let Some(at) = self.meter.sent {
                    told = true;
                    on_sent(at);
                }
            }
            match self.poll_receive(&mut incoming, &mut reader, cx) {
                Poll::Ready(result) => Poll::Ready(result.map_err(Failure::Error)),
                Poll::Pending => slot.poll_cut(cx).map(|cut| Err(Failure::Cut(cut))),
            }
        })
        .await;
        self.closed |= !upload.is_over || !incoming.persists();
        if self.out.capacity() > HEAD_KEPT_MAX {
            self.out = Vec::new();
        }
        result.map(|()| reader.answer)
    }

    /// Writes what there is to write; ready when all was written.
    fn poll_send(&mut self, upload: &mut Upload, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let filled = upload.poll_fill(&mut self.out, cx);
            let head = &self.out[upload.head_written..];
            let left = head.len() + upload.chunk.len();
            if left == 0 {
                return filled.map(Ok);
            }
            // The write itself may take long: the kernel copies, and may deliver at once.
            let before = self.meter.sent.is_none().then(|| self.clock.now());
            let stream = Pin::new(&mut self.stream);
            let written = ready!(if upload.chunk.is_empty() {
                stream.poll_write(cx, head)
            } else {
                let parts = [IoSlice::new(head), IoSlice::new(&upload.chunk)];
                stream.poll_write_vectored(cx, &parts)
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.meter.sent = self.meter.sent.or(before);
            self.meter.written += written as u64;
            self.wire.written.set(self.wire.written.get() + written as u64);
            let of_head = written.min(head.len());
            upload.head_written += of_head;
            upload.chunk.advance(written - of_head);
        }
    }

    /// Reads what there is to read; ready when the answer is whole, or never will be.
    fn poll_receive(
        &mut self,
        incoming: &mut Incoming,
        reader: &mut Reader,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ErrorKind>> {
        let wire = Rc::clone(&self.wire);
        let mut buffer = wire.buffer.borrow_mut();
        loop {
            let mut room = ReadBuf::new(&mut buffer);
            let stream = Pin::new(&mut self.stream);
            let read = ready!(match &mut self.drain {
                None => stream.poll_read(cx, &mut room),
                Some(drain) => drain.poll_read(stream, cx, &mut room),
            });
            let bytes = room.filled();
            if read.is_err() || bytes.is_empty() {
                self.closed = true;
                let begun = self.meter.read > 0;
                return Poll::Ready(match read {
                    Ok(()) if incoming.ends() => Ok(()),
                    Ok(()) if begun => Err(ErrorKind::CutShort),
                    Ok(()) | Err(_) => Err(ErrorKind::Reset),
                });
            }
            self.meter.last_read = Some(self.clock.now());
            self.meter.first_byte = self.meter.first_byte.or(self.meter.last_read);
            self.meter.read += bytes.len() as u64;
            wire.read.set(wire.read.get() + bytes.len() as u64);
            match incoming.feed(bytes, reader) {
                Ok(false) => {}
                Ok(true) => return Poll::Ready(Ok(())),
                Err(_malformed) => return Poll::Ready(Err(ErrorKind::Protocol)),
            }
        }
    }
}

/// A request on its way out.
#[derive(Debug)]
struct Upload {
    payload: Payload,
    chunk: Bytes,
    /// How much of the connection's `out` was written.
    head_written: usize,
    /// Whether a chunk was begun that lacks its line end.
    in_chunk: bool,
    /// Whether the payload has given its last.
    is_filled: bool,
    is_over: bool,
}

impl Upload {
    fn new(payload: Payload) -> Self {
        Self {
            payload,
            chunk: Bytes::new(),
            head_written: 0,
            in_chunk: false,
            is_filled: false,
            is_over: false,
        }
    }

    /// Takes the next of the payload when all before it is on its way; ready when there is no more.
    fn poll_fill(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.chunk.is_empty() {
            return Poll::Pending;
        }
        if self.is_filled {
            return Poll::Ready(());
        }
        let next = ready!(self.payload.poll_chunk(cx));
        if self.head_written == out.len() {
            out.clear();
            self.head_written = 0;
        }
        if self.payload.is_chunked() {
            let end = if std::mem::take(&mut self.in_chunk) { "\r\n" } else { "" };
            // Writing to memory never fails.
            let _ = match &next {
                Some(chunk) => write!(out, "{end}{:x}\r\n", chunk.len()),
                None => write!(out, "{end}0\r\n\r\n"),
            };
            self.in_chunk = next.is_some();
        }
        match next {
            Some(chunk) => {
                self.chunk = chunk;
                Poll::Pending
            }
            None => {
                self.is_filled = true;
                Poll::Ready(())
            }
        }
    }
}

/// Keeps of an answer what is asked for, and counts the rest.
struct Reader {
    keep: Keep,
    wire: Rc<Wire>,
    answer: Answer,
}

impl Sink for Reader {
    fn head(&mut self, status: u16, headers: &[Header<'_>]) {
        self.answer.status = status;
        let sets_cookie = || headers.iter().any(|row| row.name.eq_ignore_ascii_case("set-cookie"));
        if self.keep != Keep::Status || sets_cookie() {
            let named = headers.iter().filter_map(|row| {
                let name = HeaderName::from_bytes(row.name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_bytes(row.value).ok()?))
            });
            self.answer.headers = named.fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            });
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        self.answer.body_bytes += bytes.len() as u64;
        if self.keep == Keep::Body {
            self.answer.body.get_or_insert_with(|| Kept::new(&self.wire)).push(bytes);
        }
    }
}

/// Connects. A slow reader gives the kernel little room to read ahead, which otherwise takes in
/// megabytes and hides from the target that its reader is slow.
async fn connect(address: SocketAddr, slow: bool) -> io::Result<TcpStream> {
    if !slow {
        return TcpStream::connect(address).await;
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    socket.connect(address).await
}

fn kind_of_connect(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => ErrorKind::Reset,
        _ if [Errno::EMFILE, Errno::ENFILE].contains(&errno_of(error)) => ErrorKind::Descriptors,
        _ => ErrorKind::Connect,
    }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}
