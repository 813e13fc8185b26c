//! Fair shares: deficit round robin among the clients that have mail waiting, with a quantum of one recipient
//! (Shreedhar and Varghese, 1995).

use std::collections::BTreeMap;

use crate::ids::ClientName;
use crate::route::Priority;

/// Whose turn it is, in each class by itself: what goes first because it is urgent takes nobody's turn away.
#[derive(Clone, Debug, Default)]
pub struct Fairness {
    classes: BTreeMap<Priority, Turns>,
}

impl Fairness {
    /// Whose turn it is in this class: `waiting` holds, in order of name, each client that has mail and the recipients
    /// of its next transaction.
    pub fn choose<'a>(&mut self, class: Priority, waiting: &BTreeMap<&'a ClientName, u32>) -> Option<&'a ClientName> {
        self.classes.entry(class).or_default().choose(waiting)
    }
}

/// What each waiting client has saved up, and whose turn was last.
#[derive(Clone, Debug, Default)]
struct Turns {
    deficits: BTreeMap<ClientName, u64>,
    last: Option<ClientName>,
}

impl Turns {
    /// Rounds in which nobody could afford its transaction are skipped at once.
    fn choose<'a>(&mut self, waiting: &BTreeMap<&'a ClientName, u32>) -> Option<&'a ClientName> {
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
        (0..count).map(|_| fairness.choose(Priority::Normal, &waiting).unwrap().to_string()).collect()
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
            fairness.choose(Priority::Normal, &[(&a, 1)].into());
        }
        let both = [(&a, 1), (&b, 1)].into();
        let turns: Vec<_> = (0..4).map(|_| fairness.choose(Priority::Normal, &both).unwrap().as_str()).collect();
        assert_eq!(turns, ["b", "a", "b", "a"]);
    }

    #[test]
    fn who_goes_first_in_another_class_changes_no_turn() {
        let [camera, fire, shop]: [ClientName; 3] = ["camera", "fire", "shop"].map(Into::into);
        let mut fairness = Fairness::default();
        let turns: Vec<_> = (0..4)
            .map(|_| {
                fairness.choose(Priority::High, &[(&fire, 1)].into());
                fairness.choose(Priority::Normal, &[(&camera, 1), (&shop, 1)].into()).unwrap().as_str()
            })
            .collect();
        assert_eq!(turns, ["camera", "shop", "camera", "shop"]);
    }
}
