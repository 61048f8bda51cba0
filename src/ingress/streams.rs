//! How many requests of one connection are in progress. HTTP/2 lets a peer open as many at once as it likes, and the server
//! below tells it no limit; so those beyond a limit are turned away before they hold anything.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpRequest;
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;

/// What Go's client keeps to where it is told nothing; OpenIM's callbacks come from one.
const STREAMS_MAX: usize = 1000;

/// The requests of one connection whose answers are not yet on their way.
#[derive(Clone, Default)]
pub(super) struct Streams(Rc<Cell<usize>>);

/// One of them; it ends when this is dropped.
pub(super) struct Stream(Streams);

impl Streams {
    /// One more, unless there are too many.
    pub fn begin(request: &HttpRequest) -> Option<Stream> {
        let streams = request.conn_data::<Streams>().cloned().unwrap_or_default();
        let count = streams.0.get();
        (count < STREAMS_MAX).then(|| {
            streams.0.set(count + 1);
            Stream(streams)
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// An answer's body. A peer that takes no answers keeps its requests in progress.
pub(super) struct Answer {
    pub body: Bytes,
    pub stream: Option<Stream>,
}

impl MessageBody for Answer {
    type Error = <Bytes as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
