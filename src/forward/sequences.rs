//! The message numbers of groups: which are missing between two messages, and which come late. Bounded: the groups that were seen least
//! recently are forgotten. It knows no events and no metrics.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// The last number of each group.
#[derive(Debug)]
pub struct Sequences {
    /// A keyed hash of 64 bits stands for a group. If two groups share one, a count is wrong, and nothing else.
    hasher: RandomState,
    /// Two generations, each of half the allowed groups. When the younger one is full, it replaces the older one.
    young: HashMap<u64, i64>,
    old: HashMap<u64, i64>,
    max_groups: usize,
}

/// How a number compares with the highest before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first number of its group.
    First,
    /// The next number.
    Next,
    /// Numbers are missing in between.
    Gap {
        /// The highest before.
        last: i64,
        /// How many are missing.
        missing: u64,
    },
    /// At or below the highest: late, or a second time.
    Disorder {
        /// The highest before.
        last: i64,
    },
}

/// A group with a gap or disorder, at the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irregularity {
    /// `tencent` or `openim`.
    pub provider: &'static str,
    /// Tencent's SdkAppid, or the name of the OpenIM instance.
    pub app: String,
    /// The command.
    pub command: String,
    /// The group, with its topic where it has topics; a long name is cut, and stands for all that begin like this.
    pub group: String,
    /// The expected number: one more than the highest before.
    pub expected: i64,
    /// The number that came: above `expected` for a gap, below for disorder.
    pub got: i64,
    /// When it arrived, in Unix milliseconds.
    pub at_ms: i64,
}

impl Sequences {
    /// Remembers about this many groups.
    pub fn new(max_groups: u32) -> Sequences {
        Sequences {
            hasher: RandomState::new(),
            young: HashMap::new(),
            old: HashMap::new(),
            max_groups: max_groups as usize,
        }
    }

    /// Takes the number of an event.
    pub fn step(&mut self, group: impl Hash, number: i64) -> Step {
        let group = self.hasher.hash_one(group);
        let known = self.young.get(&group).copied().or_else(|| self.old.remove(&group));
        let highest = known.map_or(number, |last| last.max(number));
        if self.young.len() >= self.max_groups.div_ceil(2) && !self.young.contains_key(&group) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(group, highest);
        match known {
            None => Step::First,
            Some(last) if number <= last => Step::Disorder { last },
            Some(last) if number == last + 1 => Step::Next,
            Some(last) => Step::Gap {
                last,
                missing: (number - last - 1).unsigned_abs(),
            },
        }
    }

    /// How many groups are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

impl Irregularity {
    /// Whether both are of one group.
    pub(super) fn is_of(&self, other: &Irregularity) -> bool {
        (self.provider, &self.app, &self.group) == (other.provider, &other.app, &other.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_one_another_are_told_from_gaps_and_disorder() {
        let mut sequences = Sequences::new(10);
        let steps = [5, 6, 9, 7, 9, 10, 3].map(|number| sequences.step("g", number));
        let expected = [
            Step::First,
            Step::Next,
            Step::Gap { last: 6, missing: 2 },
            Step::Disorder { last: 9 },
            Step::Disorder { last: 9 },
            Step::Next,
            Step::Disorder { last: 10 },
        ];
        assert_eq!(steps, expected);
        assert_eq!(sequences.step("h", 1), Step::First);
    }

    #[test]
    fn the_extremes_of_a_number_are_counted_and_do_not_overflow() {
        let mut sequences = Sequences::new(10);
        sequences.step("g", 1);
        let missing = i64::MAX.unsigned_abs() - 2;
        assert_eq!(sequences.step("g", i64::MAX), Step::Gap { last: 1, missing });
        assert_eq!(sequences.step("g", i64::MAX), Step::Disorder { last: i64::MAX });
    }

    #[test]
    fn groups_are_bounded_and_those_that_go_on_stay() {
        let mut sequences = Sequences::new(100);
        for number in 1..=10_000 {
            assert_ne!(sequences.step("busy", number), Step::Gap { last: 0, missing: 0 });
            sequences.step(format!("group {number}"), 1);
            assert!(sequences.len() <= 101, "{}", sequences.len());
            if number > 1 {
                // It was seen one group ago.
                assert_eq!(sequences.step("busy", number), Step::Disorder { last: number });
            }
        }
        assert_eq!(sequences.step("group 1", 2), Step::First, "forgotten long ago");
    }
}
