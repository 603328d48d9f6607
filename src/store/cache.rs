//! Buckets in memory, so that a request does not read the row of its bucket each time. This process
//! is the only one that writes buckets; whoever changes one clears the cache when it is committed.

use super::Bucket;
use super::StoreError;
use crate::limits::CACHED_BUCKETS;
use crate::types::BucketName;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

#[derive(Default, Debug)]
struct State {
    buckets: HashMap<BucketName, Arc<Bucket>>,
    /// Counts the clearings.
    generation: u64,
}

/// See the module's description.
#[derive(Default, Debug)]
pub struct BucketCache(RwLock<State>);

impl BucketCache {
    /// The bucket of a name, from memory or else from `load`.
    pub fn get(
        &self,
        name: &BucketName,
        load: impl FnOnce() -> Result<Option<Bucket>, StoreError>,
    ) -> Result<Option<Arc<Bucket>>, StoreError> {
        let generation = {
            let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(bucket) = state.buckets.get(name) {
                return Ok(Some(Arc::clone(bucket)));
            }
            state.generation
        };
        let Some(bucket) = load()?.map(Arc::new) else { return Ok(None) };
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // What was loaded before a clearing may be what was changed.
        if state.generation == generation {
            if state.buckets.len() >= CACHED_BUCKETS {
                state.buckets.clear();
            }
            state.buckets.insert(name.clone(), Arc::clone(&bucket));
        }
        Ok(Some(bucket))
    }

    /// Forgets everything. To be called after a commit that changed a bucket.
    pub fn clear(&self) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        state.buckets.clear();
    }
}
