//! The metrics of a program, each under the name that Prometheus sees.

use super::exposition;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry as Inner};
use std::fmt;

/// One label with its value.
type Label = [(&'static str, &'static str); 1];
/// A counter for each value of one label.
pub type CounterBy = Family<Label, Counter>;
/// A histogram for each value of one label.
pub type HistogramBy = Family<Label, Histogram, fn() -> Histogram>;

/// Counters for these values of `label`, which begin at 0.
pub fn counters_by(
    label: &'static str,
    values: impl IntoIterator<Item = &'static str>,
) -> CounterBy {
    let counters = CounterBy::default();
    for value in values {
        drop(counters.get_or_create(&[(label, value)]));
    }
    counters
}

/// Histograms for these values of `label`, which begin empty.
pub fn histograms_by(
    label: &'static str,
    values: impl IntoIterator<Item = &'static str>,
    new: fn() -> Histogram,
) -> HistogramBy {
    let histograms = HistogramBy::new_with_constructor(new);
    for value in values {
        drop(histograms.get_or_create(&[(label, value)]));
    }
    histograms
}

/// The metrics of a program.
#[derive(Debug, Default)]
pub struct Registry(Inner);

impl Registry {
    /// Adds a metric under its whole name: that of a counter ends in `_total`.
    pub fn register(&mut self, name: &'static str, help: &'static str, metric: impl Metric) {
        let kind = metric.metric_type();
        let ending = matches!(kind, MetricType::Counter)
            .then(|| name.strip_suffix("_total"))
            .flatten();
        // prometheus-client adds the ending and a full stop.
        let help = help.trim_end_matches('.');
        self.0.register(ending.unwrap_or(name), help, metric);
    }

    /// Adds a gauge that is 1 and has facts as labels; its name ends in `_info`.
    pub fn register_info(
        &mut self,
        name: &'static str,
        help: &'static str,
        facts: Vec<(&'static str, &'static str)>,
    ) {
        let info = Info::new(facts);
        let name = name.strip_suffix("_info").unwrap_or(name);
        self.0.register(name, help.trim_end_matches('.'), info);
    }

    /// Adds a gauge that is read at each scrape.
    pub fn register_derived(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let read = move || vec![(Vec::new(), read())];
        self.register_derived_by(name, help, read);
    }

    /// Adds a gauge with labels, all values of which are read at each scrape.
    pub fn register_derived_by(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Values + Send + Sync + 'static,
    ) {
        self.0.register_collector(Box::new(Derived {
            name,
            help,
            read: Box::new(read),
        }));
    }

    /// All metrics in Prometheus' text format.
    pub(super) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.0)?;
        Ok(exposition::from_open_metrics(&text))
    }
}

/// Values with their labels.
pub type Values = Vec<(Vec<(&'static str, String)>, f64)>;

/// A gauge that is read at each scrape.
struct Derived {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> Values + Send + Sync>,
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Collector for Derived {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (labels, value) in (self.read)() {
            let gauge = ConstGauge::new(value);
            gauge.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_metric_has_its_whole_name() {
        let mut registry = Registry::default();
        let counters = counters_by("kind", ["a", "b"]);
        counters.get_or_create(&[("kind", "b")]).inc();
        registry.register("x_events_total", "Events.", counters);
        registry.register_info("x_build_info", "Build.", vec![("version", "1")]);
        registry.register_derived("x_slots", "Slots.", || 2.0);
        registry.register_derived_by("x_ready", "Ready.", || {
            vec![(vec![("part", "redis".to_owned())], 0.0)]
        });
        let seconds = Histogram::new([0.5]);
        seconds.observe(0.25);
        registry.register("x_wait_seconds", "Waits.", seconds);
        let text = registry.encode().unwrap();
        for line in [
            "# HELP x_events_total Events.",
            "# TYPE x_events_total counter",
            "x_events_total{kind=\"a\"} 0",
            "x_events_total{kind=\"b\"} 1",
            "x_build_info{version=\"1\"} 1",
            "# TYPE x_build_info gauge",
            "x_slots 2.0",
            "x_ready{part=\"redis\"} 0.0",
            "x_wait_seconds_bucket{le=\"0.5\"} 1",
            "x_wait_seconds_bucket{le=\"+Inf\"} 1",
            "x_wait_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
