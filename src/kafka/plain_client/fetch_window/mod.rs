//! How many bytes a fetch requests: the size of its window, and the search for a window that contains a single batch.

pub(in crate::kafka) mod isolate;
pub(in crate::kafka) mod size;
