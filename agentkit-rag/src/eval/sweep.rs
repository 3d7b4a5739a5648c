//! Plans that differ in their parameters, made from one.

use std::str::FromStr;

use agentkit_core::{Error, Result, SearchPlan};
use serde_json::Value;

use super::options::NamedPlan;

/// Most plans of one sweep.
const MAX_PLANS: usize = 1_000;

/// A parameter of a plan and the values to try.
///
/// As text `k=10,60,100`: every member `k` of the plan's JSON is given each value in turn. A name with a `/` in front is a
/// JSON pointer (RFC 6901) to one place, which need not be there yet: `/fuse/inputs/0/dense/exact=true,false`.
/// Values are JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    name: String,
    values: Vec<Value>,
}

/// Every combination of the dimensions' values, put into `plan`; the first dimension changes slowest.
///
/// # Errors
/// Invalid input, if the plan does not have the parameter or a value makes it no plan, or there are more than 1000 plans.
///
/// # Examples
/// ```
/// use agentkit_core::SearchPlan;
/// use agentkit_rag::eval::{NamedPlan, sweep};
///
/// let rrf = NamedPlan::new("rrf", SearchPlan::rrf());
/// let plans = sweep(&rrf, &["k=10,60".parse().unwrap(), "candidates=50,100".parse().unwrap()]).unwrap();
/// let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
/// assert_eq!(
///     names,
///     ["rrf k=10 candidates=50", "rrf k=10 candidates=100", "rrf k=60 candidates=50", "rrf k=60 candidates=100"]
/// );
/// assert_eq!(plans[3].plan, SearchPlan::rrf());
/// ```
pub fn sweep(plan: &NamedPlan, dimensions: &[Dimension]) -> Result<Vec<NamedPlan>> {
    let json = serde_json::to_value(&plan.plan);
    let json = json.map_err(|error| Error::internal("write the plan as JSON").with_source(error))?;
    let mut variants = vec![(plan.name.clone(), json)];
    for dimension in dimensions {
        if variants.len().saturating_mul(dimension.values.len()) > MAX_PLANS {
            return Err(Error::invalid_input(format!(
                "a sweep has at most {MAX_PLANS} plans; try fewer values"
            )));
        }
        let next: Result<Vec<Vec<_>>> = variants.iter().map(|variant| dimension.vary(variant)).collect();
        variants = next?.into_iter().flatten().collect();
    }
    variants.into_iter().map(named).collect()
}

fn named((name, json): (String, Value)) -> Result<NamedPlan> {
    let plan: SearchPlan = serde_json::from_value(json)
        .map_err(|error| Error::invalid_input(format!("{name} is not a plan")).with_source(error))?;
    plan.validate()?;
    Ok(NamedPlan { name, plan })
}

impl Dimension {
    fn vary(&self, (name, json): &(String, Value)) -> Result<Vec<(String, Value)>> {
        let vary = |value: &Value| {
            let mut json = json.clone();
            if self.set(&mut json, value) {
                Ok((format!("{name} {}={}", self.label(), shown(value)), json))
            } else {
                Err(Error::invalid_input(format!("the plan {name} has no parameter {:?}: {json}", self.name)))
            }
        };
        self.values.iter().map(vary).collect()
    }

    /// The last name of a pointer.
    fn label(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Whether there was a place for the value.
    fn set(&self, json: &mut Value, value: &Value) -> bool {
        let Some((parent, last)) = self.name.rsplit_once('/') else {
            return set_named(json, &self.name, value);
        };
        match json.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.insert(last.replace("~1", "/").replace("~0", "~"), value.clone());
                true
            }
            Some(Value::Array(items)) => {
                let item = last.parse().ok().and_then(|at: usize| items.get_mut(at));
                item.map(|item| *item = value.clone()).is_some()
            }
            _ => false,
        }
    }
}

/// Sets every member of this name, at any depth; what was set is not looked into.
fn set_named(json: &mut Value, name: &str, value: &Value) -> bool {
    match json {
        Value::Object(members) => members.iter_mut().fold(false, |found, (member, inner)| {
            if member == name {
                *inner = value.clone();
                return true;
            }
            set_named(inner, name, value) || found
        }),
        Value::Array(items) => {
            items.iter_mut().filter_map(|item| set_named(item, name, value).then_some(())).count() > 0
        }
        _ => false,
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl FromStr for Dimension {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid_input(format!("{text:?} is no sweep; write one as k=10,60,100"));
        let (name, values) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
        let values: Vec<Value> =
            serde_json::from_str(&format!("[{values}]")).map_err(|error| wrong().with_source(error))?;
        if values.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swept(dimensions: &[&str]) -> Result<Vec<NamedPlan>> {
        let dimensions: Vec<Dimension> = dimensions.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        sweep(&NamedPlan::new("p", SearchPlan::rrf()), &dimensions)
    }

    #[test]
    fn a_pointer_reaches_one_place_that_need_not_be_there() {
        let plans =
            swept(&["/fuse/inputs/0/dense/exact=true", "/fuse/inputs/1/lexical/candidates=7"]).unwrap();
        let SearchPlan::Fuse { inputs, .. } = &plans[0].plan else { panic!("{plans:?}") };
        assert_eq!(inputs, &[SearchPlan::dense_exact(), SearchPlan::lexical().candidates(7)]);
        assert_eq!(plans[0].name, "p exact=true candidates=7");
        let swapped = swept(&[r#"/fuse/inputs/1={"dense":{}},{"lexical":{}}"#]).unwrap();
        assert_eq!(swapped[1].plan, SearchPlan::rrf());
    }

    #[test]
    fn wrong_sweeps_are_refused_with_a_reason() {
        for (dimension, part) in [
            ("k", "is no sweep"),
            ("k=", "is no sweep"),
            ("=1", "is no sweep"),
            ("k=1,x", "is no sweep"),
            ("depth=1", "has no parameter \"depth\""),
            ("/fuse/inputs/7=1", "has no parameter"),
            ("k=-1", "the k of rrf"),
            ("k=true", "p k=true is not a plan"),
        ] {
            let error = swept(&[dimension]).unwrap_err();
            assert!(error.is_invalid_input() && error.chain().contains(part), "{dimension}: {error:?}");
        }
        let many = format!("k={}", vec!["1"; 40].join(","));
        assert!(
            swept(&[
                &many,
                "candidates=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26"
            ])
            .is_err()
        );
        assert_eq!(swept(&[&many]).unwrap().len(), 40);
    }
}
