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

/// Brokers (id, host and port), and topics.
pub(crate) struct DescribedCluster {
    pub(crate) brokers: Vec<(i32, String, u16)>,
    pub(crate) topics: BTreeMap<String, DescribedTopic>,
}

impl DescribedCluster {
    /// Takes a topic out. One of which the answer says nothing does not exist.
    pub(crate) fn take(&mut self, topic: &str) -> DescribedTopic {
        let unknown = DescribedTopic { code: codes::UNKNOWN_TOPIC_OR_PARTITION, partitions: Vec::new() };
        self.topics.remove(topic).unwrap_or(unknown)
    }
}

/// A topic's code and partitions.
pub(crate) struct DescribedTopic {
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

    /// Requests the brokers, and topics with their partitions: these, or all that this principal sees. It is one request, because
    /// the next one goes to a broker that the answer names, which may be unreachable.
    pub(crate) fn describe_topics(&self, topics: Option<&[&str]>, within: Duration) -> Result<DescribedCluster, i32> {
        let look = |rk| {
            // A request for no topic in particular is for those that have a handle. None is created by it: see
            // `rd_kafka_metadata`, which counts them.
            let handles = topics.unwrap_or_default().iter().map(|topic| produce::Topic::open(rk, topic));
            let handles = handles.collect::<Result<Vec<_>, _>>()?;
            let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
            let all = c_int::from(topics.is_none());
            // SAFETY: the client and the topic handles live; `metadata` is written only on success.
            let code = unsafe { raw::rd_kafka_metadata(rk, all, ptr::null_mut(), &mut metadata, millis(within)) };
            drop(handles);
            if code != 0 {
                return Err(code);
            }
            // SAFETY: on success `metadata` points to a valid structure until it is destroyed here.
            unsafe {
                let seen = seen(metadata);
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
            let question = AdminRequest::new(rk, Admin::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, Some(broker), within)?;
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

    /// Returns, for each topic of which the cluster says it, whether this principal may do an operation.
    pub(crate) fn may(
        &self,
        operation: Operation,
        topics: &[&str],
        broker: i32,
        within: Duration,
    ) -> BTreeMap<String, bool> {
        let topics: Vec<_> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
        if topics.is_empty() {
            return BTreeMap::new();
        }
        let ask = |rk| {
            let what = Admin::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let question = AdminRequest::new(rk, what, Some(broker), within)?.with_operations()?;
            let mut names: Vec<_> = topics.iter().map(|topic| topic.as_ptr()).collect();
            // SAFETY: the client and the options live, and the names are terminated. librdkafka copies what it keeps. The
            // collection belongs to this function, which destroys it once.
            unsafe {
                let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
                sys::rd_kafka_DescribeTopics(rk, topics, question.options, question.queue);
                sys::rd_kafka_TopicCollection_destroy(topics);
            }
            // SAFETY: the event lives during the call of `allowed`.
            question.answer(within, || self.is_present(rk), |event| unsafe { allowed(event, operation) })
        };
        self.kept(ask).and_then(Result::ok).unwrap_or_default()
    }
}

/// Operation that a principal may do, or not.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Read,
    Write,
}

impl Operation {
    /// Whether it is among operations that librdkafka lists. `None` if there is no list: the cluster does not say.
    ///
    /// # Safety
    ///
    /// `first` points to `length` operations, or is null.
    pub(super) unsafe fn is_among(self, first: *const sys::rd_kafka_AclOperation_t, length: usize) -> Option<bool> {
        let code = match self {
            Self::Read => sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ,
            Self::Write => sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE,
        } as c_int;
        if first.is_null() || length == 0 {
            return None;
        }
        // SAFETY: the pointer is not null, so it points to `length` operations, as the caller promises. They are read as integers.
        Some((0..length).any(|i| unsafe { first.cast::<c_int>().add(i).read() } == code))
    }
}

/// # Safety
///
/// The metadata comes from librdkafka and is not destroyed yet. Codes are read as integers: a reference to a topic or a
/// partition would assert that the binding's enum has its code.
unsafe fn seen(metadata: *const sys::rd_kafka_metadata) -> DescribedCluster {
    // SAFETY: the metadata is valid, as the caller promises: each array is as long as its count says, and strings are
    // terminated.
    unsafe {
        let brokers = (0..count((*metadata).broker_cnt)).map(|i| (*metadata).brokers.add(i)).map(|broker| {
            let host = CStr::from_ptr((*broker).host).to_string_lossy().into_owned();
            ((*broker).id, host, u16::try_from((*broker).port).unwrap_or(0))
        });
        let partition = |partition: *mut sys::rd_kafka_metadata_partition| DescribedPartition {
            id: (*partition).id,
            code: ptr::addr_of!((*partition).err).cast::<c_int>().read(),
            leader: (*partition).leader,
            replicas: ids((*partition).replicas, (*partition).replica_cnt),
            in_sync: ids((*partition).isrs, (*partition).isr_cnt),
        };
        let topics = (0..count((*metadata).topic_cnt)).map(|i| (*metadata).topics.add(i)).map(|topic| {
            let name = CStr::from_ptr(ptr::addr_of!((*topic).topic).read()).to_string_lossy().into_owned();
            let partitions = (0..count((*topic).partition_cnt)).map(|i| partition((*topic).partitions.add(i)));
            let code = ptr::addr_of!((*topic).err).cast::<c_int>().read();
            (name, DescribedTopic { code, partitions: partitions.collect() })
        });
        DescribedCluster { brokers: brokers.collect(), topics: topics.collect() }
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

/// # Safety
///
/// The event comes from librdkafka and is not destroyed yet.
unsafe fn allowed(event: *mut sys::rd_kafka_event_t, operation: Operation) -> Result<BTreeMap<String, bool>, i32> {
    // SAFETY: the event lives, as the caller promises, and what it and the description return lives as long as the
    // event. The result is null for an event of another type. Each array is as long as its count says, and names are terminated.
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
        let said = (0..length).map(|i| topics.add(i).read()).filter_map(|topic| {
            let error = sys::rd_kafka_TopicDescription_error(topic);
            if !error.is_null() && raw::rd_kafka_error_code(error) != 0 {
                return None;
            }
            let mut length = 0;
            let operations = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut length);
            let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
            Some((name, operation.is_among(operations, length)?))
        });
        Ok(said.collect())
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
