//! Buckets in memory, so that a request does not read the row of its bucket each time. This process
//! is the only one that writes buckets; whoever changes one clears the cache when it is committed.

use super::Bucket;
use super::StoreError;
use crate::limits::{CACHED_BUCKETS, CACHED_CONFIG_BYTES};
use crate::types::BucketName;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

#[derive(Default, Debug)]
struct State {
    buckets: HashMap<BucketName, Arc<Bucket>>,
    /// Bytes of their configurations.
    bytes: usize,
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
            let bytes: usize = bucket.configs.values().map(String::len).sum();
            let full = state.buckets.len() >= CACHED_BUCKETS
                || state.bytes.saturating_add(bytes) > CACHED_CONFIG_BYTES;
            if full {
                state.buckets.clear();
                state.bytes = 0;
            }
            // Another thread may have loaded it as well.
            if state.buckets.insert(name.clone(), Arc::clone(&bucket)).is_none() {
                state.bytes += bytes;
            }
        }
        Ok(Some(bucket))
    }

    /// Forgets everything. To be called after a commit that changed a bucket.
    pub fn clear(&self) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        state.buckets.clear();
        state.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConfigKind;
    use crate::types::Versioning;

    fn bucket(name: &BucketName, rules: String) -> Bucket {
        Bucket {
            id: 1,
            name: name.clone(),
            created_ms: 0,
            owner: String::new(),
            region: String::new(),
            versioning: Versioning::Unversioned,
            lock: false,
            quota: None,
            configs: [(ConfigKind::Lifecycle, rules)].into(),
            parsed: Default::default(),
        }
    }

    fn name(n: usize) -> BucketName {
        BucketName::parse(&format!("bucket-{n}")).unwrap()
    }

    #[test]
    fn rules_are_read_once_and_again_when_they_have_changed() {
        let cache = BucketCache::default();
        let rules = |text: &str| {
            let load = || Ok(Some(bucket(&name(1), text.to_owned())));
            cache.get(&name(1), load).unwrap().unwrap().rules().cloned()
        };
        let first = rules("[]").unwrap();
        assert!(Arc::ptr_eq(&first, &rules("not asked for").unwrap()));
        cache.clear();
        assert!(!Arc::ptr_eq(&first, &rules("[]").unwrap()));
        cache.clear();
        assert_eq!(rules("of another program"), None);
    }

    #[test]
    fn large_configurations_are_not_kept_without_bound() {
        let cache = BucketCache::default();
        let size = CACHED_CONFIG_BYTES / 10;
        for n in 0..100 {
            let found = cache.get(&name(n), || Ok(Some(bucket(&name(n), "x".repeat(size)))));
            assert!(found.unwrap().is_some());
            assert!(cache.0.read().unwrap().buckets.len() <= 10);
        }
        let again = cache.get(&name(99), || panic!("it is kept"));
        assert!(again.unwrap().is_some());
    }
}
