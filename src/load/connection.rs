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
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock::{Clock, Moment};
use crate::event::ErrorKind;
use crate::load::body::Payload;
use crate::load::deadline::{Cut, Slot};
use crate::load::socket::{Meter, Socket, Totals};

/// The most that one connection buffers in each direction, answer heads included.
const BUFFER_BYTES_MAX: usize = 128 << 10;

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
    /// Connects, unless the slot's deadline passes before.
    pub(super) async fn open(
        address: SocketAddr,
        clock: Clock,
        totals: Rc<Totals>,
        slot: &Slot,
    ) -> Result<Self, Failure> {
        let mut connecting = pin!(TcpStream::connect(address));
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
        let socket = TokioIo::new(Socket::new(stream, Rc::clone(&meter)));
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

    /// Sends a request and reads its answer to the end; gives its status. `on_sent` is called
    /// once, soon after the first byte was written.
    ///
    /// After a failure the connection is of no use.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Payload>,
        slot: &Slot,
        mut on_sent: impl FnMut(Moment),
    ) -> Result<u16, Failure> {
        self.meter.begin();
        self.used = true;
        let mut answer = pin!(self.sender.send_request(request));
        let (mut sent_seen, mut reading) = (false, None);
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
                let silent = reading.is_none() && !self.closed && !self.meter.has_news();
                let progress = if silent {
                    Poll::Pending
                } else {
                    poll_answer(answer.as_mut(), &mut reading, cx)
                };
                return match progress {
                    Poll::Ready(Ok(Progress::Some)) => continue,
                    Poll::Ready(Ok(Progress::Done(status))) => Poll::Ready(Ok(status)),
                    Poll::Ready(Err(kind)) => Poll::Ready(Err(Failure::Error(kind))),
                    Poll::Pending => slot.poll_cut(cx).map(|cut| Err(Failure::Cut(cut))),
                };
            }
        })
        .await
    }
}

/// How far an answer has come.
enum Progress {
    /// Something was read; the connection can go on.
    Some,
    /// All was read; the status.
    Done(u16),
}

/// Reads what there is of an answer and throws its body away.
fn poll_answer(
    answer: Pin<&mut impl Future<Output = hyper::Result<Response<Incoming>>>>,
    reading: &mut Option<(u16, Incoming)>,
    cx: &mut Context<'_>,
) -> Poll<Result<Progress, ErrorKind>> {
    let Some((status, body)) = reading else {
        let answer = match ready!(answer.poll(cx)) {
            Ok(answer) => answer,
            Err(error) => return Poll::Ready(Err(kind_of(&error))),
        };
        let status = answer.status().as_u16();
        let body = answer.into_body();
        if body.is_end_stream() {
            return Poll::Ready(Ok(Progress::Done(status)));
        }
        *reading = Some((status, body));
        return Poll::Ready(Ok(Progress::Some));
    };
    Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
        Some(Ok(_)) if body.is_end_stream() => Ok(Progress::Done(*status)),
        Some(Ok(_)) => Ok(Progress::Some),
        Some(Err(error)) => Err(kind_of(&error)),
        None => Ok(Progress::Done(*status)),
    })
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
