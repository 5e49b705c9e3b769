//! Records that cannot be decoded.

use std::sync::Arc;
use std::task::{Context, Waker};

use futures_util::FutureExt as _;
use kafka_tower::layers::deserialize::{DecodeLimits, JsonDeserializer};
use kafka_tower::source::{DecodePolicy, SourceErrorKind};
use kafka_tower::{
    CommitStrategy, Error, Headers, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, MessageDeserializer,
    RawRecord, Record, SourceError, async_trait,
};
use tokio::time::timeout;
use tower::Service as _;

use crate::support::{LONG, TOPIC, append, append_text, committed, config, filled, kafka, next};

async fn append_typed(kafka: &kafka_tower::memory::MemoryKafka, value: &str, content_type: &'static str) {
    let mut headers = Headers::new();
    headers.push("content-type", content_type);
    let record = Record::new(TOPIC).with_partition(0).with_value(value.to_owned()).with_headers(headers);
    kafka.transport().call(record).await.unwrap();
}

/// The value of the next message, which is acknowledged.
async fn value(source: &mut KafkaSource<u32>) -> Option<u32> {
    let (value, receipt) = next(source).await.into_parts();
    receipt.ack();
    value
}

fn cause(error: &SourceError) -> &str {
    assert_eq!(error.kind(), SourceErrorKind::Decode);
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Error>()).unwrap().message()
}

#[tokio::test(start_paused = true)]
async fn skip_goes_on_and_the_report_counts() {
    let kafka = filled(1, 1).await;
    append_text(&kafka, 0, "bad").await;
    append_text(&kafka, 0, "").await;
    append(&kafka, 0, 1..2).await;
    append_text(&kafka, 0, "1 1").await;
    let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
    let mut source = builder.on_decode_error(DecodePolicy::skip()).build().await.unwrap();
    for value in 0..2 {
        let message = next(&mut source).await;
        assert_eq!((message.value(), message.attempt()), (Some(&value), 1));
        message.ack();
    }
    assert!(timeout(LONG, source.recv()).await.is_err());
    let report = source.close().await;
    assert_eq!((report.settled, report.skipped, report.is_complete(), committed(&kafka, 0)), (2, 3, true, 5));
}

#[tokio::test(start_paused = true)]
async fn a_skipped_record_is_committed_only_after_those_before_it() {
    let kafka = filled(1, 1).await;
    append_text(&kafka, 0, "bad").await;
    let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
    let mut source = builder.on_decode_error(DecodePolicy::skip()).build().await.unwrap();
    let message = next(&mut source).await;
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(committed(&kafka, 0), 0);
    message.ack();
    assert!(source.close().await.is_complete());
    assert_eq!(committed(&kafka, 0), 2);
}

/// A topic that is all wrong does not take the thread from others.
#[tokio::test(start_paused = true)]
async fn skipping_lets_other_tasks_run() {
    let kafka = kafka(1);
    for _ in 0..1_000 {
        append_text(&kafka, 0, "bad").await;
    }
    let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
    let mut source = builder.on_decode_error(DecodePolicy::skip()).build().await.unwrap();
    tokio::time::sleep(LONG).await;
    let mut polls = 0;
    {
        let mut recv = Box::pin(source.recv());
        for _ in 0..4 {
            assert!(recv.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
            polls += 1;
        }
    }
    let skipped = source.close().await.skipped;
    assert!((64..=polls * 128).contains(&skipped), "{skipped}");
}

#[tokio::test(start_paused = true)]
async fn a_content_type_that_the_deserializer_does_not_read_is_a_decode_error() {
    for lenient in [false, true] {
        let kafka = kafka(1);
        append_typed(&kafka, "1", "application/json").await;
        append_typed(&kafka, "2", "application/x-postcard").await;
        append(&kafka, 0, 3..4).await;
        let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
        let mut source = builder.lenient_content_type(lenient).build().await.unwrap();
        assert_eq!(value(&mut source).await, Some(1));
        if lenient {
            assert_eq!(value(&mut source).await, Some(2));
        } else {
            let error = source.recv().await.unwrap_err();
            assert_eq!(cause(&error), "the header `content-type` is not application/json or text/json");
            assert_eq!(error.record().unwrap().value.as_deref(), Some(&b"2"[..]));
            error.skip();
        }
        assert_eq!(value(&mut source).await, Some(3));
    }
}

/// Neither the messages nor what is checked know anything of headers that are not read.
#[tokio::test(start_paused = true)]
async fn headers_that_are_not_read_are_nowhere() {
    for reads in [true, false] {
        let kafka = kafka(1);
        append_typed(&kafka, "1", "application/json").await;
        append_typed(&kafka, "2", "application/x-postcard").await;
        append_typed(&kafka, "no number", "application/json").await;
        let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
        let mut source = builder.keep_raw(true).read_headers(reads).build().await.unwrap();
        let message = source.recv().await.unwrap();
        assert_eq!((message.headers().is_empty(), message.raw().unwrap().headers.is_empty()), (!reads, !reads));
        message.ack();
        if reads {
            source.recv().await.unwrap_err().skip();
        } else {
            assert_eq!(value(&mut source).await, Some(2), "the content type is not known");
        }
        let error = source.recv().await.unwrap_err();
        assert_eq!(error.record().unwrap().headers.is_empty(), !reads);
        error.skip();
    }
}

/// The header as a sink writes it.
#[tokio::test(start_paused = true)]
async fn a_sink_and_a_source_agree_about_content_types() {
    let kafka = kafka(1);
    let sink_config = KafkaSinkConfig { topic: TOPIC.into(), ..Default::default() };
    let builder = KafkaSink::<u32>::builder(sink_config).content_type_header(true);
    builder.transport(kafka.transport()).build().await.unwrap().send(7).await.unwrap();
    let json = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
    assert_eq!(value(&mut json.build().await.unwrap()).await, Some(7));
    let other = KafkaSourceConfig { group_id: "other".into(), ..config(CommitStrategy::Each) };
    let other = KafkaSource::<u32>::builder(other).transport(kafka.clone()).deserializer(Arc::new(Csv));
    let error = other.build().await.unwrap().recv().await.unwrap_err();
    assert_eq!(cause(&error), "the header `content-type` is not text/csv");
}

/// Waits, and reads only one format.
struct Csv;

#[async_trait]
impl MessageDeserializer<u32> for Csv {
    async fn deserialize(&self, record: RawRecord) -> kafka_tower::Result<u32> {
        tokio::task::yield_now().await;
        Ok(record.value.unwrap_or_default().len() as u32)
    }

    fn content_types(&self) -> &[&str] {
        &["text/csv"]
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_type_is_compared_for_a_deserializer_that_waits() {
    let kafka = kafka(1);
    append_typed(&kafka, "a,b", "text/csv").await;
    append_typed(&kafka, "1", "application/json").await;
    let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
    let mut source = builder.deserializer(Arc::new(Csv)).build().await.unwrap();
    assert_eq!(value(&mut source).await, Some(3));
    assert_eq!(cause(&source.recv().await.unwrap_err()), "the header `content-type` is not text/csv");
}

#[tokio::test(start_paused = true)]
async fn a_record_beyond_a_limit_is_a_decode_error() {
    let kafka = kafka(1);
    append_text(&kafka, 0, &"[".repeat(100_000)).await;
    let builder = KafkaSource::<Vec<u32>>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
    let json = JsonDeserializer::default().with_limits(DecodeLimits::default().bytes(1_000));
    let mut source = builder.deserializer(Arc::new(json)).build().await.unwrap();
    let error = source.recv().await.unwrap_err();
    assert_eq!(cause(&error), "the value has 100000 bytes, but at most 1000 are allowed");
}
