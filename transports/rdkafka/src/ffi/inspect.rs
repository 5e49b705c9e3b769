//! What a cluster says of itself and of a topic.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_ResourceType_t as Resource;

use super::client::millis;
use super::{Client, produce, raw};
use crate::codes;

unsafe extern "C" {
    // As in `raw`: the codes are integers.
    fn rd_kafka_ConfigResource_error(resource: *const sys::rd_kafka_ConfigResource_t) -> c_int;
    fn rd_kafka_AdminOptions_set_request_timeout(
        options: *mut sys::rd_kafka_AdminOptions_t,
        timeout_ms: c_int,
        text: *mut c_char,
        size: usize,
    ) -> c_int;
}

type Settings = BTreeMap<String, String>;

/// Brokers by id, host and port, and a topic's code and partitions.
pub(crate) struct Seen {
    pub(crate) brokers: Vec<(i32, String, u16)>,
    pub(crate) code: i32,
    pub(crate) partitions: Vec<SeenPartition>,
}

pub(crate) struct SeenPartition {
    pub(crate) id: i32,
    pub(crate) code: i32,
    /// -1: none.
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

/// Errors are librdkafka's codes. All block up to `within`.
impl Client {
    /// The cluster's id, once a broker has answered.
    pub(crate) fn cluster_id(&self, within: Duration) -> Option<String> {
        self.kept(|rk| {
            // SAFETY: the client lives; the string is terminated and ours, and freed as librdkafka asks.
            unsafe {
                let id = sys::rd_kafka_clusterid(rk, millis(within));
                if id.is_null() {
                    return None;
                }
                let text = CStr::from_ptr(id).to_string_lossy().into_owned();
                sys::rd_kafka_mem_free(rk, id.cast());
                Some(text)
            }
        })
        .flatten()
    }

    /// The broker that brokers call the controller.
    pub(crate) fn controller(&self, within: Duration) -> Option<i32> {
        // SAFETY: the client lives; -1 is none.
        self.kept(|rk| unsafe { sys::rd_kafka_controllerid(rk, millis(within)) }).filter(|id| *id >= 0)
    }

    /// The brokers, and a topic with its partitions.
    pub(crate) fn look(&self, topic: &str, within: Duration) -> Result<Seen, i32> {
        let look = |rk| {
            let handle = produce::Topic::open(rk, topic)?;
            let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
            // SAFETY: the client and the topic handle live; `metadata` is written only on success.
            let code = unsafe { raw::rd_kafka_metadata(rk, 0, handle.native(), &mut metadata, millis(within)) };
            if code != 0 {
                return Err(code);
            }
            // SAFETY: on success `metadata` points to a valid structure until it is destroyed here.
            unsafe {
                let seen = seen(metadata, topic);
                sys::rd_kafka_metadata_destroy(metadata);
                Ok(seen)
            }
        };
        self.kept(look).unwrap_or(Err(codes::LOCAL_DESTROY))
    }

    /// A topic's settings, without those that the broker keeps to itself.
    pub(crate) fn topic_settings(&self, topic: &str, within: Duration) -> Result<Settings, i32> {
        self.settings(Resource::RD_KAFKA_RESOURCE_TOPIC, topic, within)
    }

    /// A broker's settings, by that broker itself: the question connects to it, as a record does.
    pub(crate) fn broker_settings(&self, id: i32, within: Duration) -> Result<Settings, i32> {
        self.settings(Resource::RD_KAFKA_RESOURCE_BROKER, &id.to_string(), within)
    }

    fn settings(&self, kind: Resource, name: &str, within: Duration) -> Result<Settings, i32> {
        let name = CString::new(name).map_err(|_| codes::LOCAL_INVALID_ARG)?;
        let ask = |rk| {
            let question = Question::new(rk, kind, &name, within)?;
            // SAFETY: the client, the resource, the options and the queue live; librdkafka copies what it keeps.
            let event = unsafe {
                sys::rd_kafka_DescribeConfigs(
                    rk,
                    [question.resource].as_mut_ptr(),
                    1,
                    question.options,
                    question.queue,
                );
                // The answer comes within the options' time, also if it is that there is none.
                sys::rd_kafka_queue_poll(question.queue, millis(within + Duration::from_secs(1)))
            };
            if event.is_null() {
                return Err(codes::LOCAL_TIMED_OUT);
            }
            // SAFETY: the event is valid until it is destroyed here.
            unsafe {
                let settings = settings(event);
                sys::rd_kafka_event_destroy(event);
                settings
            }
        };
        self.kept(ask).unwrap_or(Err(codes::LOCAL_DESTROY))
    }
}

/// # Safety
///
/// The metadata is librdkafka's and lives. Codes are read as the integers they are: a reference to a topic or a partition
/// would assert that the binding's enum knows them.
unsafe fn seen(metadata: *const sys::rd_kafka_metadata, topic: &str) -> Seen {
    // SAFETY: the caller's promise; each array is as long as its count says, and strings are terminated.
    unsafe {
        let brokers = (0..count((*metadata).broker_cnt)).map(|i| (*metadata).brokers.add(i)).map(|broker| {
            let host = CStr::from_ptr((*broker).host).to_string_lossy().into_owned();
            ((*broker).id, host, u16::try_from((*broker).port).unwrap_or(0))
        });
        let mut seen =
            Seen { brokers: brokers.collect(), code: codes::UNKNOWN_TOPIC_OR_PARTITION, partitions: Vec::new() };
        let mut topics = (0..count((*metadata).topic_cnt)).map(|i| (*metadata).topics.add(i));
        if let Some(topic) = topics.find(|found| CStr::from_ptr((**found).topic).to_bytes() == topic.as_bytes()) {
            seen.code = ptr::addr_of!((*topic).err).cast::<c_int>().read();
            let partitions = (0..count((*topic).partition_cnt)).map(|i| (*topic).partitions.add(i));
            let partition = |partition: *mut sys::rd_kafka_metadata_partition| SeenPartition {
                id: (*partition).id,
                code: ptr::addr_of!((*partition).err).cast::<c_int>().read(),
                leader: (*partition).leader,
                replicas: ids((*partition).replicas, (*partition).replica_cnt),
                in_sync: ids((*partition).isrs, (*partition).isr_cnt),
            };
            seen.partitions = partitions.map(partition).collect();
        }
        seen
    }
}

fn count(count: c_int) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// # Safety
///
/// The pointer has so many numbers behind it, or is null.
unsafe fn ids(first: *const i32, length: c_int) -> Vec<i32> {
    if first.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    (0..count(length)).map(|i| unsafe { first.add(i).read() }).collect()
}

/// What a question about settings is made of. Dropped before its client is destroyed.
struct Question {
    resource: *mut sys::rd_kafka_ConfigResource_t,
    options: *mut sys::rd_kafka_AdminOptions_t,
    queue: *mut sys::rd_kafka_queue_t,
}

impl Question {
    fn new(rk: *mut sys::rd_kafka_t, kind: Resource, name: &CStr, within: Duration) -> Result<Self, i32> {
        use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS as DESCRIBE;
        // SAFETY: the client lives; the name is terminated and copied. Null, of an empty name, is asked for below.
        let question = unsafe {
            Self {
                resource: sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()),
                options: sys::rd_kafka_AdminOptions_new(rk, DESCRIBE),
                queue: sys::rd_kafka_queue_new(rk),
            }
        };
        if question.resource.is_null() || question.options.is_null() {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let mut text: [c_char; 128] = [0; 128];
        // SAFETY: the options live; the buffer is as long as said.
        let code = unsafe {
            rd_kafka_AdminOptions_set_request_timeout(question.options, millis(within), text.as_mut_ptr(), text.len())
        };
        if code == 0 { Ok(question) } else { Err(code) }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // SAFETY: ours, each destroyed once; librdkafka's own references keep what an answer on its way needs.
        unsafe {
            if !self.resource.is_null() {
                sys::rd_kafka_ConfigResource_destroy(self.resource);
            }
            if !self.options.is_null() {
                sys::rd_kafka_AdminOptions_destroy(self.options);
            }
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
///
/// The event is librdkafka's and lives.
unsafe fn settings(event: *mut sys::rd_kafka_event_t) -> Result<Settings, i32> {
    // SAFETY: the caller's promise; what is asked of the event, the resource and its entries lives as long as the event.
    // The result is null for an event of another type. Each array is as long as its count says.
    unsafe {
        let code = raw::rd_kafka_event_error(event);
        if code != 0 {
            return Err(code);
        }
        let result = sys::rd_kafka_event_DescribeConfigs_result(event);
        if result.is_null() {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let mut length = 0;
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut length);
        if length == 0 {
            return Err(codes::UNKNOWN_TOPIC_OR_PARTITION);
        }
        let resource = resources.read();
        let code = rd_kafka_ConfigResource_error(resource);
        if code != 0 {
            return Err(code);
        }
        let entries = sys::rd_kafka_ConfigResource_configs(resource, &mut length);
        let entries = (0..length).map(|i| entries.add(i).read()).filter_map(|entry| {
            let (name, value) = (sys::rd_kafka_ConfigEntry_name(entry), sys::rd_kafka_ConfigEntry_value(entry));
            if value.is_null() || sys::rd_kafka_ConfigEntry_is_sensitive(entry) != 0 {
                return None;
            }
            let text = |text: *const c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
            Some((text(name), text(value)))
        });
        Ok(entries.collect())
    }
}
