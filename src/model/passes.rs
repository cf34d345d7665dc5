//! The passes of a task: `retries` + 1 complete runs over its probes, each a masscan of its own with another seed. Pure.
//!
//! masscan's own `--retries R` is not used: its index then runs to range + R × rate and each index sends R + 1 packets, so a small scan at a
//! high rate sends many times what was announced (FACTS: 60 768 packets instead of 768). Passes send exactly range × (R + 1) probes. They are
//! spread over the whole scan, so that a short disturbance does not hit every probe of an address, and each is an independent sample: what a
//! pass finds that the one before it had missed tells how complete both are.

use super::task::{SEED_MAX, SEED_MIN, Task};

/// A pass that is not the last one waits at most this long for late answers, in seconds: answers usually take less than a second, and what
/// comes later is found by the next pass.
pub const PASS_WAIT_MAX_S: u32 = 2;

impl Task {
    /// How often each address and port is probed.
    pub fn passes(&self) -> u32 {
        self.retries + 1
    }

    /// Seconds that masscan waits for late answers at the end of `pass` (from 1).
    pub fn wait_s_of(&self, pass: u32) -> u32 {
        match pass < self.passes() {
            true => self.wait_s.min(PASS_WAIT_MAX_S),
            false => self.wait_s,
        }
    }

    /// masscan's `--seed` for `pass` (from 1): the first one has the task's own seed. Each attempt gets the same seeds.
    pub fn seed_of(&self, pass: u32) -> u64 {
        match pass {
            0 | 1 => self.seed,
            _ => SEED_MIN + mix(self.seed.wrapping_add(u64::from(pass - 1))) % SEED_MAX,
        }
    }
}

/// One step of the SplitMix64 generator (Steele, Lea, Flood 2014): neighbouring inputs give unrelated outputs.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::found_by_pass::{PASSES_MAX, RETRIES_MAX};
    use super::*;
    use std::collections::BTreeSet;

    fn task(retries: u32, wait_s: u32) -> Task {
        Task {
            retries,
            wait_s,
            ..Task::new(
                "a".parse().unwrap(),
                "10.0.0.0/24".parse().unwrap(),
                "80".parse().unwrap(),
                Default::default(),
            )
        }
    }

    #[test]
    fn the_last_pass_waits_as_long_as_the_task_says_the_others_shortly() {
        for (retries, wait_s, waits) in [
            (0, 10, vec![10]),
            (2, 10, vec![2, 2, 10]),
            (2, 1, vec![1, 1, 1]),
            (1, 0, vec![0, 0]),
        ] {
            let task = task(retries, wait_s);
            let of_each: Vec<u32> = (1..=task.passes())
                .map(|pass| task.wait_s_of(pass))
                .collect();
            assert_eq!(of_each, waits, "{retries} {wait_s}");
        }
    }

    #[test]
    fn each_pass_has_another_valid_seed_and_the_first_the_tasks_own() {
        for seed in [SEED_MIN, 7, SEED_MAX] {
            let task = Task {
                seed,
                ..task(RETRIES_MAX, 1)
            };
            let seeds: BTreeSet<u64> = (1..=task.passes()).map(|pass| task.seed_of(pass)).collect();
            assert_eq!(task.seed_of(1), seed);
            assert_eq!(seeds.len(), PASSES_MAX, "{seed}");
            assert!(
                seeds
                    .iter()
                    .all(|seed| (SEED_MIN..=SEED_MAX).contains(seed))
            );
        }
    }
}
