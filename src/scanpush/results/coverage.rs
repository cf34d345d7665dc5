//! What several passes prove: how complete they are, estimated from which of them found each service. Pure.
//!
//! Two passes with different seeds are two independent samples of the same services. What the second one finds that the first had missed tells
//! how many both have missed: capture and recapture, with Chapman's estimator (D. G. Chapman, 1951) and Seber's variance (1970). The figure is
//! an upper bound as seen from the server: services that are blocked, or that both passes lost in the same disturbance, are not independent.

use super::endpoints::PassSet;
use std::collections::BTreeMap;

/// With fewer services than this an estimate says nothing.
const SERVICES_MIN: u64 = 100;
/// Standard deviations of a two-sided 95 % interval.
const Z_95: f64 = 1.96;

/// How many services were found by which passes.
pub type ServicesByPasses = BTreeMap<PassSet, u64>;

/// What the passes prove, one line each; `services` are those of completed tasks with `passes` (at least 2) passes each.
pub fn report(passes: u32, services: &ServicesByPasses) -> Vec<String> {
    let found = |wanted: &dyn Fn(PassSet) -> bool| -> u64 {
        let some = services.iter().filter(|(set, _)| wanted(**set));
        some.map(|(_, count)| count).sum()
    };
    let union = found(&|_| true);
    let of_each: Vec<String> = (1..=passes)
        .map(|pass| format!("pass {pass} found {}", found(&|set| set.contains(pass))))
        .collect();
    let mut lines = vec![format!("{}, together {union} services", of_each.join(", "))];
    if union < SERVICES_MIN {
        lines.push(format!(
            "too few services to estimate how complete that is: {SERVICES_MIN} are needed"
        ));
        return lines;
    }
    for pass in 1..passes {
        let next = found(&|set| set.contains(pass + 1));
        let both = found(&|set| set.contains(pass) && set.contains(pass + 1));
        if next > 0 {
            let share = percent(both as f64 / next as f64);
            lines.push(format!(
                "pass {pass} had found {share} % of what pass {} found",
                pass + 1
            ));
        }
    }
    let first = found(&|set| set.without(passes) != PassSet::default());
    let last = found(&|set| set.contains(passes));
    let coverage = Coverage::estimate(first, last, first + last - union);
    lines.push(format!(
        "all passes together: an estimated {} % of the services that answer this server, at least {} % (95 % interval); \
         blocked hosts are missed by every pass",
        percent(coverage.estimate),
        percent(coverage.low)
    ));
    lines
}

/// Share of all services that two samples together contain, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Coverage {
    estimate: f64,
    /// Lower end of the 95 % interval.
    low: f64,
}

impl Coverage {
    /// From samples of `first` and `second` services, `both` of them the same.
    fn estimate(first: u64, second: u64, both: u64) -> Coverage {
        let [n1, n2, m] = [first, second, both].map(|count| count as f64);
        let union = n1 + n2 - m;
        let all = (n1 + 1.0) * (n2 + 1.0) / (m + 1.0) - 1.0;
        // A sample that missed nothing may have missed one by chance: otherwise the variance would be 0.
        let (missed1, missed2) = ((n2 - m).max(1.0), (n1 - m).max(1.0));
        let variance =
            (n1 + 1.0) * (n2 + 1.0) * missed1 * missed2 / ((m + 1.0).powi(2) * (m + 2.0));
        Coverage {
            estimate: (union / all).min(1.0),
            low: (union / (all + Z_95 * variance.sqrt())).min(1.0),
        }
    }
}

/// With one decimal, rounded down: what is not complete is not shown as 100 %.
fn percent(share: f64) -> String {
    format!("{:.1}", (share * 1000.0).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(of: &[(&[u32], u64)]) -> ServicesByPasses {
        of.iter()
            .map(|(passes, count)| {
                let set = passes
                    .iter()
                    .fold(PassSet::default(), |set, pass| set.with(*pass));
                (set, *count)
            })
            .collect()
    }

    /// Passes that were measured in the lab (FACTS, "Passes"): probes dropped at random, 4 096 services.
    #[test]
    fn the_estimate_is_close_to_what_was_measured() {
        for (first, second, both, estimated) in [
            (4096, 4096, 4096, 1.0),
            (3875, 3887, 3678, 0.997),
            (3317, 3283, 2653, 0.962),
        ] {
            let coverage = Coverage::estimate(first, second, both);
            let truly = (first + second - both) as f64 / 4096.0;
            assert!(
                (coverage.estimate - estimated).abs() < 0.001,
                "{coverage:?}"
            );
            assert!(coverage.low <= truly, "{coverage:?}, truly {truly}");
            assert!(coverage.low > truly - 0.01, "{coverage:?}, truly {truly}");
        }
    }

    #[test]
    fn two_passes_are_compared_and_put_together() {
        let two = services(&[(&[1, 2], 2653), (&[1], 664), (&[2], 630)]);
        assert_eq!(
            report(2, &two),
            [
                "pass 1 found 3317, pass 2 found 3283, together 3947 services",
                "pass 1 had found 80.8 % of what pass 2 found",
                "all passes together: an estimated 96.1 % of the services that answer this server, at least 95.4 % (95 % interval); \
                 blocked hosts are missed by every pass",
            ]
        );
    }

    #[test]
    fn with_more_passes_the_last_one_tests_all_before_it() {
        let three = services(&[
            (&[1, 2, 3], 500),
            (&[1, 2], 100),
            (&[1], 100),
            (&[2, 3], 200),
            (&[3], 50),
        ]);
        let lines = report(3, &three);
        assert_eq!(
            lines[..3],
            [
                "pass 1 found 700, pass 2 found 800, pass 3 found 750, together 950 services",
                "pass 1 had found 75.0 % of what pass 2 found",
                "pass 2 had found 93.3 % of what pass 3 found",
            ]
        );
        let coverage = Coverage::estimate(900, 750, 700);
        assert!(lines[3].contains(&format!("an estimated {} %", percent(coverage.estimate))));
    }

    #[test]
    fn few_services_prove_nothing_and_no_service_is_no_panic() {
        for services in [services(&[]), services(&[(&[1, 2], 99)])] {
            let lines = report(2, &services);
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines[1].starts_with("too few services"), "{lines:?}");
        }
        let disjoint = services(&[(&[1], 100), (&[2], 100)]);
        assert!(report(2, &disjoint)[2].contains("an estimated 1.9 %"));
        let only_first = services(&[(&[1], 100)]);
        assert_eq!(report(2, &only_first).len(), 2);
    }

    #[test]
    fn what_is_incomplete_is_not_shown_as_complete() {
        for (share, shown) in [(1.0, "100.0"), (0.99999, "99.9"), (0.0, "0.0")] {
            assert_eq!(percent(share), shown);
        }
    }
}
