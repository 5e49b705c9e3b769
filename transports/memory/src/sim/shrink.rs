//! Delta debugging: finds a minimal part of a list that still fails. No clock, no lock, no async.

/// Removes what is not needed, larger parts first. `fails` returns whether the rest still fails, or `None` if the
/// budget is used up. With enough budget, no single item of the result can be removed.
pub(crate) fn shrink<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> Option<bool>) -> Vec<T> {
    let mut kept = items.to_vec();
    let mut part = kept.len().div_ceil(2);
    while part > 0 {
        let (mut from, mut shrunk) = (0, false);
        while from < kept.len() {
            let to = (from + part).min(kept.len());
            let rest = [&kept[..from], &kept[to..]].concat();
            match fails(&rest) {
                None => return kept,
                Some(true) => {
                    kept = rest;
                    shrunk = true;
                }
                Some(false) => from = to,
            }
        }
        part = match (part, shrunk) {
            (1, true) => 1,
            (1, false) => 0,
            _ => part.div_ceil(2),
        };
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_needed_items_remain(len in 0..200usize, needed in prop::collection::btree_set(0..200usize, 0..5)) {
            let items: Vec<_> = (0..len).collect();
            let needed: Vec<_> = needed.into_iter().filter(|n| *n < len).collect();
            let fails = |part: &[usize]| Some(needed.iter().all(|n| part.contains(n)));
            prop_assert_eq!(shrink(&items, fails), needed);
        }

        #[test]
        fn shrinking_stops_at_its_budget_with_a_failing_schedule(len in 1..200usize, budget in 0..50u32) {
            let items: Vec<_> = (0..len).collect();
            let mut asked = 0;
            let kept = shrink(&items, |part| {
                asked += 1;
                (asked <= budget).then(|| part.contains(&0))
            });
            prop_assert!(asked <= budget + 1 && kept.contains(&0));
        }
    }
}
