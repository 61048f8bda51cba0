//! A caller's TCP connection, under TLS and HTTP: it ends when its place is needed, and when the head of a request takes too
//! long. The server library bounds the first head of a connection only.

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

/// The stream, and what is known of it.
pub(super) struct Watched {
    stream: TcpStream,
    /// What is known of it.
    pub connection: Rc<Connection>,
    head_timeout: Duration,
    /// Whether it is known to speak HTTP or TLS, as its port does.
    pub greeted: bool,
    /// Rings when a head that is arriving may be late; it is left alone where none is, so that a request costs no timer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub fn new(stream: TcpStream, connection: Rc<Connection>, head_timeout: Duration) -> Watched {
        Watched {
            stream,
            connection,
            head_timeout,
            greeted: true,
            alarm: None,
        }
    }

    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// An error where its place is needed.
    fn open(&self, context: &Context<'_>) -> io::Result<()> {
        match self.connection.is_closed(context.waker()) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    /// Answers what is no HTTP/1.1; true where it was, and nothing more is to be read.
    fn refuse(&self, first: &[u8]) -> bool {
        let Some(answer) = hello::refuse(first, self.peer(), &self.connection.metrics) else {
            return false;
        };
        self.connection.hear();
        // A peer whose buffers take no line is owed none.
        self.stream.try_write(&answer).ok();
        true
    }

    /// An error once the head that is arriving is late.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(since) = self.connection.head_since() else {
            return Poll::Pending;
        };
        let due = since + self.head_timeout;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        while alarm.as_mut().poll(context).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            alarm.as_mut().reset(due.into());
        }
        Poll::Pending
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.open(context)?;
        let before = read.filled().len();
        if Pin::new(&mut self.stream).poll_read(context, read)?.is_pending() {
            return self.poll_late(context);
        }
        if read.filled().len() > before {
            self.connection.stir();
            if !std::mem::replace(&mut self.greeted, true) && self.refuse(&read.filled()[before..]) {
                read.set_filled(before);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.open(context)?;
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
        self.open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl ActixStream for Watched {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, context)
    }
}
