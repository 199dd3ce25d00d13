//! Compares the names by which alarms know the protected APIs with the names that the APIs have now. An API's name need not
//! be unique and can change, so another API can come to bear the name of a protected one. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::stage::{Api, StageRef};
use crate::model::target::metric_name;

/// The most other APIs that a report lists.
const SHOWN: usize = 3;

/// A protected stage, and the names by which the settings and its record know its API.
pub type KnownNames<'a> = (&'a StageRef, Vec<String>);

/// Returns for each name, as CloudWatch spells it, the APIs that it can mean: those that are called so, and the protected ones
/// that the settings or a record call so. An API that was deleted means nothing any more.
#[must_use]
pub fn bearers(known: &[KnownNames<'_>], apis: &[Api]) -> BTreeMap<String, BTreeSet<String>> {
    let mut bearers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (stage, names) in known.iter().filter(|(stage, _)| apis.iter().any(|api| api.id == stage.api)) {
        for name in names {
            bearers.entry(metric_name(name, &stage.api).into_owned()).or_default().insert(stage.api.clone());
        }
    }
    for api in apis {
        if let Some(ids) = bearers.get_mut(&*metric_name(&api.name, &api.id)) {
            ids.insert(api.id.clone());
        }
    }
    bearers
}

/// Returns what is wrong with the names of a stage's API, as a sentence; `None` if an alarm on any of them means only this API.
#[must_use]
pub fn fault(
    (stage, names): &KnownNames<'_>,
    bearers: &BTreeMap<String, BTreeSet<String>>,
    apis: &[Api],
) -> Option<String> {
    for name in names {
        let spelt = metric_name(name, &stage.api);
        let others = bearers.get(&*spelt).into_iter().flatten().filter(|id| **id != stage.api);
        let others: Vec<&str> = others.map(String::as_str).collect();
        if !others.is_empty() {
            let more = others.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Some(format!(
                "the name `{spelt}` can mean API `{}` and {}{more}: an alarm on that name does not roll {stage} back",
                stage.api,
                others.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ")
            ));
        }
    }
    let now = apis.iter().find(|api| api.id == stage.api)?;
    let spelt = metric_name(&now.name, &now.id);
    let is_known = names.is_empty() || names.iter().any(|name| metric_name(name, &stage.api) == spelt);
    (!is_known).then(|| {
        format!(
            "API `{}` is called `{}` now, not `{}`: alarms on the old name get no data",
            stage.api,
            now.name,
            names.join("` or `")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol::Protocol;

    #[test]
    fn a_name_that_can_mean_another_api_or_nothing_is_found() {
        let orders = StageRef::rest("a1", "prod");
        for (case, known, apis, expected_bearers, expected) in [
            ("its own name", vec!["orders"], vec![("a1", "orders")], "orders: a1", ""),
            ("no name is known", vec![], vec![("a1", "orders"), ("b2", "orders")], "", ""),
            (
                "another API has another name",
                vec!["orders"],
                vec![("a1", "orders"), ("b2", "web")],
                "orders: a1",
                "",
            ),
            (
                "a second API of the name",
                vec!["orders"],
                vec![("a1", "orders"), ("b2", "orders")],
                "orders: a1 b2",
                "can mean API `a1` and b2",
            ),
            (
                "it was renamed",
                vec!["orders"],
                vec![("a1", "new")],
                "orders: a1",
                "is called `new` now, not `orders`",
            ),
            (
                "it was renamed, and another one has its name",
                vec!["orders"],
                vec![("a1", "new"), ("b2", "orders")],
                "orders: a1 b2",
                "can mean API `a1` and b2",
            ),
            (
                "the settings know the new name",
                vec!["new", "orders"],
                vec![("a1", "new")],
                "new: a1; orders: a1",
                "",
            ),
            (
                "names that CloudWatch spells alike",
                vec!["order-ü"],
                vec![("a1", "order-ü"), ("b2", "order-é")],
                "order-: a1 b2",
                "can mean API `a1` and b2",
            ),
            (
                "a name of which nothing remains",
                vec!["注文"],
                vec![("a1", "注文"), ("b2", "注文")],
                "a1: a1",
                "",
            ),
            ("the APIs cannot be read", vec!["orders"], vec![], "", ""),
            ("it was deleted, and its name is another one's", vec!["orders"], vec![("b2", "orders")], "", ""),
        ] {
            let known = (&orders, known.into_iter().map(str::to_owned).collect());
            let api =
                |(id, name): (&str, &str)| Api { protocol: Protocol::Rest, id: id.into(), name: name.into() };
            let apis: Vec<Api> = apis.into_iter().map(api).collect();
            let known = [known];
            let bearers = bearers(&known, &apis);
            let shown = bearers.iter().map(|(name, ids)| {
                format!("{name}: {}", ids.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
            });
            assert_eq!(shown.collect::<Vec<_>>().join("; "), expected_bearers, "{case}");
            let fault = fault(&known[0], &bearers, &apis).unwrap_or_default();
            assert!(fault.contains(expected) && fault.is_empty() == expected.is_empty(), "{case}: {fault}");
        }
    }

    #[test]
    fn three_other_apis_of_the_name_are_listed_and_the_rest_is_counted() {
        let orders = (&StageRef::rest("a1", "prod"), vec!["orders".to_owned()]);
        for (others, expected) in [
            (0, None),
            (1, Some("b1")),
            (2, Some("b1, b2")),
            (3, Some("b1, b2, b3")),
            (4, Some("b1, b2, b3 and 1 more")),
            (6, Some("b1, b2, b3 and 3 more")),
        ] {
            let ids = (1..=others).map(|nth| format!("b{nth}")).chain(["a1".to_owned()]);
            let api = |id| Api { protocol: Protocol::Rest, id, name: "orders".into() };
            let apis: Vec<Api> = ids.map(api).collect();
            let expected = expected.map(|others| {
                let name = format!("the name `orders` can mean API `a1` and {others}");
                format!("{name}: an alarm on that name does not roll rest/a1/prod back")
            });
            let known = [orders.clone()];
            assert_eq!(fault(&known[0], &bearers(&known, &apis), &apis), expected, "{others} others");
        }
    }
}
