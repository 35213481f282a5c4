//! How often each byte of something was seen.

use std::ops::Range;

/// A counter for each byte; one number as long as all were seen together.
#[derive(Clone, Debug)]
pub struct Coverage {
    len: usize,
    whole: u16,
    parts: Vec<u16>,
}

impl Coverage {
    pub fn new(len: usize) -> Self {
        Self { len, whole: 0, parts: Vec::new() }
    }

    /// Counts the bytes of a range; what lies outside is left out.
    pub fn add(&mut self, range: Range<usize>) {
        if range.start == 0 && range.end >= self.len {
            self.whole += 1;
            return;
        }
        if self.parts.is_empty() {
            self.parts = vec![0; self.len];
        }
        for count in &mut self.parts[range.start.min(self.len)..range.end.min(self.len)] {
            *count += 1;
        }
    }

    /// The most that a byte of the range was seen.
    pub fn most(&self, range: Range<usize>) -> u16 {
        self.whole + self.slice(range).iter().max().copied().unwrap_or(0)
    }

    /// The least that a byte of the range was seen.
    pub fn least(&self, range: Range<usize>) -> u16 {
        self.whole + self.slice(range).iter().min().copied().unwrap_or(0)
    }

    /// The whole range of it.
    pub fn all(&self) -> Range<usize> {
        0..self.len
    }

    /// Takes one sight of each byte of the range away, if all were seen.
    pub fn take(&mut self, range: Range<usize>) -> bool {
        if self.least(range.clone()) == 0 {
            return false;
        }
        if range.start == 0 && range.end >= self.len && self.whole > 0 {
            self.whole -= 1;
            return true;
        }
        if self.parts.is_empty() {
            self.parts = vec![0; self.len];
        }
        let whole = std::mem::take(&mut self.whole);
        self.parts.iter_mut().for_each(|count| *count += whole);
        for count in &mut self.parts[range.start.min(self.len)..range.end.min(self.len)] {
            *count -= 1;
        }
        true
    }

    fn slice(&self, range: Range<usize>) -> &[u16] {
        if self.parts.is_empty() {
            return &[];
        }
        &self.parts[range.start.min(self.len)..range.end.min(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_parts_add_up() {
        let mut seen = Coverage::new(10);
        seen.add(0..10);
        seen.add(2..4);
        assert_eq!((seen.most(seen.all()), seen.least(seen.all())), (2, 1));
        assert!(seen.take(0..10));
        assert!(seen.take(2..4));
        assert!(!seen.take(2..4));
        assert_eq!(seen.most(seen.all()), 0);
    }
}
