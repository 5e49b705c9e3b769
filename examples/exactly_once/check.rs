//! Compares what a `read_committed` reader gets with what the writer writes: in each partition, the parts of transfer
//! 0, 1, 2, … in order, each once.

/// Records of one transfer in each partition.
pub(crate) const PARTS: u64 = 3;

#[derive(Debug, Default)]
pub(crate) struct Check {
    /// For each partition the part that comes next, counted from the first transfer's first.
    next: Vec<u64>,
    pub(crate) doubled: u64,
    pub(crate) lost: u64,
}

impl Check {
    pub(crate) fn new(partitions: usize) -> Self {
        Self { next: vec![0; partitions], ..Self::default() }
    }

    pub(crate) fn read(&mut self, partition: usize, transfer: u64, part: u64) {
        let number = transfer * PARTS + part;
        let next = &mut self.next[partition];
        if number < *next {
            self.doubled += 1;
        } else {
            self.lost += number - *next;
            *next = number + 1;
        }
    }

    /// Transfers of which all parts were read.
    pub(crate) fn whole(&self) -> u64 {
        self.next.iter().min().map_or(0, |next| next / PARTS)
    }

    /// Transfers of which some parts are missing. Only final when all partitions were read to their end.
    pub(crate) fn torn(&self) -> u64 {
        self.next.iter().max().map_or(0, |next| next.div_ceil(PARTS) - self.whole())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(records: &[(usize, u64, u64)]) -> (u64, u64, u64, u64) {
        let mut check = Check::new(2);
        records.iter().for_each(|(partition, transfer, part)| check.read(*partition, *transfer, *part));
        (check.whole(), check.torn(), check.doubled, check.lost)
    }

    const WHOLE: [(usize, u64, u64); 6] = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (0, 0, 2), (1, 0, 2)];

    #[test]
    fn each_defect_is_counted() {
        assert_eq!(check(&WHOLE), (1, 0, 0, 0));
        assert_eq!(check(&WHOLE[..5]), (0, 1, 0, 0), "torn");
        assert_eq!(check(&[&WHOLE[..], &WHOLE[..1]].concat()), (1, 0, 1, 0), "doubled");
        assert_eq!(check(&WHOLE[1..]), (1, 0, 0, 1), "lost");
        assert_eq!(check(&[&WHOLE[..], &[(0, 1, 0)]].concat()), (1, 1, 0, 0), "torn, in one partition");
    }
}
