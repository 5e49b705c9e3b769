//! The laws of a consumer, one function each.
//!
//! A law returns `Ok` if the consumer keeps it, panics if it is broken, and returns
//! [`NotApplicable`] if it cannot run. Run them in a tokio runtime with time enabled.
#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc)] // the same for all of them, see above

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use kafka_tower_core::{CommitAnswer, ErrorKind, GroupEvent, Record, SeekTo, Subscription, Timestamp};
use tokio::sync::Notify;

use super::member::{GROUP, Lent, Member};
use super::{ConsumerBroker as _, ConsumerFixture};
use crate::NotApplicable;
use crate::laws::Applied;
use crate::random::Random;

/// Time after which a law concludes that nothing comes.
const A_WHILE: Duration = Duration::from_secs(2);

fn numbered(topic: &str, partition: i32, numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(|number| Record::new(topic).with_partition(partition).with_value(number.to_string())).collect()
}

fn numbers(records: &[Lent]) -> Vec<usize> {
    records.iter().map(Lent::number).collect()
}

/// Laws 1 and 2: each record of a partition comes once, in order, as it was written, whatever the size of the batches.
pub async fn records_come_in_order_and_once<F: ConsumerFixture>(fixture: &F) -> Applied {
    const RECORDS: usize = 300;
    let (open, mut random) = (fixture.open(2).await, Random::new());
    for partition in 0..2 {
        let mut records = numbered(&open.topic, partition, 0..RECORDS);
        records[1] = records[1].clone().with_key("key");
        records[1].headers.push("region", "eu");
        records[1].headers.push_null("region");
        open.broker.append(records).await;
    }
    let mut member = Member::join(&open, fixture.patience()).await;
    let assigned = member.assigned().await;
    assert_eq!(assigned.len(), 2, "one member gets both partitions");
    for at in &assigned {
        let mut records = Vec::new();
        while records.len() < RECORDS {
            let max = 1 + random.below(40);
            records.extend(member.batch(at, max).await.0);
        }
        assert_eq!(numbers(&records), (0..RECORDS).collect::<Vec<_>>(), "{}", at.at);
        assert!(records.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets grow");
        assert_eq!((records[0].key.clone(), records[1].key.as_deref()), (None, Some(&b"key"[..])));
        assert!(records[0].headers.is_empty());
        assert_eq!(records[1].headers, [("region".to_owned(), Some("eu".into())), ("region".to_owned(), None)]);
    }
    Ok(())
}

/// Law 3: a position is greater than each record before it, not greater than the next one, and reaches the end of a log
/// that ends with an aborted transaction.
pub async fn positions_are_true<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(1).await;
    open.broker.append(numbered(&open.topic, 0, 0..3)).await;
    open.broker.append_aborted(numbered(&open.topic, 0, 100..103)).await?;
    open.broker.append(numbered(&open.topic, 0, 3..5)).await;
    open.broker.append_aborted(numbered(&open.topic, 0, 103..106)).await?;
    let end = open.broker.end(0).await;
    let mut member = Member::join(&open, fixture.patience()).await;
    let at = member.assigned().await.remove(0);
    let (mut records, mut positions): (Vec<Lent>, Vec<(usize, i64)>) = (Vec::new(), Vec::new());
    while positions.last().is_none_or(|(_, position)| *position < end) {
        let (lent, batch) = member.batch(&at, 2).await;
        records.extend(lent);
        positions.extend(batch.position.map(|position| (records.len(), position)));
    }
    assert_eq!(numbers(&records), (0..5).collect::<Vec<_>>());
    for (read, position) in positions {
        let before = read.checked_sub(1).map(|last| records[last].offset);
        assert!(before.is_none_or(|before| position > before), "position {position} after the record {before:?}");
        let next = records.get(read).map(|next| next.offset);
        assert!(next.is_none_or(|next| position <= next), "position {position} before the record {next:?}");
        assert!(position <= end, "position {position} behind the end {end}");
    }
    Ok(())
}

/// Law 4: each commit is answered once, and `Committed` means that the group has the offset, also for the next member.
pub async fn commits_are_answered<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(1).await;
    open.broker.append(numbered(&open.topic, 0, 0..5)).await;
    let mut member = Member::join(&open, fixture.patience()).await;
    let at = member.assigned().await.remove(0);
    member.read(&at, 5).await;
    for offset in [1, 3] {
        let answer = member.commit(&at.at, offset).await;
        assert!(matches!(answer, CommitAnswer::Committed), "{answer:?}");
        assert_eq!(open.broker.committed(GROUP, 0).await, Some(offset), "what was answered is true");
    }
    let more = member.event_within(A_WHILE).await;
    assert!(more.is_none(), "after the answers: {more:?}");
    member.consumer.leave(fixture.patience());
    while !matches!(member.event().await, GroupEvent::Left) {}
    let mut next = Member::join(&open, fixture.patience()).await;
    let at = next.assigned().await.remove(0);
    assert_eq!(numbers(&next.read(&at, 2).await), [3, 4], "the group continues where it has committed");
    Ok(())
}

/// Law 5: after its release, nothing of a partition is read any more.
pub async fn nothing_of_a_released_partition_passes<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(2).await;
    for partition in 0..2 {
        open.broker.append(numbered(&open.topic, partition, 0..10)).await;
    }
    let mut member = Member::join(&open, fixture.patience()).await;
    for at in member.assigned().await {
        member.read(&at, 3).await;
    }
    open.broker.rebalance(GROUP).await?;
    let revoked = member.revoked().await;
    let old = member.owned[&revoked[0]].clone();
    member.release(&revoked);
    let nothing = |member: &Member| {
        let polled = member.poll(&old, 10, &mut Context::from_waker(Waker::noop()));
        let nothing = match &polled {
            Poll::Pending => true,
            Poll::Ready((records, batch)) => records.is_empty() && batch.position.is_none(),
        };
        assert!(nothing, "of an old epoch: {polled:?}");
    };
    nothing(&member);
    let new = member.reads(&revoked[0]).await;
    nothing(&member);
    assert_eq!(numbers(&member.read(&new, 10).await), (0..10).collect::<Vec<_>>(), "nothing was committed");
    Ok(())
}

/// Law 6: after a revocation the group waits for the release, and commits are accepted until then. The events come without
/// anybody who reads.
pub async fn a_release_is_an_answer<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(2).await;
    open.broker.append(numbered(&open.topic, 0, 0..5)).await;
    let mut first = Member::join(&open, fixture.patience()).await;
    let all = first.assigned().await.len();
    open.broker.rebalance(GROUP).await?;
    let revoked = first.revoked().await;
    let mut second = Member::join(&open, fixture.patience()).await;
    let early = second.event_within(A_WHILE).await;
    early.into_iter().for_each(|event| drop(second.answer(event)));
    let taken = revoked.iter().find(|at| second.owned.contains_key(at));
    assert!(taken.is_none(), "{taken:?} has a new owner before it was released");
    let answer = first.commit(&revoked[0], 2).await;
    if matches!(&answer, CommitAnswer::Retry(error) if error.error_type() == "REBALANCE_IN_PROGRESS") {
        // Unless the fixture says so, this breaks the law.
        return Err(NotApplicable::new("the broker refuses commits between revocation and release"));
    }
    assert!(matches!(answer, CommitAnswer::Committed), "between revocation and release: {answer:?}");
    first.release(&revoked);
    while first.owned.len() + second.owned.len() < all {
        // The future that is dropped has taken no event.
        let (of_first, of_second) = match select(pin!(first.event()), pin!(second.event())).await {
            Either::Left((event, _)) => (Some(event), None),
            Either::Right((event, _)) => (None, Some(event)),
        };
        of_first.into_iter().for_each(|event| drop(first.answer(event)));
        of_second.into_iter().for_each(|event| drop(second.answer(event)));
        let both = first.owned.keys().find(|at| second.owned.contains_key(at));
        assert!(both.is_none(), "{both:?} has two owners");
    }
    Ok(())
}

/// Law 8: a reader that waits is woken by the next record.
pub async fn pending_wakes<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(1).await;
    let mut member = Member::join(&open, fixture.patience()).await;
    let at = member.assigned().await.remove(0);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    // A position may come first.
    while let Poll::Ready((records, _)) = member.poll(&at, 10, &mut Context::from_waker(&waker)) {
        assert!(records.is_empty(), "the topic is empty");
    }
    open.broker.append(numbered(&open.topic, 0, 0..1)).await;
    loop {
        let notified = tokio::time::timeout(fixture.patience(), woken.0.notified()).await;
        assert!(notified.is_ok(), "the reader was not woken");
        match member.poll(&at, 10, &mut Context::from_waker(&waker)) {
            Poll::Ready((records, _)) if !records.is_empty() => {
                assert_eq!(numbers(&records), [0]);
                return Ok(());
            }
            // Woken for another reason.
            _ => {}
        }
    }
}

#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Law 10: after a seek the first readable record at or after the target comes, and nothing of the old epoch.
pub async fn a_seek_continues_at_its_target<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(1).await;
    open.broker.append(numbered(&open.topic, 0, 0..3)).await;
    open.broker.append_aborted(numbered(&open.topic, 0, 100..103)).await?;
    open.broker.append(numbered(&open.topic, 0, 3..5)).await;
    let mut member = Member::join(&open, fixture.patience()).await;
    let first = member.assigned().await.remove(0);
    let records = member.read(&first, 5).await;
    let inside = records[3].offset - 2;
    for (target, expected) in [(records[1].offset, 1), (inside, 3), (records[4].offset, 4)] {
        let at = member.epoch(first.at.clone());
        member.consumer.seek(&at, target);
        let old = member.poll(&first, 10, &mut Context::from_waker(Waker::noop()));
        assert!(!matches!(&old, Poll::Ready((records, _)) if !records.is_empty()), "of the old epoch: {old:?}");
        assert_eq!(numbers(&member.read(&at, 1).await), [expected], "after a seek to {target}");
    }
    Ok(())
}

/// Law 2: if the next offset is not in the log, an event says so, and nothing of the partition is read until a seek.
pub async fn an_offset_out_of_range_is_an_event<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(1).await;
    open.broker.append(numbered(&open.topic, 0, 0..10)).await;
    let mut member = Member::join(&open, fixture.patience()).await;
    let first = member.assigned().await.remove(0);
    assert_eq!(numbers(&member.read(&first, 2).await), [0, 1]);
    let behind_the_end = member.epoch(first.at.clone());
    member.consumer.seek(&behind_the_end, 20);
    assert_eq!(member.out_of_range(&behind_the_end).await, (20, 0, 10));
    let again = member.epoch(first.at.clone());
    member.consumer.seek(&again, 3);
    assert_eq!(numbers(&member.read(&again, 1).await), [3]);
    open.broker.delete_before(0, 8).await?;
    let deleted = member.epoch(first.at.clone());
    member.consumer.seek(&deleted, 4);
    assert_eq!(member.out_of_range(&deleted).await, (4, 8, 10));
    let last = member.epoch(first.at.clone());
    member.consumer.seek(&last, 8);
    assert_eq!(numbers(&member.read(&last, 2).await), [8, 9]);
    let more = member.event_within(A_WHILE).await;
    assert!(more.is_none(), "after the seek: {more:?}");
    Ok(())
}

/// Law 11: a consumer of a topic that does not exist is not opened.
pub async fn opening_finds_the_topics<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(1).await;
    let unknown = Subscription::new(GROUP, vec![Arc::clone(&open.topic), format!("{}-unknown", open.topic).into()]);
    let opened = tokio::time::timeout(fixture.patience(), open.transport.open(unknown)).await.expect("in time");
    let error = opened.expect_err("an unknown topic");
    assert!(error.to_string().contains("-unknown"), "the error names the topic: {error}");
    Ok(())
}

/// Law 12: a consumer that leaves says so in time, and another one gets its partitions.
pub async fn leaving_ends_the_consumer<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(2).await;
    let mut member = Member::join(&open, fixture.patience()).await;
    assert_eq!(member.assigned().await.len(), 2);
    let within = Duration::from_secs(5);
    member.consumer.leave(within);
    loop {
        let event = member.event_within(within + A_WHILE).await;
        match event.unwrap_or_else(|| panic!("not left within {within:?}")) {
            GroupEvent::Left => break,
            GroupEvent::Revoked(partitions) => member.consumer.release(&partitions),
            _ => {}
        }
    }
    assert!(member.event_within(A_WHILE).await.is_none(), "after the last event");
    let mut next = Member::join(&open, fixture.patience()).await;
    assert_eq!(next.assigned().await.len(), 2, "the partitions are free");
    Ok(())
}

/// Law 13: the offsets that the group has, and those of places in a partition, are what they are.
pub async fn look_ups_are_true<F: ConsumerFixture>(fixture: &F) -> Applied {
    let open = fixture.open(1).await;
    // Recent: a broker may delete records whose timestamps are old.
    let base = Timestamp::now().as_millis() - 60_000;
    let time = |number: usize| Timestamp::from_millis(base + 1_000 * number as i64);
    let at_time = |(number, record): (usize, Record)| record.with_timestamp(time(number));
    open.broker.append(numbered(&open.topic, 0, 0..4).into_iter().enumerate().map(at_time).collect()).await;
    let mut member = Member::join(&open, fixture.patience()).await;
    let at = member.assigned().await.remove(0);
    let records = member.read(&at, 4).await;
    let (partition, patience) = (at.at.clone(), fixture.patience());
    match member.consumer.committed(std::slice::from_ref(&partition), patience).await {
        Ok(committed) => assert_eq!(committed, [None], "nothing was committed"),
        Err(error) if error.kind() == ErrorKind::Config => return Err(NotApplicable::new(error.message())),
        Err(error) => panic!("committed: {error:#}"),
    }
    assert!(matches!(member.commit(&partition, 2).await, CommitAnswer::Committed));
    let committed = member.consumer.committed(std::slice::from_ref(&partition), patience).await;
    assert_eq!(committed.unwrap_or_else(|error| panic!("committed: {error:#}")), [Some(2)]);
    let end = open.broker.end(0).await;
    let just_before = Timestamp::from_millis(time(2).as_millis() - 1);
    for (place, expected) in [
        (SeekTo::Beginning, records[0].offset),
        (SeekTo::End, end),
        (SeekTo::Offset(3), 3),
        (SeekTo::Timestamp(time(0)), records[0].offset),
        (SeekTo::Timestamp(just_before), records[2].offset),
        (SeekTo::Timestamp(time(2)), records[2].offset),
        (SeekTo::Timestamp(time(4)), end),
    ] {
        if matches!(place, SeekTo::Timestamp(_)) && !open.broker.finds_timestamps() {
            continue;
        }
        let found = member.consumer.offset_of(&partition, place, patience).await;
        assert_eq!(found.unwrap_or_else(|error| panic!("{place:?}: {error:#}")), expected, "{place:?}");
    }
    Ok(())
}
