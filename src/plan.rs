//! The plan: what one operation does, as a graph of steps. Pure data, stored as JSON; it never waits for anything.

use serde::{Deserialize, Serialize};

use crate::step::Step;
use crate::step::action::StepAction;

/// A graph of steps, made of parts that run one after another and parts that run at the same time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// One step. A step's name occurs once in a plan.
    Step(Box<Step>),
    /// Parts that run one after another.
    Sequence(Vec<Plan>),
    /// Parts that run at the same time.
    Parallel(Vec<Plan>),
}

impl Plan {
    /// A plan of one step.
    pub fn step(step: impl Into<Step>) -> Self {
        Self::Step(Box::new(step.into()))
    }

    /// All steps, in an order in which they could run.
    #[must_use]
    pub fn steps(&self) -> Vec<&Step> {
        match self {
            Self::Step(step) => vec![step],
            Self::Sequence(parts) | Self::Parallel(parts) => parts.iter().flat_map(Self::steps).collect(),
        }
    }

    /// The step of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Step> {
        self.steps().into_iter().find(|step| step.name() == name)
    }

    /// The parameters of the step of this type.
    #[must_use]
    pub fn parameters<A: StepAction>(&self) -> Option<A> {
        // A stored step is its variant's name with its parameters.
        let step = serde_json::to_value(self.find(A::NAME)?).ok()?;
        serde_json::from_value(step.as_object()?.values().next()?.clone()).ok()
    }

    /// Every step with the names of the steps that it waits for, in an order in which they could run.
    #[must_use]
    pub fn dependencies(&self) -> Vec<(&Step, Vec<&'static str>)> {
        let mut found = Vec::new();
        self.collect(&[], &mut found);
        found
    }

    /// Adds this part's steps to `found` and returns the names of those that end it.
    fn collect<'a>(
        &'a self,
        after: &[&'static str],
        found: &mut Vec<(&'a Step, Vec<&'static str>)>,
    ) -> Vec<&'static str> {
        match self {
            Self::Step(step) => {
                found.push((step, after.to_vec()));
                vec![step.name()]
            }
            Self::Sequence(parts) => parts.iter().fold(after.to_vec(), |after, part| part.collect(&after, found)),
            Self::Parallel(parts) => parts.iter().flat_map(|part| part.collect(after, found)).collect(),
        }
    }

    /// The sum of the weights of all steps.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.steps().iter().map(|step| step.weight()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepositoryUrl;
    use crate::step::bootstrap_host::BootstrapHost;
    use crate::step::clone_repository::CloneRepository;
    use crate::step::find_cluster::FindCluster;
    use crate::step::find_instance::FindInstance;
    use crate::step::remove_workspace::RemoveWorkspace;

    const REPOSITORY: &str = "https://git.example.test/a/b";

    /// One step, then a clone beside two steps in a row, then one step.
    fn plan() -> Plan {
        let clone = CloneRepository { repository: RepositoryUrl::parse(REPOSITORY).unwrap(), git_ref: None };
        Plan::Sequence(vec![
            Plan::step(FindCluster {}),
            Plan::Parallel(vec![
                Plan::step(clone),
                Plan::Sequence(vec![Plan::step(FindInstance {}), Plan::step(BootstrapHost {})]),
            ]),
            Plan::step(RemoveWorkspace {}),
        ])
    }

    #[test]
    fn a_step_waits_for_the_ends_of_the_part_before_it() {
        let plan = plan();

        let waits: Vec<_> = plan.dependencies().into_iter().map(|(step, after)| (step.name(), after)).collect();

        assert_eq!(
            waits,
            [
                ("find_cluster", vec![]),
                ("clone_repository", vec!["find_cluster"]),
                ("find_instance", vec!["find_cluster"]),
                ("bootstrap_host", vec!["find_instance"]),
                ("remove_workspace", vec!["clone_repository", "bootstrap_host"]),
            ]
        );
    }

    #[test]
    fn a_step_is_found_by_its_name_and_its_parameters_by_their_type() {
        let plan = plan();

        assert_eq!(plan.find("bootstrap_host").map(Step::name), Some("bootstrap_host"));
        assert!(plan.find("push_image").is_none());
        assert_eq!(plan.parameters::<CloneRepository>().unwrap().repository.to_string(), REPOSITORY);
        assert!(Plan::step(FindInstance {}).parameters::<CloneRepository>().is_none());
    }

    #[test]
    fn a_plan_weighs_what_its_steps_weigh_together() {
        let two = Plan::Parallel(vec![Plan::step(BootstrapHost {}), Plan::step(FindInstance {})]);

        assert_eq!(two.weight(), BootstrapHost {}.weight() + FindInstance {}.weight());
        assert_eq!(Plan::Sequence(Vec::new()).weight(), 0);
    }
}
