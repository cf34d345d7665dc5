//! How many bytes a fetch asks for: the size of its window, and how a window is chosen in which one batch can be read alone.

pub(in crate::kafka) mod isolate;
pub(in crate::kafka) mod size;
