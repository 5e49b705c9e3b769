//! Requests of transactions, and their script.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::wakers::wake_all;
use kafka_tower_core::{ConsumerGroup, Result, TopicOffset};
use tokio::time::Instant;

use super::{Broker, BrokerClient};
use crate::errors::transaction as errors;
use crate::faults::plan::Plan;
use crate::store::Store;
use crate::transaction::coordinator::{Identity, Refusal};
use crate::transaction::script::{Answer, Case, CaseId, HeldEnd, Script, TransactionCall};

/// Reply to a request.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    /// `None` if it was lost.
    pub(crate) answer: Option<Result<T>>,
    pub(crate) late: Duration,
}

impl<C: BrokerClient> Broker<C> {
    pub(crate) fn init_transactions(&self, client: &C) -> Reply<Identity> {
        let Some((id, timeout)) = client.transaction().map(|state| (Arc::clone(&state.id), state.timeout)) else {
            unreachable!("asked for transactional clients only");
        };
        self.request(&id, TransactionCall::Init, None, |store| Ok(store.init(&id, timeout)))
    }

    pub(crate) fn end_transaction(&self, client: &C, call: TransactionCall, who: Identity) -> Reply<()> {
        let id = self.id(client);
        let commit = call == TransactionCall::Commit;
        let name = if commit { "commit" } else { "abort" };
        self.request(&id, call, Some(HeldEnd { id: Arc::clone(&id), who, commit }), |store| {
            store.end(&id, who, commit).map_err(|refusal| errors::refused(name, &id, refusal, false))
        })
    }

    pub(crate) fn send_offsets(
        &self,
        client: &C,
        who: Identity,
        group: &ConsumerGroup,
        offsets: &[TopicOffset],
    ) -> Reply<()> {
        let id = self.id(client);
        let now = Instant::now();
        self.request(&id, TransactionCall::SendOffsets, None, |store| {
            if !store.groups.is_current(group) {
                return Err(errors::illegal_generation(&group.group_id));
            }
            let refused = |refusal: Refusal| errors::refused("send_offsets", &id, refusal, false);
            store.add_offsets(&id, who, &group.group_id, offsets, now).map_err(refused)
        })
    }

    fn id(&self, client: &C) -> Arc<str> {
        client.transaction().map(|state| Arc::clone(&state.id)).unwrap_or_default()
    }

    /// Runs one request under the script.
    fn request<T>(
        &self,
        id: &str,
        call: TransactionCall,
        end: Option<HeldEnd>,
        apply: impl FnOnce(&mut Store) -> Result<T>,
    ) -> Reply<T> {
        let mut state = self.lock();
        let scripted = state.transaction_script.next(id, call);
        let drawn = |plan: &mut Plan| plan.transaction(call);
        let action = scripted.or_else(|| state.plan.as_mut().and_then(drawn)).unwrap_or_default();
        if action.expire {
            state.store.abort(id);
        }
        let due = Instant::now().checked_add(action.stale).filter(|_| !action.stale.is_zero());
        match (end, action.hold, due) {
            (Some(end), Some(hold), _) => state.transaction_script.keep(hold, end),
            (Some(end), None, Some(due)) => state.transaction_script.keep_until(due, end),
            _ => {}
        }
        let applied = action.apply.then(|| apply(&mut state.store));
        let answer = match (action.answer, applied) {
            (Answer::Lost, _) | (Answer::Truth, None) => None,
            (Answer::Error(error), _) => Some(Err(error)),
            (Answer::Truth, Some(answer)) => Some(answer),
        };
        let readers = state.take_readers();
        drop(state);
        wake_all(readers);
        Reply { answer, late: action.late }
    }

    pub(crate) fn add_transaction_case(&self, case: Case, hold: bool) -> CaseId {
        self.lock().transaction_script.add(case, hold)
    }

    pub(crate) fn with_transaction_script<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.lock().transaction_script)
    }

    /// Delivers held requests to the coordinator. Their replies are ignored.
    pub(crate) fn release_ends(&self, hold: CaseId) {
        let mut state = self.lock();
        for HeldEnd { id, who, commit } in state.transaction_script.release(hold) {
            let _ = state.store.end(&id, who, commit);
        }
        let readers = state.take_readers();
        drop(state);
        wake_all(readers);
    }
}
