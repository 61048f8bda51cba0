//! A word from librdkafka's threads when there is something to poll.

use std::ffi::c_void;

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;

use super::admin::Owned;

type Call = Box<dyn Fn() + Send + Sync>;

/// Calls whenever something comes into a client's main queue while it is empty, until it is dropped. It must be dropped before the client.
pub(in super::super) struct Notice {
    queue: Owned<sys::rd_kafka_queue_t>,
    /// Boxed twice: librdkafka keeps a thin pointer to the inner box, which stays where it is.
    _call: Box<Call>,
}

impl Notice {
    /// The call comes from a thread of librdkafka, which holds its queue's lock: it must not block, nor call librdkafka.
    pub fn new(client: &Client<impl ClientContext>, call: Call) -> Option<Notice> {
        let call = Box::new(call);
        let opaque = std::ptr::from_ref::<Call>(&call).cast_mut().cast::<c_void>();
        // SAFETY: the client is alive, and the queue's owner gives back what this takes. The call outlives its use: dropping takes it
        // from librdkafka first, under the lock under which it is called.
        let queue = unsafe {
            let queue = Owned::new(
                sys::rd_kafka_queue_get_main(client.native_ptr()),
                sys::rd_kafka_queue_destroy,
            )?;
            sys::rd_kafka_queue_cb_event_enable(queue.pointer(), Some(tell), opaque);
            queue
        };
        Some(Notice { queue, _call: call })
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        // SAFETY: the queue is alive; nothing is called after this.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.queue.pointer(), None, std::ptr::null_mut()) };
    }
}

unsafe extern "C" fn tell(_: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: it is what `Notice::new` gave, which lives for as long as this can be called.
    let call = unsafe { &*opaque.cast::<Call>() };
    call();
}
