//! Slots for connections. Their number can change while some are in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// `limits.connections`; all clones are one.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    count: Arc<Mutex<Count>>,
}

#[derive(Debug)]
struct Count {
    /// The existing slots, free or in use.
    there: usize,
    /// How many slots there should be.
    wanted: usize,
    /// Whether a task waits for slots to become free and go away.
    is_shrinking: bool,
}

impl Slots {
    /// Starts with this many slots.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = places.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(places)),
            count: Arc::new(Mutex::new(Count {
                there: places,
                wanted: places,
                is_shrinking: false,
            })),
        }
    }

    /// Takes a free slot until the result is dropped; `None` if all are in use.
    #[must_use]
    pub fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Changes the number of slots. Nobody loses one: if more are in use, the next ones that become free go away. Needs
    /// a Tokio runtime.
    pub fn resize(&self, places: usize) {
        let mut count = self.count();
        count.wanted = places.min(Semaphore::MAX_PERMITS);
        if count.there < count.wanted {
            self.free.add_permits(count.wanted - count.there);
            count.there = count.wanted;
        }
        if count.there > count.wanted && !count.is_shrinking {
            count.is_shrinking = true;
            tokio::spawn(self.clone().shrink());
        }
    }

    async fn shrink(self) {
        loop {
            {
                let mut count = self.count();
                if count.there <= count.wanted {
                    count.is_shrinking = false;
                    return;
                }
            }
            // It waits in the queue, so it gets a free slot before a later connection does.
            let Ok(place) = self.free.acquire().await else {
                return;
            };
            let mut count = self.count();
            if count.there > count.wanted {
                place.forget();
                count.there -= 1;
            }
        }
    }

    /// Code that holds the lock can't panic.
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the task that removes slots run until it waits.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn places_come_and_go_while_some_are_taken() {
        let slots = Slots::new(3);
        let mut taken: Vec<_> = (0..3).map(|_| slots.take().unwrap()).collect();
        assert!(slots.take().is_none());
        slots.resize(1);
        settle().await;
        for _ in 0..2 {
            taken.pop();
            settle().await;
            assert!(slots.take().is_none(), "{slots:?}");
        }
        taken.pop();
        settle().await;
        let one = slots.take().unwrap();
        assert!(slots.take().is_none());
        slots.resize(2);
        let two = slots.take().unwrap();
        assert!(slots.take().is_none());
        drop((one, two));
        assert_eq!(slots.free.available_permits(), 2);
    }

    #[tokio::test]
    async fn what_was_taken_away_can_be_given_back_before_it_is_gone() {
        let slots = Slots::new(2);
        let taken = [slots.take().unwrap(), slots.take().unwrap()];
        slots.resize(1);
        settle().await;
        slots.resize(2);
        drop(taken);
        settle().await;
        let count = slots.count();
        assert_eq!((count.there, count.is_shrinking), (2, false));
        drop(count);
        assert_eq!(slots.free.available_permits(), 2);
    }
}
