//! Locks shared by threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock, also if a thread panicked while it held it: the others go on. So each critical section has to leave a value that is complete wherever it
/// may panic.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_holder_does_not_make_others_panic() {
        let value = Mutex::new(1);
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let mut held = lock(&value);
                *held = 2;
                panic!("on purpose");
            });
            assert!(holder.join().is_err());
        });
        assert!(value.is_poisoned());
        assert_eq!(*lock(&value), 2);
    }
}
