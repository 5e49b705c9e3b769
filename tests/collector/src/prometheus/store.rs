//! Series, and queries over them.

use std::collections::{BTreeMap, BTreeSet};

use super::expr::{Expr, Selector};
use crate::otlp::{Kind, Metric};
use crate::{Error, prometheus_names};

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// All series by metric and labels: their values in time, in nanoseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Store(BTreeMap<String, BTreeMap<Labels, Vec<(u64, f64)>>>);

impl Store {
    /// Stores metrics as Prometheus would. `None` as for [`Collector::start`](crate::Collector::start).
    ///
    /// # Errors
    ///
    /// As [`prometheus_names`].
    pub fn of(metrics: &[Metric]) -> Result<Option<Self>, Error> {
        let Some(names) = prometheus_names(metrics)? else { return Ok(None) };
        let mut store = Self::default();
        for (metric, name) in metrics.iter().zip(names) {
            for point in &metric.points {
                let label = |(key, value): (&String, &String)| (key.replace('.', "_"), value.clone());
                let labels: Labels = point.attributes.iter().map(label).collect();
                if metric.kind != Kind::Histogram {
                    store.add(&name, labels, point.time, point.value);
                    continue;
                }
                for (bound, count) in &point.buckets {
                    let mut labels = labels.clone();
                    let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
                    labels.insert("le".to_owned(), bound);
                    store.add(&format!("{name}_bucket"), labels, point.time, *count as f64);
                }
                let count = point.buckets.last().map_or(0, |(_, count)| *count);
                store.add(&format!("{name}_count"), labels.clone(), point.time, count as f64);
                store.add(&format!("{name}_sum"), labels, point.time, point.value);
            }
        }
        Ok(Some(store))
    }

    fn add(&mut self, metric: &str, labels: Labels, time: u64, value: f64) {
        self.0.entry(metric.to_owned()).or_default().entry(labels).or_default().push((time, value));
    }

    /// Returns the metrics, and all labels of each one's series.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let labels = self.0.values().map(|series| series.keys().flat_map(Labels::keys).map(String::as_str).collect());
        self.0.keys().map(String::as_str).zip(labels).collect()
    }

    /// Returns the first and the last time.
    #[must_use]
    pub fn times(&self) -> Option<(u64, u64)> {
        let times = || self.0.values().flat_map(BTreeMap::values).flatten().map(|(time, _)| *time);
        Some((times().min()?, times().max()?))
    }

    /// Evaluates a query at a time; rates are over the `window` before it.
    #[must_use]
    pub fn at(&self, expr: &Expr, time: u64, window: u64) -> Vec<(Labels, f64)> {
        match expr {
            Expr::Number(number) => vec![(Labels::new(), *number)],
            Expr::Last(selector) => {
                let last = |points: &[(u64, f64)]| points.last().map(|(_, value)| *value);
                self.select(selector, time, window, last)
            }
            Expr::Rate(selector, a_second) => self.select(selector, time, window, |points| {
                let ((from, first), (to, last)) = (points.first()?, points.last()?);
                let seconds = (to - from) as f64 / 1e9;
                (to > from).then(|| (last - first) / if *a_second { seconds } else { 1.0 })
            }),
            Expr::Aggregate(sum, by, inner) => {
                let mut groups: BTreeMap<Labels, f64> = BTreeMap::new();
                for (mut labels, value) in self.at(inner, time, window) {
                    labels.retain(|label, _| by.contains(label));
                    let group = groups.entry(labels).or_insert(if *sum { 0.0 } else { f64::NEG_INFINITY });
                    *group = if *sum { *group + value } else { group.max(value) };
                }
                groups.into_iter().collect()
            }
            Expr::Quantile(quantile, inner) => {
                let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
                for (mut labels, value) in self.at(inner, time, window) {
                    let bound = labels.remove("le").unwrap_or_default();
                    let bound = bound.parse().unwrap_or(f64::INFINITY);
                    histograms.entry(labels).or_default().push((bound, value));
                }
                let value = |(labels, buckets)| Some((labels, in_buckets(*quantile, buckets)?));
                histograms.into_iter().filter_map(value).collect()
            }
            Expr::Binary(operator, left, right) => {
                let right = self.at(right, time, window);
                let left = self.at(left, time, window).into_iter();
                let apply = |(labels, value): (Labels, f64)| {
                    let same = right.iter().find(|(other, _)| *other == labels || right.len() == 1);
                    let value = match (operator.as_str(), same?.1) {
                        ("/", other) => value / other,
                        ("*", other) => value * other,
                        (">", other) if value > other => value,
                        (">=", other) if value >= other => value,
                        ("<", other) if value < other => value,
                        ("and", _) => value,
                        _ => return None,
                    };
                    Some((labels, value))
                };
                left.filter_map(apply).collect()
            }
        }
    }

    fn select(
        &self,
        selector: &Selector,
        time: u64,
        window: u64,
        value: impl Fn(&[(u64, f64)]) -> Option<f64>,
    ) -> Vec<(Labels, f64)> {
        let fits = |labels: &Labels| {
            selector
                .matchers
                .iter()
                .all(|(label, equal, wanted)| (labels.get(label).map_or("", String::as_str) == wanted) == *equal)
        };
        let series = self.0.get(&selector.metric).into_iter().flatten().filter(|(labels, _)| fits(labels));
        series
            .filter_map(|(labels, points)| {
                let within = |(at, _): &&(u64, f64)| *at <= time && *at + window >= time;
                let points: Vec<_> = points.iter().filter(within).copied().collect();
                Some((labels.clone(), value(&points)?))
            })
            .collect()
    }
}

/// Interpolates linearly between a bucket's bounds, as Prometheus does.
fn in_buckets(quantile: f64, mut buckets: Vec<(f64, f64)>) -> Option<f64> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = buckets.last()?.1;
    if all <= 0.0 {
        return None;
    }
    let rank = quantile * all;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (low, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (high, count) = buckets[at];
    if high.is_infinite() {
        return Some(low);
    }
    Some(low + (high - low) * (rank - below) / (count - below).max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may fail

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn store() -> Store {
        let mut store = Store::default();
        for (topic, each) in [("a", 10.0), ("b", 30.0)] {
            for (bound, part) in [("0.1", 0.5), ("1", 0.9), ("+Inf", 1.0)] {
                let labels =
                    [("topic", topic), ("le", bound)].map(|(label, value)| (label.to_owned(), value.to_owned()));
                for s in 0..=10 {
                    store.add("x_bucket", labels.clone().into(), s * SECOND, s as f64 * each * part);
                }
            }
        }
        store
    }

    fn ask(query: &str) -> Vec<(String, f64)> {
        let answers = store().at(&Expr::parse(query).unwrap(), 10 * SECOND, 5 * SECOND);
        answers.into_iter().map(|(labels, value)| (labels.into_values().collect::<Vec<_>>().join(","), value)).collect()
    }

    #[test]
    fn rates_sums_and_quantiles() {
        assert_eq!(ask(r#"rate(x_bucket{le="+Inf", topic="b"}[5s])"#), [("+Inf,b".to_owned(), 30.0)]);
        assert_eq!(ask(r#"sum(increase(x_bucket{le="+Inf"}[5s]))"#), [(String::new(), 200.0)]);
        assert_eq!(ask("max by (topic) (x_bucket)"), [("a".to_owned(), 100.0), ("b".to_owned(), 300.0)]);
        // Half of the values are at most 0.1; nine tenths are at most 1.
        assert_eq!(ask("histogram_quantile(0.5, sum by (le) (rate(x_bucket[5s])))"), [(String::new(), 0.1)]);
        assert_eq!(ask("histogram_quantile(0.7, sum by (le) (rate(x_bucket[5s])))"), [(String::new(), 0.55)]);
        assert_eq!(ask(r#"sum by (topic) (rate(x_bucket{le="+Inf"}[5s])) > 20"#), [("b".to_owned(), 30.0)]);
        assert!(ask("y").is_empty());
    }
}
