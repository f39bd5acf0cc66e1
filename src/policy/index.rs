//! Which of many `match` blocks may take a request, without looking at each of them.
//!
//! What comes out is a superset, and a small one: what is left out does not take the request; whether the rest does is
//! for [`Match`] to say. Knows names (operations, groups, resources, kinds, namespaces), no policies.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::admission::{Operation, Origin, Request};
use crate::policy::gatekeeper::{ConstraintMatch, ObjectNames};
use crate::policy::kinds::TEMPLATE_KINDS;
use crate::policy::matching::{Match, POD_SPEC_SUBRESOURCES, namespace_of};

/// Places of `match` blocks in their list, by what a request names.
#[derive(Debug, Default)]
pub struct MatchIndex {
    /// By group, resource and subresource of the request.
    rules: BTreeMap<Operation, Named<Named<Named<Slot>>>>,
    /// By group and kind of the object.
    constraints: BTreeMap<Operation, Named<Named<Slot>>>,
    /// The same for objects that nobody sent: there operations do not count.
    standing: Named<Named<Slot>>,
}

impl MatchIndex {
    /// An index of blocks with their places.
    #[must_use]
    pub fn new<'a>(blocks: impl IntoIterator<Item = (usize, &'a Match)>) -> Self {
        let mut index = Self::default();
        for (place, block) in blocks {
            match &block.constraint {
                Some(constraint) => index.add_constraint(place, block, constraint),
                None => index.add_rules(place, block),
            }
        }
        index
    }

    /// Places of the blocks that may take `request`, ascending.
    #[must_use]
    pub fn candidates(&self, request: &Request) -> Vec<usize> {
        let mut found = Vec::new();
        self.by_resource(request, &mut found);
        self.by_objects(request, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn add_rules(&mut self, place: usize, block: &Match) {
        for rule in &block.rules {
            for (operation, group) in rule.operations.iter().flat_map(|o| rule.api_groups.iter().map(move |g| (o, g))) {
                let by_resource = self.rules.entry(*operation).or_default().at(group);
                for (main, sub) in rule.resources.iter().flat_map(|r| names_of(r)) {
                    by_resource.at(main).at(sub).add(place, &block.namespaces);
                }
            }
        }
        for operation in [Operation::Create, Operation::Update] {
            if block.pod_templates && block.rules.iter().any(|r| r.takes_pods(operation)) {
                let by_group = self.rules.entry(operation).or_default();
                for kind in &TEMPLATE_KINDS {
                    by_group.at(kind.group).at(kind.resource).at("").add(place, &block.namespaces);
                }
            }
        }
    }

    fn add_constraint(&mut self, place: usize, block: &Match, constraint: &ConstraintMatch) {
        let operations: BTreeSet<Operation> = block.rules.iter().flat_map(|r| r.operations.iter().copied()).collect();
        for operation in operations {
            let by_group = self.constraints.entry(operation).or_default();
            add_kinds(by_group, place, constraint);
        }
        add_kinds(&mut self.standing, place, constraint);
    }

    fn by_resource(&self, request: &Request, found: &mut Vec<usize>) {
        let Some(by_group) = self.rules.get(&request.operation) else { return };
        let namespace = namespace_of(request);
        let resource = &request.resource;
        for slot in by_group
            .of(&resource.group)
            .flat_map(|r| r.of(&resource.resource))
            .flat_map(|sub| sub.of(&request.sub_resource))
        {
            slot.find(namespace, found);
        }
    }

    fn by_objects(&self, request: &Request, found: &mut Vec<usize>) {
        let by_group = match request.origin {
            Origin::Standing => &self.standing,
            Origin::Sent => match self.constraints.get(&request.operation) {
                Some(by_group) => by_group,
                None => return,
            },
        };
        for object in [request.object(), request.old_object()].into_iter().filter(|o: &&Value| o.is_object()) {
            let names = ObjectNames::of(object, &request.namespace);
            for slot in by_group.of(names.group).flat_map(|kinds| kinds.of(names.kind)) {
                slot.find(names.namespace, found);
                if names.namespace.is_empty() {
                    found.extend(&slot.outside);
                }
            }
        }
    }
}

fn add_kinds(by_group: &mut Named<Named<Slot>>, place: usize, constraint: &ConstraintMatch) {
    let any = || vec![ANY.to_owned()];
    let or_any = |names: &[String]| if names.is_empty() { any() } else { names.to_vec() };
    let mut pairs: Vec<_> = constraint.kinds.iter().map(|k| (or_any(&k.api_groups), or_any(&k.kinds))).collect();
    if pairs.is_empty() {
        pairs.push((any(), any()));
    }
    for (group, kind) in
        pairs.iter().flat_map(|(groups, kinds)| groups.iter().flat_map(move |g| kinds.iter().map(move |k| (g, k))))
    {
        let slot = by_group.at(group).at(kind);
        slot.add(place, &constraint.namespaces);
        if !constraint.namespaces.is_empty() {
            // What is in no namespace is not left out by names of namespaces.
            slot.outside.push(place);
        }
    }
}

/// Resource and subresource that a pattern of a rule names; `pods` and `*` also take what changes a Pod's spec.
fn names_of(pattern: &str) -> Vec<(&str, &str)> {
    match pattern.split_once('/') {
        Some(names) => vec![names],
        None if pattern == ANY || pattern == "pods" => {
            let of_pods = POD_SPEC_SUBRESOURCES.into_iter().map(|sub| ("pods", sub));
            std::iter::once((pattern, "")).chain(of_pods).collect()
        }
        None => vec![(pattern, "")],
    }
}

const ANY: &str = "*";

/// By a name, or for every name.
#[derive(Debug, Default)]
struct Named<T> {
    any: T,
    exact: HashMap<String, T>,
}

impl<T: Default> Named<T> {
    fn at(&mut self, name: &str) -> &mut T {
        if name == ANY { &mut self.any } else { self.exact.entry(name.to_owned()).or_default() }
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &T> {
        std::iter::once(&self.any).chain(self.exact.get(name))
    }
}

/// The places under one key, by namespace.
#[derive(Debug, Default)]
struct Slot {
    anywhere: Vec<usize>,
    /// By what the name of a namespace begins with: the text before the first `*`.
    within: HashMap<String, Vec<usize>>,
    /// How long the keys of `within` are.
    lengths: BTreeSet<usize>,
    /// Places of `within` that also take what is in no namespace.
    outside: Vec<usize>,
}

impl Slot {
    fn add(&mut self, place: usize, namespaces: &[String]) {
        if namespaces.is_empty() {
            self.anywhere.push(place);
        }
        for glob in namespaces {
            let begin = glob.split('*').next().unwrap_or_default();
            self.within.entry(begin.to_owned()).or_default().push(place);
            self.lengths.insert(begin.len());
        }
    }

    fn find(&self, namespace: &str, found: &mut Vec<usize>) {
        found.extend(&self.anywhere);
        for begin in self.lengths.iter().filter_map(|length| namespace.get(..*length)) {
            found.extend(self.within.get(begin).into_iter().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::decode;
    use crate::policy::match_spec::MatchSpec;
    use crate::policy::{Rule, Scope};
    use serde_json::json;

    /// Numbers that look random and are the same in every run (xorshift64).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % n as u64).expect("small")
        }

        fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
            all[self.below(all.len())]
        }

        fn some(&mut self, most: usize, all: &[&str]) -> Vec<String> {
            (0..self.below(most + 1)).map(|_| self.of(all).to_owned()).collect()
        }

        fn operations(&mut self) -> Vec<Operation> {
            Operation::ALL.into_iter().filter(|_| self.below(2) == 0).collect()
        }
    }

    const GROUPS: [&str; 5] = ["", "apps", "batch", "example.com", "*"];
    const RESOURCES: [&str; 12] = [
        "pods",
        "*",
        "*/*",
        "pods/*",
        "*/scale",
        "pods/exec",
        "deployments",
        "cronjobs",
        "widgets",
        "namespaces",
        "deployments/scale",
        "podtemplates",
    ];
    const KINDS: [&str; 5] = ["Pod", "Deployment", "Namespace", "Widget", "*"];
    const NAMESPACES: [&str; 9] = ["", "a", "team-a", "team-*", "*-a", "t*a", "*", "kube-system", "kube-*"];
    const NAMES: [&str; 6] = ["", "a", "team-a", "team-b", "kube-system", "é"];

    fn rule(dice: &mut Dice) -> Rule {
        Rule {
            api_groups: dice.some(2, &GROUPS),
            api_versions: dice.some(2, &["v1", "*"]),
            resources: dice.some(3, &RESOURCES),
            operations: dice.operations(),
            scope: [Scope::Any, Scope::Cluster, Scope::Namespaced][dice.below(3)],
        }
    }

    fn block(dice: &mut Dice) -> Match {
        let rules = (0..=dice.below(2)).map(|_| rule(dice)).collect();
        if dice.below(2) == 0 {
            let kinds: Vec<_> = (0..dice.below(3))
                .map(|_| json!({"apiGroups": dice.some(2, &GROUPS), "kinds": dice.some(2, &KINDS)}))
                .collect();
            let constraint = json!({"kinds": kinds, "scope": dice.of(&["", "Cluster", "Namespaced"]),
                "namespaces": dice.some(2, &NAMESPACES), "excludedNamespaces": dice.some(1, &NAMESPACES),
                "source": dice.of(&["All", "Generated", "Original"])});
            return Match::of_constraint(serde_json::from_value(constraint).expect("a match block"), rules);
        }
        Match {
            rules,
            namespaces: dice.some(2, &NAMESPACES),
            excluded_namespaces: dice.some(1, &NAMESPACES),
            pod_templates: dice.below(2) == 0,
            ..Match::default()
        }
    }

    fn object(dice: &mut Dice) -> Value {
        let group = dice.of(&["v1", "apps/v1", "example.com/v1"]);
        json!({"apiVersion": group, "kind": dice.of(&KINDS),
            "metadata": {"name": dice.of(&NAMES), "namespace": dice.of(&NAMES)}})
    }

    fn request(dice: &mut Dice) -> Request {
        let (resource, sub) = dice.of(&RESOURCES).split_once('/').unwrap_or((dice.of(&RESOURCES), ""));
        let mut request = json!({"uid": "u", "kind": {"group": "", "version": "v1", "kind": dice.of(&KINDS)},
            "resource": {"group": dice.of(&GROUPS), "version": dice.of(&["v1", "v2"]), "resource": resource},
            "subResource": sub, "name": dice.of(&NAMES), "namespace": dice.of(&NAMES), "userInfo": {},
            "operation": dice.of(&["CREATE", "UPDATE", "DELETE", "CONNECT"])});
        for field in ["object", "oldObject"] {
            if dice.below(3) > 0 {
                request[field] = object(dice);
            }
        }
        if dice.below(4) == 0 {
            return Request::standing(&request);
        }
        let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request});
        let request = decode(review.to_string().as_bytes()).expect("decodes");
        if dice.below(4) == 0 { request.generating(&object(dice)) } else { request }
    }

    /// What the index leaves out, no block takes; and it leaves a good deal out.
    #[test]
    fn the_index_finds_what_a_scan_finds() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let (mut taken, mut found) = (0, 0);
        for _ in 0..40 {
            let blocks: Vec<Match> = (0..60).map(|_| block(&mut dice)).collect();
            let index = MatchIndex::new(blocks.iter().enumerate());
            for _ in 0..150 {
                let request = request(&mut dice);
                let takes = |place: &usize| !blocks[*place].ways(&request).is_empty();
                let candidates = index.candidates(&request);
                let scanned: Vec<usize> = (0..blocks.len()).filter(takes).collect();
                let indexed: Vec<usize> = candidates.iter().copied().filter(takes).collect();
                assert_eq!(scanned, indexed, "{:?}", request.review());
                (taken, found) = (taken + scanned.len(), found + candidates.len());
            }
        }
        assert!(taken > 10_000 && found < 8 * taken, "{taken} taken of {found} found");
    }

    #[test]
    fn names_leave_out_what_has_others() {
        let blocks: Vec<Match> = [
            "kinds: [Pod]",
            "{kinds: [Pod], operations: [DELETE]}",
            "kinds: [Service]",
            "{kinds: [Pod], namespaces: [team-b]}",
            "{kinds: [Pod], namespaces: ['team-*']}",
            "rules: [{resources: ['pods/exec'], operations: [CONNECT]}]",
            "{kinds: [Pod], podTemplates: false}",
        ]
        .map(|yaml| serde_saphyr::from_str::<MatchSpec>(yaml).expect("parses").check().expect("checks"))
        .into();
        let index = MatchIndex::new(blocks.iter().enumerate());
        let of = |operation: &str, group: &str, resource: &str| {
            let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
                "uid": "u", "kind": {}, "resource": {"group": group, "version": "v1", "resource": resource},
                "namespace": "team-a", "operation": operation, "userInfo": {}}});
            index.candidates(&decode(review.to_string().as_bytes()).expect("decodes"))
        };
        assert_eq!(of("CREATE", "", "pods"), [0, 4, 6]);
        assert_eq!(of("DELETE", "", "pods"), [1]);
        assert_eq!(of("CREATE", "apps", "deployments"), [0, 4]);
        assert_eq!(of("CREATE", "", "services"), [2]);
    }
}
