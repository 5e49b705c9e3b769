//! librdkafka's mock cluster: brokers in this process that speak the real protocol.

use std::ffi::{CStr, CString, c_int};

use rdkafka_sys as sys;

use super::{Client, raw};

/// The mock cluster of a client that was created with `test.mock.num.brokers`. It lives as long as the client.
pub(crate) struct Mock(Client);

impl Mock {
    pub(crate) fn new(client: Client) -> Option<Self> {
        let mock = Self(client);
        (!mock.native().is_null()).then_some(mock)
    }

    fn native(&self) -> *mut sys::rd_kafka_mock_cluster_t {
        // SAFETY: the client lives, because only the drop of this value destroys it. librdkafka returns null if there
        // is no mock
        // cluster.
        self.0.with_rk(|rk| unsafe { sys::rd_kafka_handle_mock_cluster(rk) }).unwrap_or(std::ptr::null_mut())
    }

    pub(crate) fn bootstrap(&self) -> String {
        // SAFETY: a terminated string that lives as long as the cluster.
        unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.native())) }.to_string_lossy().into_owned()
    }

    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), i32> {
        let topic = CString::new(topic).map_err(|_| crate::codes::LOCAL_INVALID_ARG)?;
        // SAFETY: the cluster lives; the name is terminated and copied.
        code(unsafe { raw::rd_kafka_mock_topic_create(self.native(), topic.as_ptr(), partitions, 1) })
    }

    pub(crate) fn push_errors(&self, api_key: i16, codes: &[i32]) {
        // SAFETY: the cluster lives; the count passed is that of the codes, which are copied.
        unsafe {
            raw::rd_kafka_mock_push_request_errors_array(self.native(), api_key, codes.len(), codes.as_ptr());
        }
    }

    pub(crate) fn set_topic_error(&self, topic: &str, code: c_int) -> Result<(), i32> {
        let topic = CString::new(topic).map_err(|_| crate::codes::LOCAL_INVALID_ARG)?;
        // SAFETY: the cluster lives; the name is terminated and copied.
        unsafe { raw::rd_kafka_mock_topic_set_error(self.native(), topic.as_ptr(), code) };
        Ok(())
    }

    pub(crate) fn set_up(&self, broker: i32, up: bool) -> Result<(), i32> {
        // SAFETY: the cluster lives; an unknown broker is answered with a code.
        code(unsafe {
            if up {
                raw::rd_kafka_mock_broker_set_up(self.native(), broker)
            } else {
                raw::rd_kafka_mock_broker_set_down(self.native(), broker)
            }
        })
    }

    pub(crate) fn set_round_trip(&self, broker: i32, millis: c_int) -> Result<(), i32> {
        // SAFETY: the cluster lives; an unknown broker is answered with a code.
        code(unsafe { raw::rd_kafka_mock_broker_set_rtt(self.native(), broker, millis) })
    }
}

fn code(code: c_int) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(code) }
}
