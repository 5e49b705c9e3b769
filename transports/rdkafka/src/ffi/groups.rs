//! Requests information about a consumer group, and about the logs that it reads.

use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t as Admin;

use super::admin_request::AdminRequest;
use super::consumer::{PartitionList, Place, place, places};
use super::{Client, Operation, raw};
use crate::codes;

/// Places of a log, for [`Client::offsets`].
pub(crate) const EARLIEST: i64 = sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64;
pub(crate) const LATEST: i64 = sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64;

unsafe extern "C" {
    // As in `raw`: numbers of enums are integers.
    fn rd_kafka_ConsumerGroupDescription_state(group: *const sys::rd_kafka_ConsumerGroupDescription_t) -> c_int;
    fn rd_kafka_ConsumerGroupDescription_type(group: *const sys::rd_kafka_ConsumerGroupDescription_t) -> c_int;
    fn rd_kafka_consumer_group_state_name(state: c_int) -> *const c_char;
    fn rd_kafka_consumer_group_type_name(kind: c_int) -> *const c_char;
}

/// A group, as its coordinator describes it.
#[derive(Debug, Default)]
pub(crate) struct DescribedGroup {
    /// -1 if it is not known.
    pub(crate) coordinator: i32,
    /// `Unknown`, or Kafka's name.
    pub(crate) state: String,
    /// `Unknown`, `Classic` or `Consumer`. Without members it says nothing.
    pub(crate) protocol: String,
    pub(crate) assignor: String,
    pub(crate) members: Vec<DescribedMember>,
    pub(crate) may_read: Option<bool>,
}

#[derive(Debug)]
pub(crate) struct DescribedMember {
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) group_instance_id: Option<String>,
}

/// Every call blocks up to `within`. Errors are librdkafka's codes.
impl Client {
    /// Asks the coordinator of a group for it. A group that does not exist is `Dead`. An error may have a text: one about a
    /// group of another kind has the code for an invalid argument.
    pub(crate) fn describe_group(
        &self,
        group: &str,
        within: Duration,
    ) -> Result<DescribedGroup, (i32, Option<String>)> {
        let Ok(group) = CString::new(group) else { return Err((codes::LOCAL_INVALID_ARG, None)) };
        let ask = |rk| {
            let what = Admin::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
            let question = AdminRequest::new(rk, what, None, within)?.with_operations()?;
            let mut groups = [group.as_ptr()];
            // SAFETY: the client, the options and the queue live, and the name is terminated. librdkafka copies what it keeps.
            unsafe {
                sys::rd_kafka_DescribeConsumerGroups(rk, groups.as_mut_ptr(), 1, question.options, question.queue);
            }
            // SAFETY: the event lives during the call of `described`.
            question.answer(within, || self.is_present(rk), |event| unsafe { described(event) })
        };
        match self.kept(ask).unwrap_or(Err(codes::LOCAL_DESTROY)) {
            Ok(answer) => answer,
            Err(code) => Err((code, None)),
        }
    }

    /// Asks the coordinator of a group for committed offsets. They do not include those of open transactions.
    pub(crate) fn committed<'a>(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = (&'a str, i32)>,
        within: Duration,
    ) -> Result<Vec<Place>, i32> {
        let group = CString::new(group).map_err(|_| codes::LOCAL_INVALID_ARG)?;
        let list = PartitionList::of(partitions.into_iter().map(|(topic, partition)| (topic, partition, 0)));
        let ask = |rk| {
            let what = Admin::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
            let question = AdminRequest::new(rk, what, None, within)?;
            // SAFETY: the client, the options, the queue and the list live, and the name is terminated. librdkafka copies what it
            // keeps. The request belongs to this function, which destroys it once.
            unsafe {
                let mut requests = [sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.native())];
                let first = requests.as_mut_ptr();
                sys::rd_kafka_ListConsumerGroupOffsets(rk, first, 1, question.options, question.queue);
                sys::rd_kafka_ListConsumerGroupOffsets_destroy(requests[0]);
            }
            // SAFETY: the event lives during the call of `of_group`.
            question.answer(within, || self.is_present(rk), |event| unsafe { of_group(event) })
        };
        self.kept(ask).unwrap_or(Err(codes::LOCAL_DESTROY))
    }

    /// Asks the leaders of partitions for the offset of [`EARLIEST`] or [`LATEST`], whatever transactions are open.
    pub(crate) fn offsets<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a str, i32)>,
        place: i64,
        within: Duration,
    ) -> Result<Vec<Place>, i32> {
        let list = PartitionList::of(partitions.into_iter().map(|(topic, partition)| (topic, partition, place)));
        let ask = |rk| {
            let question = AdminRequest::new(rk, Admin::RD_KAFKA_ADMIN_OP_LISTOFFSETS, None, within)?;
            // SAFETY: the client, the options, the queue and the list live. librdkafka copies what it keeps.
            unsafe { sys::rd_kafka_ListOffsets(rk, list.native(), question.options, question.queue) };
            // SAFETY: the event lives during the call of `found`.
            question.answer(within, || self.is_present(rk), |event| unsafe { found(event) })
        };
        self.kept(ask).unwrap_or(Err(codes::LOCAL_DESTROY))
    }
}

type Described = Result<DescribedGroup, (i32, Option<String>)>;

/// # Safety
///
/// The event comes from librdkafka and is not destroyed yet.
unsafe fn described(event: *mut sys::rd_kafka_event_t) -> Result<Described, i32> {
    // SAFETY: the event lives, as the caller promises, and what it and the description return lives as long as the event. The
    // result is null for an event of another type. Each array is as long as its count says, and strings are terminated.
    unsafe {
        let code = raw::rd_kafka_event_error(event);
        if code != 0 {
            return Err(code);
        }
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
        if result.is_null() {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let mut length = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut length);
        if length == 0 {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let group = groups.read();
        let error = sys::rd_kafka_ConsumerGroupDescription_error(group);
        if !error.is_null() && raw::rd_kafka_error_code(error) != 0 {
            let why = text(sys::rd_kafka_error_string(error));
            return Ok(Err((raw::rd_kafka_error_code(error), Some(why))));
        }
        let operations = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &mut length);
        let may_read = Operation::Read.is_among(operations, length);
        let coordinator = sys::rd_kafka_ConsumerGroupDescription_coordinator(group);
        let members = (0..sys::rd_kafka_ConsumerGroupDescription_member_count(group))
            .map(|i| sys::rd_kafka_ConsumerGroupDescription_member(group, i));
        let member = |member| {
            let instance = sys::rd_kafka_MemberDescription_group_instance_id(member);
            DescribedMember {
                client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
                host: text(sys::rd_kafka_MemberDescription_host(member)),
                group_instance_id: (!instance.is_null()).then(|| text(instance)),
            }
        };
        Ok(Ok(DescribedGroup {
            coordinator: if coordinator.is_null() { -1 } else { sys::rd_kafka_Node_id(coordinator) },
            state: text(rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(group))),
            protocol: text(rd_kafka_consumer_group_type_name(rd_kafka_ConsumerGroupDescription_type(group))),
            assignor: text(sys::rd_kafka_ConsumerGroupDescription_partition_assignor(group)),
            members: members.map(member).collect(),
            may_read,
        }))
    }
}

/// # Safety
///
/// The event comes from librdkafka and is not destroyed yet.
unsafe fn of_group(event: *mut sys::rd_kafka_event_t) -> Result<Vec<Place>, i32> {
    // SAFETY: as in `described`. The list of partitions is null if there is an error.
    unsafe {
        let code = raw::rd_kafka_event_error(event);
        if code != 0 {
            return Err(code);
        }
        let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event);
        if result.is_null() {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let mut length = 0;
        let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut length);
        if length == 0 {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let group = groups.read();
        let error = sys::rd_kafka_group_result_error(group);
        if !error.is_null() && raw::rd_kafka_error_code(error) != 0 {
            return Err(raw::rd_kafka_error_code(error));
        }
        Ok(places(sys::rd_kafka_group_result_partitions(group)))
    }
}

/// # Safety
///
/// The event comes from librdkafka and is not destroyed yet.
unsafe fn found(event: *mut sys::rd_kafka_event_t) -> Result<Vec<Place>, i32> {
    // SAFETY: as in `described`.
    unsafe {
        let code = raw::rd_kafka_event_error(event);
        if code != 0 {
            return Err(code);
        }
        let result = sys::rd_kafka_event_ListOffsets_result(event);
        if result.is_null() {
            return Err(codes::LOCAL_INVALID_ARG);
        }
        let mut length = 0;
        let all = sys::rd_kafka_ListOffsets_result_infos(result, &mut length);
        let each = (0..length).map(|i| place(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(all.add(i).read())));
        Ok(each.collect())
    }
}

/// Null is an empty text.
///
/// # Safety
///
/// The pointer is null, or that of a terminated string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the pointer is not null, so that it is one of a terminated string, as the caller promises.
    unsafe { CStr::from_ptr(text).to_string_lossy().into_owned() }
}
