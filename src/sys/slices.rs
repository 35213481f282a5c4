//! A list of byte slices for gathering writes that keeps its allocation between calls.

use std::io::IoSlice;

/// The most slices that one system call takes (UIO_MAXIOV in `include/uapi/linux/uio.h`).
pub const SLICES_MAX: usize = 1024;

/// Storage for up to [`SLICES_MAX`] slices, used again for each call.
#[derive(Debug)]
pub struct Slices(Vec<IoSlice<'static>>);

impl Default for Slices {
    fn default() -> Self {
        Self(Vec::with_capacity(SLICES_MAX))
    }
}

impl Slices {
    /// Gives the list, emptied, for slices that live as long as `'bytes`.
    pub fn start<'list, 'bytes>(&'list mut self) -> SliceList<'list, 'bytes> {
        self.0.clear();
        let list: *mut Vec<IoSlice<'static>> = &mut self.0;
        // SAFETY: the two types differ in a lifetime only. The vector is empty here, so nothing in
        // it is claimed to live longer or shorter than it does. What is pushed may be shorter-lived
        // than 'static, and stays in the vector when the borrow ends; nobody reads it after that,
        // because the field is private, this function is the only access to it, and it clears
        // first. IoSlice has no drop glue, so clearing or dropping the vector reads nothing.
        SliceList(unsafe { &mut *list.cast::<Vec<IoSlice<'bytes>>>() })
    }
}

/// The slices of one system call.
#[derive(Debug)]
pub struct SliceList<'list, 'bytes>(&'list mut Vec<IoSlice<'bytes>>);

impl<'bytes> SliceList<'_, 'bytes> {
    /// Adds a slice; `false` when the list is full. Never allocates.
    pub fn push(&mut self, bytes: &'bytes [u8]) -> bool {
        let has_room = self.0.len() < SLICES_MAX;
        if has_room {
            self.0.push(IoSlice::new(bytes));
        }
        has_room
    }

    /// Forgets all slices from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Gives the slices.
    pub fn as_slice(&self) -> &[IoSlice<'bytes>] {
        self.0
    }

    /// Gives the number of slices.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_refuses_more_than_the_kernel_takes_and_starts_empty_again() {
        let mut slices = Slices::default();
        {
            let bytes = vec![7; 3];
            let mut list = slices.start();
            for _ in 0..SLICES_MAX {
                assert!(list.push(&bytes));
            }
            assert!(!list.push(&bytes));
            list.truncate(2);
            assert_eq!(list.as_slice().iter().map(|s| s.len()).sum::<usize>(), 6);
        }
        assert!(slices.start().is_empty());
        assert_eq!(slices.0.capacity(), SLICES_MAX);
    }
}
