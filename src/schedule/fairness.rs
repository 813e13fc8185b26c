//! Fair shares: deficit round robin among the clients that have mail waiting, with a quantum of one recipient
//! (Shreedhar and Varghese, 1995).

use std::collections::BTreeMap;

use crate::ids::ClientName;

/// What each waiting client has saved up, and whose turn was last.
#[derive(Clone, Debug, Default)]
pub struct Fairness {
    deficits: BTreeMap<ClientName, u64>,
    last: Option<ClientName>,
}

impl Fairness {
    /// Whose turn it is: `waiting` holds, in order of name, each client that has mail and the recipients of its next
    /// message. Rounds in which nobody could afford its message are skipped at once.
    pub fn choose<'a>(&mut self, waiting: &BTreeMap<&'a ClientName, u32>) -> Option<&'a ClientName> {
        self.deficits.retain(|client, _| waiting.contains_key(client));
        let saved = |client: &ClientName| self.deficits.get(client).copied().unwrap_or(0);
        let rounds = |(client, cost): (&ClientName, u32)| u64::from(cost.max(1)).saturating_sub(saved(client));
        let after_last = |client: &ClientName| self.last.as_ref().is_none_or(|last| client > last);
        let (chosen, cost) = waiting
            .iter()
            .map(|(client, cost)| (*client, *cost))
            .min_by_key(|(client, cost)| (rounds((client, *cost)), !after_last(client)))?;
        let rounds = rounds((chosen, cost));
        for client in waiting.keys() {
            *self.deficits.entry((*client).clone()).or_default() += rounds;
        }
        if let Some(deficit) = self.deficits.get_mut(chosen) {
            *deficit = deficit.saturating_sub(u64::from(cost.max(1)));
        }
        self.last = Some(chosen.clone());
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(costs: &[(&str, u32)], count: usize) -> Vec<String> {
        let names: Vec<(ClientName, u32)> = costs.iter().map(|(name, cost)| ((*name).into(), *cost)).collect();
        let mut fairness = Fairness::default();
        let waiting = names.iter().map(|(name, cost)| (name, *cost)).collect();
        (0..count).map(|_| fairness.choose(&waiting).unwrap().to_string()).collect()
    }

    #[test]
    fn equal_messages_take_turns() {
        assert_eq!(turns(&[("a", 1), ("b", 1), ("c", 1)], 6), ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn recipients_are_shared_not_messages() {
        let turns = turns(&[("bulk", 10), ("form", 1)], 1100);
        let bulk = turns.iter().filter(|name| *name == "bulk").count();
        assert_eq!(bulk, 100, "one message of ten recipients for each ten of one");
    }

    #[test]
    fn who_was_away_has_saved_nothing() {
        let (a, b): (ClientName, ClientName) = ("a".into(), "b".into());
        let mut fairness = Fairness::default();
        for _ in 0..50 {
            fairness.choose(&[(&a, 1)].into());
        }
        let both = [(&a, 1), (&b, 1)].into();
        let turns: Vec<_> = (0..4).map(|_| fairness.choose(&both).unwrap().as_str()).collect();
        assert_eq!(turns, ["b", "a", "b", "a"]);
    }
}
