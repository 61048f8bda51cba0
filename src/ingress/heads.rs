//! A bound on the heads of HTTP/2 requests, which the server library does not have: it would take 16 MiB of them, unpack them
//! and work on them for minutes before it shows them to anybody. So their frames are counted as they come in.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Metrics, hello};

/// Bytes of one head as it is sent, packed: what fits into one frame of the size that every peer must take.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// `PRI * HTTP/2.0` and so on, in front of a client's first frame (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Length, type, flags and stream (RFC 9113, section 4.1).
const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// A connection that ends when a peer sends a longer head.
pub(super) struct BoundedHeads<T> {
    connection: T,
    /// `None` for HTTP/1.1, whose heads the server library bounds.
    frames: Option<Frames>,
    /// For the first bytes of a connection without TLS.
    greeting: Option<(Metrics, Option<SocketAddr>)>,
}

impl<T> BoundedHeads<T> {
    pub fn new(connection: T, is_http2: bool) -> BoundedHeads<T> {
        let frames = is_http2.then(Frames::new);
        BoundedHeads {
            connection,
            frames,
            greeting: None,
        }
    }

    pub fn greeted(connection: T, metrics: Metrics, peer: Option<SocketAddr>) -> BoundedHeads<T> {
        BoundedHeads {
            connection,
            frames: None,
            greeting: Some((metrics, peer)),
        }
    }
}

/// How far the frames of a connection have been followed.
struct Frames {
    /// Bytes until the next frame's header.
    skip: usize,
    header: [u8; FRAME_HEADER_BYTES],
    /// Bytes of the next frame's header that are there.
    have: usize,
    /// Bytes of the head in progress, its frames' headers too: frames without anything in them cost work as well.
    head: usize,
}

impl Frames {
    fn new() -> Frames {
        Frames {
            skip: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            have: 0,
            head: 0,
        }
    }

    /// Follows what came in; false when a head has become too long.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(FRAME_HEADER_BYTES - self.have);
            if self.skip > 0 || taken == 0 {
                return true;
            }
            self.header[self.have..][..taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < FRAME_HEADER_BYTES {
                return true;
            }
            let [high, middle, low, kind, ..] = self.header;
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            (self.skip, self.have) = (length, 0);
            self.head = match kind {
                HEADERS => length,
                CONTINUATION => self.head + FRAME_HEADER_BYTES + length,
                _ => continue,
            };
            if self.head > HEAD_BYTES_MAX {
                return false;
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for BoundedHeads<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = read.filled().len();
        ready!(Pin::new(&mut self.connection).poll_read(context, read))?;
        if let Some((metrics, peer)) = self.greeting.take()
            && let Some(answer) = hello::refuse(&read.filled()[before..], peer, &metrics)
        {
            // It is short, and the first that is written.
            Pin::new(&mut self.connection).poll_write(context, &answer).is_ready();
            read.set_filled(before);
            return Poll::Ready(Ok(()));
        }
        let is_within = |frames: &mut Frames| frames.follow(&read.filled()[before..]);
        if self.frames.as_mut().is_none_or(is_within) {
            return Poll::Ready(Ok(()));
        }
        read.set_filled(before);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a head above 16 KiB")))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for BoundedHeads<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = 0;

    /// A client's bytes: the preface and these frames, by type and length.
    fn sent(frames: &[(u8, usize)]) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, length) in frames {
            bytes.extend_from_slice(&(*length as u32).to_be_bytes()[1..]);
            bytes.extend_from_slice(&[*kind, 0, 0, 0, 0, 1]);
            // Looks like the header of an endless CONTINUATION to whoever takes a payload for one.
            bytes.extend(std::iter::repeat_n(CONTINUATION, *length));
        }
        bytes
    }

    fn passes(frames: &[(u8, usize)], piece: usize) -> bool {
        let mut follower = Frames::new();
        sent(frames).chunks(piece).all(|piece| follower.follow(piece))
    }

    #[test]
    fn a_head_is_counted_over_its_frames_however_they_are_cut() {
        for piece in [1, 2, 7, 9, 1000, usize::MAX] {
            assert!(passes(&[(HEADERS, HEAD_BYTES_MAX)], piece));
            assert!(!passes(&[(HEADERS, HEAD_BYTES_MAX + 1)], piece));
            assert!(passes(&[(HEADERS, 8000), (CONTINUATION, 8000)], piece));
            assert!(!passes(&[(HEADERS, 8000), (CONTINUATION, 8400)], piece));
            assert!(!passes(
                &[&[(HEADERS, 1)][..], &[(CONTINUATION, 0); 2000]].concat(),
                piece
            ));
        }
    }

    #[test]
    fn bodies_and_many_heads_are_no_long_head() {
        let request = [(HEADERS, 9000), (DATA, 100_000), (HEADERS, 9000)];
        for piece in [1, 1000, usize::MAX] {
            assert!(passes(&request.repeat(5), piece));
        }
    }
}
