//! A notification from librdkafka's threads that there is an event to poll.

use std::ffi::c_void;

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;

use super::admin::Owned;

type Callback = Box<dyn Fn() + Send + Sync>;

/// Runs a callback whenever an event enters the empty main queue of a client, until it is dropped. It must be dropped before the client.
pub(in super::super) struct Notice {
    queue: Owned<sys::rd_kafka_queue_t>,
    /// Boxed twice: librdkafka keeps a thin pointer to the inner box, which does not move.
    _callback: Box<Callback>,
}

impl Notice {
    /// A thread of librdkafka that holds the queue's lock runs the callback, so the callback must neither block nor call librdkafka.
    pub fn new(client: &Client<impl ClientContext>, callback: Callback) -> Option<Notice> {
        let callback = Box::new(callback);
        let opaque = std::ptr::from_ref::<Callback>(&callback).cast_mut().cast::<c_void>();
        // SAFETY: the client is alive, and the queue's owner releases the reference. The callback outlives its use: dropping removes it
        // from librdkafka first, under the lock that librdkafka holds while it runs the callback.
        let queue = unsafe {
            let queue = Owned::new(
                sys::rd_kafka_queue_get_main(client.native_ptr()),
                sys::rd_kafka_queue_destroy,
            )?;
            sys::rd_kafka_queue_cb_event_enable(queue.pointer(), Some(run), opaque);
            queue
        };
        Some(Notice {
            queue,
            _callback: callback,
        })
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        // SAFETY: the queue is alive. librdkafka does not run the callback after this.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.queue.pointer(), None, std::ptr::null_mut()) };
    }
}

unsafe extern "C" fn run(_: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `Notice::new` passed this pointer, and the callback lives as long as librdkafka may run it.
    let callback = unsafe { &*opaque.cast::<Callback>() };
    callback();
}
