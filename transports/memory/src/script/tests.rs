use super::*;

/// A case identified by its delay.
fn case(name: u64, after: u64, times: u64) -> Case {
    let action = Action { late: Duration::from_secs(name), ..Action::default() };
    Case { after, times, action, ..Case::default() }
}

fn names<const N: usize>(script: &mut Script, records: [(&str, i32); N]) -> [u64; N] {
    records.map(|(topic, partition)| script.next(topic, partition).unwrap_or_default().late.as_secs())
}

#[test]
fn the_oldest_due_case_takes_the_record_and_all_that_match_count_it() {
    let mut script = Script::default();
    let first = script.add(case(1, 1, 2));
    let second = script.add(case(2, 2, 2));
    // The second case is due from the third record on, but the first is older.
    assert_eq!(names(&mut script, [("a", 0); 6]), [0, 1, 1, 2, 2, 0]);
    assert_eq!((script.used(first), script.used(second)), (2, 2));
}

#[test]
fn a_case_sees_only_its_topic_and_partition() {
    let mut script = Script::default();
    let on_topic = Case { topic: Some("a".into()), ..case(1, 1, 1) };
    let on_partition = Case { topic: Some("a".into()), partition: Some(1), ..case(2, 0, 1) };
    script.add(on_topic);
    script.add(on_partition);
    assert_eq!(names(&mut script, [("b", 1), ("a", 0), ("b", 1), ("a", 1), ("a", 1)]), [0, 0, 0, 1, 2]);
}

#[test]
fn a_cancelled_case_takes_nothing_and_keeps_its_count() {
    let mut script = Script::default();
    let id = script.add(case(1, 0, u64::MAX));
    assert_eq!(names(&mut script, [("a", 0); 2]), [1, 1]);
    assert!(script.cancel(id).is_some());
    assert_eq!(names(&mut script, [("a", 0); 2]), [0, 0]);
    assert_eq!(script.used(id), 2);
    script.add(case(3, 0, 0));
    assert_eq!(names(&mut script, [("a", 0)]), [0], "no times is never");
    script.add(case(4, 0, 1));
    drop(script.clear());
    assert_eq!(names(&mut script, [("a", 0)]), [0]);
}
