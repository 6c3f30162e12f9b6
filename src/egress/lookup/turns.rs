//! The turns that the lookups of one tenant take with each other. In: a tenant. Out: how many of his names are looked up at a time, shared by all of
//! his destinations, however often their rows are read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;

use tokio::sync::Semaphore;

/// How many names of one tenant are looked up at a time. The pool of threads has 512.
pub(super) const AT_ONCE: usize = 32;

/// The turns of all tenants, or of one of them. Clones share them.
#[derive(Debug, Clone)]
pub(in crate::egress) struct Turns {
    own: Arc<Semaphore>,
    tenants: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { own: Arc::new(Semaphore::new(AT_ONCE)), tenants: Arc::default() }
    }
}

impl Turns {
    /// Returns the turns of this tenant.
    pub(in crate::egress) fn of_tenant(&self, tenant: &str) -> Turns {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = tenants.get(tenant).and_then(Weak::upgrade) {
            return Turns { own, tenants: Arc::clone(&self.tenants) };
        }
        if tenants.len() == tenants.capacity() {
            // Tenants that have no destination any more are forgotten before the table grows.
            tenants.retain(|_, turns| turns.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(AT_ONCE));
        tenants.insert(tenant.to_owned(), Arc::downgrade(&own));
        Turns { own, tenants: Arc::clone(&self.tenants) }
    }

    pub(super) fn own(&self) -> Arc<Semaphore> {
        Arc::clone(&self.own)
    }
}

/// Turns are no setting: configurations are equal whoever looks something up.
impl PartialEq for Turns {
    fn eq(&self, _: &Turns) -> bool {
        true
    }
}

impl Eq for Turns {}
