//! Requests information about a cluster and a topic.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::{rd_kafka_ResourceType_t as Resource, rd_kafka_admin_op_t as Admin};

use super::admin_request::AdminRequest;
use super::raw::millis;
use super::{Client, produce, raw};
use crate::codes;

unsafe extern "C" {
    // As in `raw`: the codes are integers.
    fn rd_kafka_ConfigResource_error(resource: *const sys::rd_kafka_ConfigResource_t) -> c_int;
}

type Settings = BTreeMap<String, String>;

/// Brokers (id, host and port), and a topic's code and partitions.
pub(crate) struct DescribedTopic {
    pub(crate) brokers: Vec<(i32, String, u16)>,
    pub(crate) code: i32,
    pub(crate) partitions: Vec<DescribedPartition>,
}

pub(crate) struct DescribedPartition {
    pub(crate) id: i32,
    pub(crate) code: i32,
    /// -1 without a leader.
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

/// Every call blocks up to `within`. Errors are librdkafka's codes.
impl Client {
    /// Returns the cluster's id, once a broker has answered.
    pub(crate) fn cluster_id(&self, within: Duration) -> Option<String> {
        self.kept(|rk| {
            // SAFETY: the client lives; the string is terminated, belongs to the caller, and is freed with librdkafka's
            // function.
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

    /// Returns the controller's id, as brokers report it.
    pub(crate) fn controller(&self, within: Duration) -> Option<i32> {
        // SAFETY: the client lives. -1 means that there is none.
        self.kept(|rk| unsafe { sys::rd_kafka_controllerid(rk, millis(within)) }).filter(|id| *id >= 0)
    }

    /// Requests the brokers, and a topic with its partitions.
    pub(crate) fn describe_topic(&self, topic: &str, within: Duration) -> Result<DescribedTopic, i32> {
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

    /// Returns all topics that this principal sees, with their numbers of partitions.
    pub(crate) fn topics(&self, within: Duration) -> Result<Vec<(String, u32)>, i32> {
        let ask = |rk| {
            let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
            // SAFETY: the client lives; `metadata` is written only on success.
            let code = unsafe { raw::rd_kafka_metadata(rk, 1, ptr::null_mut(), &mut metadata, millis(within)) };
            if code != 0 {
                return Err(code);
            }
            // SAFETY: on success `metadata` points to a valid structure until it is destroyed here; the array is as long as its
            // count says, with terminated names. The fields are read one by one.
            unsafe {
                let topics = (0..count((*metadata).topic_cnt)).map(|i| (*metadata).topics.add(i)).map(|topic| {
                    let name = CStr::from_ptr(ptr::addr_of!((*topic).topic).read()).to_string_lossy().into_owned();
                    (name, u32::try_from(ptr::addr_of!((*topic).partition_cnt).read()).unwrap_or(0))
                });
                let topics = topics.collect();
                sys::rd_kafka_metadata_destroy(metadata);
                Ok(topics)
            }
        };
        self.kept(ask).unwrap_or(Err(codes::LOCAL_DESTROY))
    }

    /// Returns the ids of the cluster's brokers.
    pub(crate) fn brokers(&self, within: Duration) -> Result<Vec<i32>, i32> {
        let ask = |rk| {
            let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
            // SAFETY: the client lives; a null topic requests none; `metadata` is written only on success.
            let code = unsafe { raw::rd_kafka_metadata(rk, 0, ptr::null_mut(), &mut metadata, millis(within)) };
            if code != 0 {
                return Err(code);
            }
            // SAFETY: on success `metadata` points to a valid structure until it is destroyed here; the array is as long as its
            // count says.
            unsafe {
                let ids = (0..count((*metadata).broker_cnt)).map(|i| (*(*metadata).brokers.add(i)).id).collect();
                sys::rd_kafka_metadata_destroy(metadata);
                Ok(ids)
            }
        };
        self.kept(ask).unwrap_or(Err(codes::LOCAL_DESTROY))
    }

    /// Requests a topic's settings from a broker. Sensitive ones are left out.
    pub(crate) fn topic_settings(&self, topic: &str, broker: i32, within: Duration) -> Result<Settings, i32> {
        self.settings(Resource::RD_KAFKA_RESOURCE_TOPIC, topic, broker, within)
    }

    /// Requests a broker's own settings. The request opens a connection to that broker if there is none, as a record
    /// does.
    pub(crate) fn broker_settings(&self, id: i32, within: Duration) -> Result<Settings, i32> {
        self.settings(Resource::RD_KAFKA_RESOURCE_BROKER, &id.to_string(), id, within)
    }

    fn settings(&self, kind: Resource, name: &str, broker: i32, within: Duration) -> Result<Settings, i32> {
        let name = CString::new(name).map_err(|_| codes::LOCAL_INVALID_ARG)?;
        let ask = |rk| {
            let question = AdminRequest::new(rk, Admin::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, broker, within)?;
            // SAFETY: the name is terminated and copied. The result is null for an empty name, which is checked below.
            let resource = unsafe { sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()) };
            if resource.is_null() {
                return Err(codes::LOCAL_INVALID_ARG);
            }
            // SAFETY: the client, the resource, the options and the queue live. librdkafka copies what it keeps; the
            // resource belongs to this function, which destroys it once.
            unsafe {
                sys::rd_kafka_DescribeConfigs(rk, [resource].as_mut_ptr(), 1, question.options, question.queue);
                sys::rd_kafka_ConfigResource_destroy(resource);
            }
            // SAFETY: the event lives during the call of `settings`.
            question.answer(within, || self.is_present(rk), |event| unsafe { settings(event) })
        };
        self.kept(ask).unwrap_or(Err(codes::LOCAL_DESTROY))
    }

    /// Returns whether this principal may write to a topic. `None` if the cluster does not say.
    pub(crate) fn may_write(&self, topic: &str, broker: i32, within: Duration) -> Option<bool> {
        let topic = CString::new(topic).ok()?;
        let ask = |rk| {
            let question = AdminRequest::new(rk, Admin::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, broker, within)?;
            // SAFETY: the client and the options live, and the name is terminated. librdkafka copies what it keeps. The
            // collection and the error (null if there is none) belong to this function, which destroys each once.
            unsafe {
                let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(question.options, 1);
                if !error.is_null() {
                    sys::rd_kafka_error_destroy(error);
                    return Err(codes::LOCAL_INVALID_ARG);
                }
                let topics = sys::rd_kafka_TopicCollection_of_topic_names([topic.as_ptr()].as_mut_ptr(), 1);
                sys::rd_kafka_DescribeTopics(rk, topics, question.options, question.queue);
                sys::rd_kafka_TopicCollection_destroy(topics);
            }
            // SAFETY: the event lives during the call of `writes`.
            question.answer(within, || self.is_present(rk), |event| unsafe { writes(event) })
        };
        self.kept(ask)?.ok().flatten()
    }
}

/// # Safety
///
/// The metadata comes from librdkafka and is not destroyed yet. Codes are read as integers: a reference to a topic or a
/// partition would assert that the binding's enum has its code.
unsafe fn seen(metadata: *const sys::rd_kafka_metadata, topic: &str) -> DescribedTopic {
    // SAFETY: the metadata is valid, as the caller promises: each array is as long as its count says, and strings are
    // terminated.
    unsafe {
        let brokers = (0..count((*metadata).broker_cnt)).map(|i| (*metadata).brokers.add(i)).map(|broker| {
            let host = CStr::from_ptr((*broker).host).to_string_lossy().into_owned();
            ((*broker).id, host, u16::try_from((*broker).port).unwrap_or(0))
        });
        let mut seen = DescribedTopic {
            brokers: brokers.collect(),
            code: codes::UNKNOWN_TOPIC_OR_PARTITION,
            partitions: Vec::new(),
        };
        let mut topics = (0..count((*metadata).topic_cnt)).map(|i| (*metadata).topics.add(i));
        if let Some(topic) = topics.find(|found| CStr::from_ptr((**found).topic).to_bytes() == topic.as_bytes()) {
            seen.code = ptr::addr_of!((*topic).err).cast::<c_int>().read();
            let partitions = (0..count((*topic).partition_cnt)).map(|i| (*topic).partitions.add(i));
            let partition = |partition: *mut sys::rd_kafka_metadata_partition| DescribedPartition {
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
/// `first` points to `length` numbers, or is null.
unsafe fn ids(first: *const i32, length: c_int) -> Vec<i32> {
    if first.is_null() {
        return Vec::new();
    }
    // SAFETY: the pointer is not null, so it points to `length` numbers, as the caller promises.
    (0..count(length)).map(|i| unsafe { first.add(i).read() }).collect()
}

/// Returns whether WRITE is among the operations that the principal may do.
///
/// # Safety
///
/// The event comes from librdkafka and is not destroyed yet.
unsafe fn writes(event: *mut sys::rd_kafka_event_t) -> Result<Option<bool>, i32> {
    const WRITE: c_int = sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE as c_int;
    // SAFETY: the event lives, as the caller promises, and what it and the description return lives as long as the
    // event. The result is null for an event of another type. Each array is as long as its count says. Operations are
    // read as integers.
    unsafe {
        let code = raw::rd_kafka_event_error(event);
        if code != 0 {
            return Err(code);
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let mut length = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut length);
        if length == 0 {
            return Err(codes::UNKNOWN_TOPIC_OR_PARTITION);
        }
        let topic = topics.read();
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() && raw::rd_kafka_error_code(error) != 0 {
            return Ok(None);
        }
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut length).cast::<c_int>();
        if operations.is_null() || length == 0 {
            return Ok(None);
        }
        Ok(Some((0..length).any(|i| operations.add(i).read() == WRITE)))
    }
}

/// # Safety
///
/// The event comes from librdkafka and is not destroyed yet.
unsafe fn settings(event: *mut sys::rd_kafka_event_t) -> Result<Settings, i32> {
    // SAFETY: the event lives, as the caller promises, and what it, the resource and its entries return lives as long
    // as the event. The result is null for an event of another type. Each array is as long as its count says.
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
