//! One admin request to librdkafka and its answer, and owners that free librdkafka's allocations for both.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::{RDKafkaAdminOp, RDKafkaEvent, RDKafkaRespErr};

/// How much later than its time-out librdkafka may report the time-out.
const GRACE: Duration = Duration::from_secs(1);
/// The longest time-out that librdkafka accepts.
const TIMEOUT_MAX_MS: u128 = 3_600_000;
/// The longest error message that librdkafka writes for an option that it refuses.
pub(super) const MESSAGE_BYTES: usize = 512;

/// One admin request: its options, and its own queue for the answer.
pub(super) struct Admin {
    options: Owned<sys::rd_kafka_AdminOptions_t>,
    queue: Owned<sys::rd_kafka_queue_t>,
}

impl Admin {
    pub(super) fn new(
        client: &Client<impl ClientContext>,
        request: RDKafkaAdminOp,
        timeout: Duration,
    ) -> KafkaResult<Admin> {
        // SAFETY: the client is alive.
        let (options, queue) = unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client.native_ptr(), request);
            let queue = sys::rd_kafka_queue_new(client.native_ptr());
            (
                Owned::new(options, sys::rd_kafka_AdminOptions_destroy),
                Owned::new(queue, sys::rd_kafka_queue_destroy),
            )
        };
        let admin = Admin {
            options: options.ok_or_else(out_of_memory)?,
            queue: queue.ok_or_else(out_of_memory)?,
        };
        admin.option(sys::rd_kafka_AdminOptions_set_request_timeout, milliseconds(timeout))?;
        Ok(admin)
    }

    /// Makes the controller answer only when all brokers know the topics.
    pub(super) fn wait_for_the_operation(&self, timeout: Duration) -> KafkaResult<()> {
        self.option(sys::rd_kafka_AdminOptions_set_operation_timeout, milliseconds(timeout))
    }

    pub(super) fn validate_only(&self) -> KafkaResult<()> {
        self.option(sys::rd_kafka_AdminOptions_set_validate_only, 1)
    }

    fn option(
        &self,
        set: unsafe extern "C" fn(*mut sys::rd_kafka_AdminOptions_t, c_int, *mut c_char, usize) -> RDKafkaRespErr,
        value: c_int,
    ) -> KafkaResult<()> {
        let mut message = [0; MESSAGE_BYTES];
        // SAFETY: the options are alive, and so is the buffer during the call.
        let outcome = unsafe { set(self.options.pointer(), value, message.as_mut_ptr(), message.len()) };
        check(outcome).map_err(|_| refused_option(&message))
    }

    pub(super) fn include_authorized_operations(&self) -> KafkaResult<()> {
        // SAFETY: the options are alive. An error belongs to the caller, and its owner frees it.
        let error = unsafe {
            let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(self.options.pointer(), 1);
            Owned::new(error, sys::rd_kafka_error_destroy)
        };
        let Some(error) = error else { return Ok(()) };
        // SAFETY: the error is alive.
        let code = unsafe { sys::rd_kafka_error_code(error.pointer()) };
        check(code).map_err(KafkaError::AdminOp)
    }

    /// Sends the request and waits for an event of the `wanted` type. If the queue is dropped before the answer comes, librdkafka frees
    /// the queue together with the late answer.
    pub(super) fn ask(
        &self,
        timeout: Duration,
        wanted: i32,
        send: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) -> KafkaResult<Owned<RDKafkaEvent>> {
        send(self.options.pointer(), self.queue.pointer());
        let deadline = Instant::now() + timeout + GRACE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // SAFETY: the queue is alive. An event belongs to the caller, and its owner frees it.
            let event = unsafe {
                let event = sys::rd_kafka_queue_poll(self.queue.pointer(), milliseconds(left));
                Owned::new(event, sys::rd_kafka_event_destroy)
            };
            let Some(event) = event else {
                return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
            };
            // SAFETY: the event is alive.
            let (kind, outcome) = unsafe {
                (
                    sys::rd_kafka_event_type(event.pointer()),
                    sys::rd_kafka_event_error(event.pointer()),
                )
            };
            if kind == wanted {
                return check(outcome).map(|()| event).map_err(KafkaError::AdminOp);
            }
        }
    }
}

/// An object of librdkafka that is freed when this is dropped.
pub(super) struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// `None` for null.
    ///
    /// # Safety
    /// Nothing else frees `pointer`, and `destroy` is the function that frees its type.
    pub(super) unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
        NonNull::new(pointer).map(|pointer| Owned { pointer, destroy })
    }

    pub(super) fn pointer(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: promised to `new`; nothing uses the pointer after this.
        unsafe { (self.destroy)(self.pointer()) }
    }
}

/// The elements of an array of pointers, without those that are null.
///
/// # Safety
/// `first` must be null or point to `count` pointers, which must live as long as the iterator.
pub(super) unsafe fn array<T>(first: *mut *const T, count: usize) -> impl Iterator<Item = *const T> {
    let count = if first.is_null() { 0 } else { count };
    // SAFETY: promised by the caller.
    let element = move |index| unsafe { first.add(index).read() };
    (0..count).map(element).filter(|element| !element.is_null())
}

/// A copy of a C string; `None` for null and for an empty string.
///
/// # Safety
/// `string` must be null or end with a zero.
pub(super) unsafe fn text(string: *const c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}

pub(super) fn check(outcome: RDKafkaRespErr) -> Result<(), RDKafkaErrorCode> {
    match outcome {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(error.into()),
    }
}

pub(super) fn milliseconds(time: Duration) -> c_int {
    time.as_millis().min(TIMEOUT_MAX_MS) as c_int
}

pub(super) fn refused_option(message: &[c_char; MESSAGE_BYTES]) -> KafkaError {
    let bytes = message.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0);
    KafkaError::AdminOpCreation(String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned())
}

pub(super) fn out_of_memory() -> KafkaError {
    KafkaError::AdminOp(RDKafkaErrorCode::CriticalSystemResource)
}
