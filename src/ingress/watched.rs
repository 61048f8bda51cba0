//! A caller's TCP connection, below TLS and HTTP. It is closed when a new connection needs its place, or when the head of a request
//! takes too long. The HTTP server limits the time of the first head of a connection only.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::hello;
use super::places::Connection;

/// A stream with its state.
pub(super) struct WatchedStream {
    stream: TcpStream,
    pub connection: Rc<Connection>,
    head_timeout: Duration,
    /// Whether its protocol is known to be that of its port, HTTP or TLS.
    pub is_recognised: bool,
    /// Fires when an arriving head may be late. It is reset only when it has fired, so a request does not cost a timer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl WatchedStream {
    pub fn new(stream: TcpStream, connection: Rc<Connection>, head_timeout: Duration) -> WatchedStream {
        WatchedStream {
            stream,
            connection,
            head_timeout,
            is_recognised: true,
            timer: None,
        }
    }

    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// An error if the connection must be closed.
    fn check_open(&self, context: &Context<'_>) -> io::Result<()> {
        match self.connection.is_closing(context.waker()) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    /// Refuses another protocol than HTTP/1.1. Returns true if it did; nothing more is read then.
    fn refuse(&self, first: &[u8]) -> bool {
        let Some(answer) = hello::refuse(first, self.peer(), &self.connection.metrics) else {
            return false;
        };
        self.connection.begin_request();
        // If the socket's buffer is full, the answer is dropped.
        self.stream.try_write(&answer).ok();
        true
    }

    /// An error when the head takes longer than its timeout.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(since) = self.connection.head_since() else {
            return Poll::Pending;
        };
        let due = since + self.head_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        while timer.as_mut().poll(context).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            timer.as_mut().reset(due.into());
        }
        Poll::Pending
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        let before = read.filled().len();
        if Pin::new(&mut self.stream).poll_read(context, read)?.is_pending() {
            return self.poll_late(context);
        }
        if read.filled().len() > before {
            self.connection.receive();
            if !std::mem::replace(&mut self.is_recognised, true) && self.refuse(&read.filled()[before..]) {
                read.set_filled(before);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl ActixStream for WatchedStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, context)
    }
}
