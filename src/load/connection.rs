//! One HTTP/1.1 connection. It is driven by the task that uses it, so that an exchange wakes one
//! task only; an idle connection is driven by nobody until it is looked at again.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::SET_COOKIE;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock::{Clock, Moment};
use crate::event::ErrorKind;
use crate::load::deadline::{Cut, Slot};
use crate::load::payload::Payload;
use crate::load::reply::{Answer, Kept};
use crate::load::socket::{Drain, Meter, Socket, Totals};

/// The most that one connection buffers in each direction, answer heads included.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// What the kernel may take in for a slow reader; it doubles this for its own bookkeeping.
const SLOW_BUFFER_BYTES: u32 = 16 << 10;

/// Why there is no complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Error(ErrorKind),
    Cut(Cut),
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Payload>,
    driver: Pin<Box<http1::Connection<TokioIo<Socket>, Payload>>>,
    closed: bool,
    /// Whether it has carried a request before.
    pub(super) used: bool,
    /// When it became idle.
    pub(super) idle_since: Moment,
    /// What it has carried of the present request.
    pub(super) meter: Rc<Meter>,
}

impl Connection {
    /// Connects, unless the slot's deadline passes before. With a `drain_rate` it reads so many
    /// bytes a second and no more.
    pub(super) async fn open(
        address: SocketAddr,
        clock: Clock,
        totals: Rc<Totals>,
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
        let meter = Rc::new(Meter::new(clock, totals));
        let drain = drain_rate.map(Drain::new);
        let socket = TokioIo::new(Socket::new(stream, Rc::clone(&meter), drain));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let (sender, driver) =
            builder.handshake(socket).await.map_err(|error| Failure::Error(kind_of(&error)))?;
        Ok(Self {
            sender,
            driver: Box::pin(driver),
            closed: false,
            used: false,
            idle_since: Moment::START,
            meter,
        })
    }

    /// Whether another request can be sent. Notices a peer that has closed, as far as known.
    pub(super) fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.closed && self.sender.is_ready()
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.closed && self.driver.as_mut().poll(cx).is_ready() {
            self.closed = true;
        }
    }

    /// Sends a request and reads its answer to the end; `keep` says how much of that is kept.
    /// `on_sent` is called once, soon after the first byte was written.
    ///
    /// After a failure the connection is of no use.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Payload>,
        keep: Keep,
        slot: &Slot,
        mut on_sent: impl FnMut(Moment),
    ) -> Result<Answer, Failure> {
        self.meter.begin();
        self.used = true;
        let mut answer = pin!(self.sender.send_request(request));
        let totals = self.meter.totals();
        let mut reader = Reader { keep, totals, answer: Answer::default(), body: None };
        let mut sent_seen = false;
        poll_fn(|cx| {
            loop {
                if !self.closed && self.driver.as_mut().poll(cx).is_ready() {
                    self.closed = true;
                }
                if !sent_seen && let Some(at) = self.meter.sent() {
                    sent_seen = true;
                    on_sent(at);
                }
                // Not asked before there can be an answer: else its arrival would wake this very
                // task once more.
                let silent = reader.body.is_none() && !self.closed && !self.meter.has_news();
                let progress =
                    if silent { Poll::Pending } else { reader.poll(answer.as_mut(), cx) };
                return match progress {
                    Poll::Ready(Ok(Progress::Some)) => continue,
                    Poll::Ready(Ok(Progress::Done)) => {
                        Poll::Ready(Ok(std::mem::take(&mut reader.answer)))
                    }
                    Poll::Ready(Err(kind)) => Poll::Ready(Err(Failure::Error(kind))),
                    Poll::Pending => slot.poll_cut(cx).map(|cut| Err(Failure::Cut(cut))),
                };
            }
        })
        .await
    }
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

/// How far an answer has come.
enum Progress {
    /// Something was read; the connection can go on.
    Some,
    /// All was read.
    Done,
}

/// Reads an answer and throws away what nobody needs of it.
struct Reader {
    keep: Keep,
    totals: Rc<Totals>,
    answer: Answer,
    body: Option<Incoming>,
}

impl Reader {
    fn poll(
        &mut self,
        answer: Pin<&mut impl Future<Output = hyper::Result<Response<Incoming>>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Progress, ErrorKind>> {
        let Some(body) = &mut self.body else {
            let answer = match ready!(answer.poll(cx)) {
                Ok(answer) => answer,
                Err(error) => return Poll::Ready(Err(kind_of(&error))),
            };
            let (head, body) = answer.into_parts();
            self.answer.status = head.status.as_u16();
            if self.keep != Keep::Status || head.headers.contains_key(SET_COOKIE) {
                self.answer.headers = head.headers;
            }
            if body.is_end_stream() {
                return Poll::Ready(Ok(Progress::Done));
            }
            self.body = Some(body);
            return Poll::Ready(Ok(Progress::Some));
        };
        Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let ended = body.is_end_stream();
                if let Some(data) = frame.data_ref() {
                    self.answer.body_bytes += data.len() as u64;
                    if self.keep == Keep::Body {
                        let kept = self.answer.body.get_or_insert_with(|| Kept::new(&self.totals));
                        kept.push(data);
                    }
                }
                Ok(if ended { Progress::Done } else { Progress::Some })
            }
            Some(Err(error)) => Err(kind_of(&error)),
            None => Ok(Progress::Done),
        })
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
        _ => ErrorKind::Connect,
    }
}

/// An end before its time is a reset, were it orderly or not; what can't be read is a fault of
/// the protocol.
fn kind_of(error: &hyper::Error) -> ErrorKind {
    if error.is_parse() {
        return ErrorKind::Protocol;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ErrorKind::Protocol,
                _ => ErrorKind::Reset,
            };
        }
        source = cause.source();
    }
    ErrorKind::Reset
}
